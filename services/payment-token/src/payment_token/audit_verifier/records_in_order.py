"""The records of seals, in the order of their leaves, and no more of them at once than fit into memory."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from payment_token.audit_verifier.sealed_log import DamagedLogError, Row, Run, Seal, SealedLog

RECORDS_AT_ONCE = 10_000
_RECORDS_OF_A_BATCH = 5 * RECORDS_AT_ONCE
_SEALS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Part:
    """A run of a seal, or a piece of a long one, with whatever rows there are of it. Its first leaf is ``index``."""

    run: Run
    index: int
    rows: Sequence[Row]

    @property
    def is_whole(self) -> bool:
        """Each record once, and here."""
        wanted = range(self.run.first, self.run.last + 1)
        return [row[1] for row in self.rows] == list(wanted) and all(row[2] for row in self.rows)


def batches(seals: Iterable[Seal]) -> Iterator[list[Seal]]:
    """As many as have about so many records that one reading of the source is worth it."""
    batch: list[Seal] = []
    records = 0
    damage = None
    try:
        for seal in seals:
            batch.append(seal)
            records += seal.tree_size - seal.first_index
            if records >= _RECORDS_OF_A_BATCH or len(batch) >= _SEALS_AT_ONCE:
                yield batch
                batch, records = [], 0
    except DamagedLogError as error:
        # What could be read before it is looked at first.
        damage = error
    if batch:
        yield batch
    if damage is not None:
        raise damage


def parts(log: SealedLog, seals: Iterable[Seal], reading: Executor) -> Iterator[Part]:
    """Of every run of every seal. The next rows are being read while these are looked at, the first ones from now on."""
    askings = _askings(seals)
    first = next(askings, None)
    ahead = None if first is None else reading.submit(_fetched, log, first)
    return _parts(log, askings, ahead, reading)


def _parts(
    log: SealedLog,
    askings: Iterator[list[tuple[Run, int]]],
    ahead: Future[list[Part]] | None,
    reading: Executor,
) -> Iterator[Part]:
    while ahead is not None:
        asked = next(askings, None)
        following = None if asked is None else reading.submit(_fetched, log, asked)
        yield from ahead.result()
        ahead = following


def _askings(seals: Iterable[Seal]) -> Iterator[list[tuple[Run, int]]]:
    """Runs that are asked for together, with the indexes of their first leaves: they follow each other."""
    asked: list[tuple[Run, int]] = []
    records = 0
    for run, index in _pieces(seals):
        if asked and (records + len(run) > RECORDS_AT_ONCE or asked[0][1] + records != index):
            yield asked
            asked, records = [], 0
        asked.append((run, index))
        records += len(run)
    if asked:
        yield asked


def _pieces(seals: Iterable[Seal]) -> Iterator[tuple[Run, int]]:
    for seal in seals:
        index = seal.first_index
        for run in seal.runs:
            for first in range(run.first, run.last + 1, RECORDS_AT_ONCE):
                piece = Run(run.writer_id, first, min(run.last, first + RECORDS_AT_ONCE - 1))
                yield piece, index
                index += len(piece)


def _fetched(log: SealedLog, asked: Sequence[tuple[Run, int]]) -> list[Part]:
    fetched: list[Part] = []
    rows = list(log.rows([run for run, _ in asked], asked[0][1]))
    begin = 0
    for position, (run, index) in enumerate(asked):
        end = begin + len(run)
        exactly = end <= len(rows) and rows[end - 1][0] == position
        if not exactly or (end < len(rows) and rows[end][0] == position):
            end = begin
            while end < len(rows) and rows[end][0] == position:
                end += 1
        fetched.append(Part(run, index, rows[begin:end]))
        begin = end
    return fetched
