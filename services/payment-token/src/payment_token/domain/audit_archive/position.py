"""Where an archive has come to: what its newest checkpoint covers, and the right edge of its tree."""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, replace

from payment_token.domain.audit_archive.growing_tree import GrowingTree
from payment_token.domain.audit_archive.layout import (
    CHECKPOINT,
    HASH_BYTES,
    WIDTH,
    ArchiveError,
    TilePlace,
    partial_places,
    unpacked,
)
from payment_token.domain.audit_archive.ports import Archive
from payment_token.domain.transparency.hashes import EMPTY_ROOT, leaf_hash


@dataclass(frozen=True, slots=True)
class Position:
    """``entries`` are those of the last, partial bundle; ``edge`` is that of :class:`GrowingTree`."""

    origin: str
    size: int
    root: bytes
    edge: Sequence[Sequence[bytes]]
    entries: Sequence[bytes]


_NOWHERE = Position("", 0, EMPTY_ROOT, (), ())


def archived_position(archive: Archive) -> Position:
    """Raises ArchiveError when the tiles below the newest checkpoint are not those of its root."""
    note = archive.read(CHECKPOINT)
    if note is None:
        return _NOWHERE
    origin, size, root = checkpoint_head(note)
    edge = archived_edge(archive, size, size)
    place = TilePlace(0, size // WIDTH, size % WIDTH)
    entries = archived_bundle(archive, place, size) if place.width else []
    if [leaf_hash(entry) for entry in entries] != (edge[0] if edge else []):
        raise ArchiveError(f"the last {place.width} entries of the archive were changed")
    if _root(size, edge) != root:
        raise ArchiveError("the tiles of the archive do not give the root of its checkpoint")
    return Position(origin, size, root, edge, entries)


def archived_edge(archive: Archive, size: int, size_of_archive: int) -> list[list[bytes]]:
    """The edge of the tree as it was at a size that the archive has passed. Raises ArchiveError."""
    edge: list[list[bytes]] = []
    for place in partial_places(size):
        edge.extend([] for _ in range(place.level + 1 - len(edge)))
        edge[place.level] = archived_tile(archive, place, size_of_archive)
    return edge


def archived_root(archive: Archive, size: int, size_of_archive: int) -> bytes:
    """As its tiles have it: likewise. Raises ArchiveError."""
    return _root(size, archived_edge(archive, size, size_of_archive))


def _root(size: int, edge: Sequence[Sequence[bytes]]) -> bytes:
    try:
        return GrowingTree(size, edge).root()
    except ValueError:
        raise ArchiveError("a tile of the archive is shorter than its name says") from None


def archived_bundle(archive: Archive, place: TilePlace, size: int) -> list[bytes]:
    """The entries below a tile of level 0, also from a wider one. ``size`` is that of the archive. Raises ArchiveError."""
    for wider in _wider(place, size):
        content = archive.read(wider.entries_path)
        if content is not None:
            return unpacked(content)[: place.width]
    raise ArchiveError(f"the archive lacks {place.entries_path}")


def archived_tile(archive: Archive, place: TilePlace, size: int) -> list[bytes]:
    """The hashes of a tile, likewise."""
    for wider in _wider(place, size):
        content = archive.read(wider.path)
        if content is not None:
            hashes = range(0, min(len(content), place.width * HASH_BYTES), HASH_BYTES)
            return [content[begin : begin + HASH_BYTES] for begin in hashes]
    raise ArchiveError(f"the archive lacks {place.path}")


def _wider(place: TilePlace, size: int) -> tuple[TilePlace, ...]:
    """Where its hashes are: a partial tile goes when a wider one of the same place is there."""
    there = min(WIDTH, size // WIDTH**place.level - place.index * WIDTH)
    return place, replace(place, width=there)


def checkpoint_head(note: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint, whose signature somebody else looks at. Raises ArchiveError."""
    try:
        origin, size, root, *_ = note.decode().split("\n")
        return origin, int(size), b64decode(root, validate=True)
    except (ValueError, binascii.Error):
        raise ArchiveError("a checkpoint of the archive is damaged") from None
