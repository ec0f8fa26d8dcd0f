"""Checking proofs (RFC 9162 §2.1.3.2 and §2.1.4.2). Whoever checks needs neither the tree nor the log."""

from collections.abc import Sequence

from payment_token.domain.transparency.hashes import EMPTY_ROOT, node_hash


class ProofError(Exception):
    """The proof does not prove what it was given for."""


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """That the hash ``leaf`` is at ``index`` in the tree with this root. Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError("no tree of this size has such a leaf")
    position, last, found = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if position & 1 or position == last:
            found = node_hash(beside, found)
        else:
            found = node_hash(found, beside)
        position, last = _above(position, last)
    if last != 0:
        raise ProofError("the proof is too short")
    if found != root:
        raise ProofError("the proof leads to another root")


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """That the tree begins with all that the old one had. Raises ProofError."""
    if not 0 <= old_size <= size:
        raise ProofError("a tree does not shrink")
    if old_size in (0, size):
        _verify_trivial(old_size, old_root, root, proof, equal=old_size == size)
        return
    if not proof:
        raise ProofError("the proof is too short")
    # An old tree that is perfect is a subtree of the new one, and its root is not repeated in the proof.
    hashes = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for beside in hashes[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(beside, old), node_hash(beside, new)
        else:
            new = node_hash(new, beside)
        position, last = _above(position, last)
    if last != 0:
        raise ProofError("the proof is too short")
    if old != old_root or new != root:
        raise ProofError("the proof leads to other roots")


def _above(position: int, last: int) -> tuple[int, int]:
    """The node to go on with: at the right edge, the first above that is a right child, as the last one has no partner."""
    if position == last:
        while position and not position & 1:
            position, last = position >> 1, last >> 1
    return position >> 1, last >> 1


def _verify_trivial(
    old_size: int, old_root: bytes, root: bytes, proof: Sequence[bytes], *, equal: bool
) -> None:
    if proof:
        raise ProofError("the proof is too long")
    if (equal and old_root != root) or (old_size == 0 and old_root != EMPTY_ROOT):
        raise ProofError("the roots do not belong to these sizes")
