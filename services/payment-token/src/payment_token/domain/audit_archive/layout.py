"""Where in an archive what is: the layout of C2SP tlog-tiles, in a folder, with compressed bundles of entries.

checkpoint               the newest checkpoint: whatever it covers is here, whole
checkpoints              every checkpoint, one after the other, each followed by an empty line
seals.jsonl              which writers' records each checkpoint added, a line each
keys                     the public keys that signed, as vkeys; an auditor brings their own
tile/L/N                 the N-th 256 hashes of level L; a partial one of W hashes is tile/L/N.p/W
tile/entries/N.gz        the entries of 256 leaves, each after its length in two bytes, big-endian; partial: N.p/W.gz
months/YYYY-MM.json      what a closed month consists of; months/YYYY-MM.sig is signed
minimum-index            the first leaf whose entry is still here, once older ones have expired
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from payment_token.domain.operator_error import OperatorError

WIDTH = 256
HASH_BYTES = 32
TILE_BYTES = WIDTH * HASH_BYTES

CHECKPOINT = "checkpoint"
CHECKPOINTS = "checkpoints"
SEALS = "seals.jsonl"
KEYS = "keys"
MINIMUM_INDEX = "minimum-index"
REMOVING = ".removing"

_GROUP = 1000
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class ArchiveError(OperatorError):
    """The archive is not what it should be, or cannot become what was asked for. The text says where, and what to do."""


@dataclass(frozen=True, slots=True)
class TilePlace:
    """``width`` is 256 of a full tile. Tile N of level L covers the leaves from N·256^(L+1) on."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        return f"tile/{self.level}/{_numbered(self.index)}" + _partial(self.width)

    @property
    def entries_path(self) -> str:
        """Of the bundle of entries below a tile of level 0."""
        return f"tile/entries/{_numbered(self.index)}{_partial(self.width)}.gz"


def partial_places(size: int) -> Iterator[TilePlace]:
    """The partial tiles of a tree of this size, the lowest level first."""
    level = 0
    while size:
        if size % WIDTH:
            yield TilePlace(level, size // WIDTH, size % WIDTH)
        size //= WIDTH
        level += 1


def places_over(first: int, size: int) -> Iterator[TilePlace]:
    """The tiles of a tree of this size that stand over the leaves from ``first`` on, full and partial."""
    level = 0
    while size:
        for index in range(first // WIDTH, -(-size // WIDTH)):
            yield TilePlace(level, index, min(WIDTH, size - index * WIDTH))
        # The level above has hashes of full tiles only.
        first, size = first // WIDTH, size // WIDTH
        level += 1


def manifest_path(month: object) -> str:
    return f"months/{month}.json"


def signature_path(month: object) -> str:
    return f"months/{month}.sig"


def packed(entries: Iterable[bytes]) -> bytes:
    """The bundle, compressed; the same bytes each time."""
    plain = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    return gzip.compress(plain, compresslevel=6, mtime=0)


def unpacked(bundle: bytes) -> list[bytes]:
    """Raises ArchiveError for what is no bundle."""
    try:
        plain = gzip.decompress(bundle)
    except (OSError, EOFError, ValueError):
        plain = b"\0"
    entries, place = [], 0
    while place < len(plain):
        begin = place + 2
        place = begin + int.from_bytes(plain[place:begin], "big")
        entries.append(plain[begin:place])
    if place != len(plain):
        raise ArchiveError("a bundle of entries is damaged")
    return entries


def entry_time(time: datetime) -> str:
    """``recorded_at`` as an entry has it."""
    return time.astimezone(UTC).strftime(_TIME)


def parsed_time(text: str) -> datetime:
    """Raises ValueError."""
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def _numbered(index: int) -> str:
    """1234067 is x001/x234/067."""
    groups = [f"{index % _GROUP:03}"]
    while index := index // _GROUP:
        groups.insert(0, f"x{index % _GROUP:03}")
    return "/".join(groups)


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"
