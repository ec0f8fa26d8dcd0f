"""Proofs of RFC 9162 §2.1.3 and §2.1.4: a record is in a tree; a tree is the beginning of a larger one.

They are made from the tiles of a log, and checked with nothing but the two roots.
"""

from collections.abc import Sequence

from payment_token.audit_verifier.tree import (
    EMPTY_ROOT,
    TILE_HEIGHT,
    HashesAt,
    node_hash,
    perfect_root,
)


class ProofError(ValueError):
    """A proof does not prove what it should."""


def inclusion_path(index: int, size: int, hashes_at: HashesAt) -> list[bytes]:
    """From the leaf's sibling up."""
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    return _path(index, 0, size, hashes_at)


def consistency_path(old: int, size: int, hashes_at: HashesAt) -> list[bytes]:
    if not 0 <= old <= size:
        raise ProofError(f"a tree of {old} is not the beginning of one of {size}")
    return [] if old in (0, size) else _subproof(old, 0, size, hashes_at, whole=True)


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the path leads to (RFC 9162 §2.1.3.2). Raises ProofError for a path that is too long or short."""
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the path is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    return node


def check_consistency(
    old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]
) -> None:
    """RFC 9162 §2.1.4.2. Raises ProofError unless the tree of ``old`` leaves is the beginning of the other one."""
    if old > size:
        raise ProofError(f"the log has shrunk from {old} to {size}")
    if old in (0, size):
        if path or (old == 0 and old_root != EMPTY_ROOT) or (old == size and old_root != root):
            raise ProofError("the roots differ")
        return
    if not path:
        raise ProofError("the path is too short")
    if _roots_of_consistency(old, size, old_root, path) != (old_root, root):
        raise ProofError("the smaller tree is not the beginning of the larger one")


def _roots_of_consistency(
    old: int, size: int, old_root: bytes, path: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """The roots that the path leads to, of the smaller tree and of the larger one."""
    # A tree of a power of two is itself a node of the larger one, and left out of the path.
    hashes = list(path) if old & (old - 1) else [old_root, *path]
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    from_old = from_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the path is too long")
        if place & 1 or place == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    return from_old, from_new


def root_over(first: int, end: int, hashes_at: HashesAt) -> bytes:
    """Of the leaves from ``first`` up to ``end``: a subtree as the recursion of RFC 9162 makes them."""
    count = end - first
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = (count.bit_length() - 1) // TILE_HEIGHT
        height = level * TILE_HEIGHT
        return perfect_root(hashes_at(level, first >> height, end >> height))
    middle = first + _largest_power_below(count)
    return node_hash(root_over(first, middle, hashes_at), root_over(middle, end, hashes_at))


def _path(index: int, first: int, end: int, hashes_at: HashesAt) -> list[bytes]:
    if end - first == 1:
        return []
    middle = first + _largest_power_below(end - first)
    if index < middle:
        return [*_path(index, first, middle, hashes_at), root_over(middle, end, hashes_at)]
    return [*_path(index, middle, end, hashes_at), root_over(first, middle, hashes_at)]


def _subproof(old: int, first: int, end: int, hashes_at: HashesAt, *, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [root_over(first, end, hashes_at)]
    middle = first + _largest_power_below(end - first)
    if old <= middle:
        path = _subproof(old, first, middle, hashes_at, whole=whole)
        return [*path, root_over(middle, end, hashes_at)]
    path = _subproof(old, middle, end, hashes_at, whole=False)
    return [*path, root_over(first, middle, hashes_at)]


def _largest_power_below(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1
