"""What the verifier reads a log from: the database or an archive, in the same shape, a part at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """A record as it is kept. ``position`` is that of its run among those that were asked for.

    ``entry`` is what the leaf is the hash of: the record, a newline, and ``recorded_at``. It is ``None`` where the source
    knows that it is not here, and why. ``month`` is the column of the database, YYYY-MM-DD.
    """

    position: int
    sequence: int
    entry: bytes | None
    month: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one writer, from ``first`` to ``last``. ``writer_id`` is 32 hexadecimal digits."""

    writer_id: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Seal:
    """``note`` is the checkpoint, ``None`` if the source lacks it. ``root`` and ``signing_key`` are columns of the database."""

    first_index: int
    tree_size: int
    sealed_at: datetime
    runs: Sequence[Run]
    note: str | None
    root: bytes | None = None
    signing_key: str | None = None


class DamagedLogError(Exception):
    """The log cannot be read any further. The text says why."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of a log that cannot be read, from leaf ``index`` to ``last``. The verification goes on without it."""

    index: int
    last: int
    what: str


class TilePlace(NamedTuple):
    level: int
    number: int
    width: int


class SealedLog(Protocol):
    """``keeps_partial_tiles``: it has the tiles of its right edge too, though they are not full.

    ``lacking`` grows by whatever the source misses as it is read, in words: parts that are lost, not ones that were
    changed; and ``damaged`` by those.
    """

    keeps_partial_tiles: bool
    lacking: list[str]
    damaged: list[Damage]

    def size(self) -> int:
        """The number of sealed records, for a progress bar."""
        ...

    def seals(self, after: int) -> Iterator[Seal]:
        """Those of trees that are larger than ``after``, by their sizes."""
        ...

    def rows(self, runs: Sequence[Run], first_index: int) -> Iterable[Row]:
        """By run and sequence. The runs are the leaves from ``first_index`` on. What is not there is left out."""
        ...

    def tiles(self, places: Sequence[TilePlace]) -> Mapping[TilePlace, bytes]:
        """Those that there are."""
        ...


class UnsealedRow(NamedTuple):
    writer_id: str
    sequence: int
    entry: bytes
    month: str


class NotedChain(NamedTuple):
    """A row of the sealer's notebook. ``sealed_hash`` is that of the last sealed record."""

    writer_id: str
    sealed_sequence: int
    sealed_hash: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class WriterRows:
    """Between which sequences the rows of a writer are."""

    writer_id: str
    first: int
    last: int


class LiveLog(SealedLog, Protocol):
    """The database, which has more than what is sealed."""

    def now(self) -> datetime: ...

    def writers(self, since: datetime | None) -> Iterable[WriterRows]:
        """Of all rows, or of those that were recorded since."""
        ...

    def rows_outside(self, sealed: Mapping[str, int]) -> Iterable[UnsealedRow]:
        """The rows of these writers that are after the sequence or below 0, by writer and sequence."""
        ...

    def last_sealed(self, writer_id: str, up_to: int) -> int:
        """The last sequence of a writer in the seals of trees up to this size; -1 if there is none."""
        ...

    def noted_chains(self) -> Iterable[NotedChain]: ...

    def tiles_beyond(self, size: int) -> Iterable[TilePlace]:
        """Tiles that a tree of this size does not have."""
        ...

    def signing_keys(self) -> Mapping[str, bytes]:
        """The public keys by the names that the seals' rows have for them."""
        ...
