"""An archive of the log: a folder in the layout of C2SP tlog-tiles, and nothing else.

checkpoint            the newest one: what it covers is whole, what lies beyond it an interrupted export has left
checkpoints           all of them, each followed by an empty line
seals.jsonl           which writers' records each seal covers, a line each
tile/L/N[.p/W]        256 hashes of level L, or W of them at the right edge
tile/entries/N[.p/W].gz   the entries below a tile of level 0, each after its length in two bytes, big-endian
months/YYYY-MM.json   see month_manifests
minimum-index         the first leaf whose entry is still here, once older ones have expired
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from payment_token.audit_verifier import times
from payment_token.audit_verifier.checkpoint import Checkpoint, split_notes
from payment_token.audit_verifier.sealed_log import (
    Damage,
    DamagedLogError,
    Row,
    Run,
    Seal,
    TilePlace,
)
from payment_token.audit_verifier.signed_note import NoteError, SignedNote
from payment_token.audit_verifier.tree import TILE_WIDTH

CHECKPOINT = "checkpoint"
CHECKPOINTS = "checkpoints"
KEYS = "keys"
SEALS = "seals.jsonl"
MINIMUM_INDEX = "minimum-index"

_GROUP = 1000
_MOST_BYTES_OF_BUNDLE = TILE_WIDTH * (2 + 0xFFFF)
_BUNDLES_AT_ONCE = 64


class NoArchiveError(Exception):
    """There is no archive in the folder. The text says what is missing."""


class ArchiveFolder:
    keeps_partial_tiles = True

    def __init__(self, folder: Path) -> None:
        """Raises NoArchiveError."""
        self.lacking: list[str] = []
        self.damaged: list[Damage] = []
        self._folder = folder
        try:
            self._note = (folder / CHECKPOINT).read_text("utf-8")
            self._size = Checkpoint.parse(SignedNote.parse(self._note).text).size
        except (OSError, UnicodeDecodeError, NoteError):
            raise NoArchiveError(f"{folder} has no checkpoint: it is no archive") from None
        self.minimum_index = self._read_minimum_index()
        self._entries_of = lru_cache(_BUNDLES_AT_ONCE)(self._read_bundle)

    @property
    def newest_note(self) -> str:
        return self._note

    def notes(self) -> Iterator[str]:
        """Raises DamagedLogError."""
        try:
            with (self._folder / CHECKPOINTS).open(encoding="utf-8", newline="\n") as lines:
                yield from split_notes(lines)
        except FileNotFoundError:
            self._lack(CHECKPOINTS)
        except UnicodeDecodeError:
            raise DamagedLogError(f"{CHECKPOINTS} is damaged") from None

    def size(self) -> int:
        return self._size

    def seals(self, after: int) -> Iterator[Seal]:
        notes = self._notes_by_size()
        size, note = next(notes, (self._size + 1, ""))
        for first_index, tree_size, sealed_at, runs in self._lines():
            while size < tree_size:
                size, note = next(notes, (self._size + 1, ""))
            if tree_size > after:
                own = note if size == tree_size else None
                yield Seal(first_index, tree_size, times.parsed(sealed_at), runs, own)

    def rows(self, runs: Sequence[Run], first_index: int) -> list[Row]:
        rows: list[Row] = []
        index = first_index
        for position, run in enumerate(runs):
            for sequence in range(run.first, run.last + 1):
                rows.append(Row(position, sequence, self._entry(index), None))
                index += 1
        return rows

    def tiles(self, places: Sequence[TilePlace]) -> Mapping[TilePlace, bytes]:
        tiles = {}
        for place in places:
            path = f"tile/{place.level}/{_numbered(place.number)}{_partial(place.width)}"
            try:
                tiles[place] = (self._folder / path).read_bytes()
            except OSError:
                self._lack(path)
        return tiles

    def _entry(self, index: int) -> bytes | None:
        """``None`` if it has expired, or its bundle is lost or damaged, which is said elsewhere."""
        if index < self.minimum_index:
            return None
        entries = self._entries_of(index // TILE_WIDTH)
        return None if entries is None else entries[index % TILE_WIDTH]

    def _read_bundle(self, number: int) -> list[bytes] | None:
        width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
        path = f"tile/entries/{_numbered(number)}{_partial(width)}.gz"
        try:
            # A bundle has a largest size; a file that unpacks to more of it fills no memory.
            with gzip.open(self._folder / path) as file:
                bundle = file.read(_MOST_BYTES_OF_BUNDLE + 1)
        except FileNotFoundError:
            self._lack(path)
            return None
        except (OSError, EOFError, zlib.error):
            bundle = b""
        entries = _split(bundle)
        if len(entries) != width:
            first = number * TILE_WIDTH
            what = f"{path} does not have the {width} entries that it should have"
            self.damaged.append(Damage(first, first + width - 1, what))
            return None
        return entries

    def _lines(self) -> Iterator[tuple[int, int, bytes, list[Run]]]:
        try:
            with (self._folder / SEALS).open("rb") as lines:
                for line in lines:
                    parsed = _parsed(line)
                    if parsed[1] > self._size:
                        return
                    yield parsed
        except FileNotFoundError:
            self._lack(SEALS)

    def _notes_by_size(self) -> Iterator[tuple[int, str]]:
        for note in self.notes():
            try:
                yield Checkpoint.parse(SignedNote.parse(note).text).size, note
            except NoteError:
                raise DamagedLogError(f"{CHECKPOINTS} has what is no checkpoint") from None

    def _read_minimum_index(self) -> int:
        try:
            return int((self._folder / MINIMUM_INDEX).read_text("ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            raise NoArchiveError(f"{MINIMUM_INDEX} of {self._folder} is no number") from None

    def _lack(self, path: str) -> None:
        said = f"{path} is missing from the archive"
        if said not in self.lacking:
            self.lacking.append(said)


def _parsed(line: bytes) -> tuple[int, int, bytes, list[Run]]:
    try:
        seal = json.loads(line)
        runs = [
            Run(str(writer_id), int(first), int(last)) for writer_id, first, last in seal["runs"]
        ]
        sealed_at = str(seal["sealed_at"]).encode()
        times.parsed(sealed_at)
        return int(seal["first_index"]), int(seal["tree_size"]), sealed_at, runs
    except (ValueError, KeyError, TypeError):
        raise DamagedLogError(f"a line of {SEALS} is damaged") from None


def _split(bundle: bytes) -> list[bytes]:
    """An entry that the bundle ends in is as short as it is there, which its leaf will show."""
    entries, place = [], 0
    while place < len(bundle):
        begin = place + 2
        place = begin + int.from_bytes(bundle[place:begin], "big")
        entries.append(bundle[begin:place])
    return entries


def _numbered(number: int) -> str:
    """1234067 is x001/x234/067."""
    name = f"{number % _GROUP:03}"
    while number := number // _GROUP:
        name = f"x{number % _GROUP:03}/{name}"
    return name


def _partial(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"
