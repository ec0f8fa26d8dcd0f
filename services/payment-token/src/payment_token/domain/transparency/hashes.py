"""The hashes of a Merkle tree (RFC 9162 §2.1.1, the same as RFC 6962 §2.1).

A leaf and a node are told apart by their first byte: else a node could be passed off as an entry, and the other way round.
"""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32

EMPTY_ROOT = sha256().digest()

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root of a tree with these hashes side by side at its bottom.

    Pairs are joined level by level, and what has no partner goes up as it is. RFC 9162 splits at the largest power of two
    instead: the same tree.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        joined = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
        level = joined + level[-1:] if len(level) % 2 else joined
    return level[0]
