"""A made log as the verifier reads it, from memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import (
    Damage,
    NotedChain,
    Row,
    Run,
    Seal,
    TilePlace,
    UnsealedRow,
    WriterRows,
)
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import Start, VerifyLog
from tests.support.made_logs import KEY, MadeLog, MadeRow, vkey


class ListedLog:
    keeps_partial_tiles = False

    def __init__(self, log: MadeLog, months: Mapping[int, str] | None = None) -> None:
        self.lacking: list[str] = []
        self.damaged: list[Damage] = []
        self._log = log
        self._rows: dict[str, list[tuple[MadeRow, str]]] = {}
        for place, row in enumerate(log.rows):
            month = (months or {}).get(place, row.month)
            self._rows.setdefault(row.writer_id, []).append((row, month))

    def size(self) -> int:
        return self._log.size

    def seals(self, after: int) -> Iterator[Seal]:
        for seal in self._log.seals:
            if seal.tree_size > after:
                runs = [Run(*run) for run in seal.runs]
                yield Seal(
                    seal.first_index,
                    seal.tree_size,
                    seal.sealed_at,
                    runs,
                    seal.checkpoint,
                    seal.root,
                    seal.signing_key,
                )

    def rows(self, runs: Sequence[Run], first_index: int) -> Iterable[Row]:
        return [
            Row(position, row.sequence, row.entry, month)
            for position, run in enumerate(runs)
            for row, month in sorted(
                self._rows.get(run.writer_id, []), key=lambda kept: kept[0].sequence
            )
            if run.first <= row.sequence <= run.last
        ]

    def tiles(self, places: Sequence[TilePlace]) -> Mapping[TilePlace, bytes]:
        kept = self._log.tiles
        return {place: kept[place[:2]] for place in places if place[:2] in kept}

    def now(self) -> datetime:
        return max(row.recorded_at for row in self._log.rows) + timedelta(seconds=1)

    def writers(self, since: datetime | None) -> Iterable[WriterRows]:
        for writer_id, rows in self._rows.items():
            sequences = [row.sequence for row, _ in rows]
            yield WriterRows(writer_id, min(sequences), max(sequences))

    def rows_outside(self, sealed: Mapping[str, int]) -> Iterable[UnsealedRow]:
        for writer_id, last in sealed.items():
            for row, month in sorted(self._rows[writer_id], key=lambda kept: kept[0].sequence):
                if not 0 <= row.sequence <= last:
                    yield UnsealedRow(writer_id, row.sequence, row.entry, month)

    def last_sealed(self, writer_id: str, up_to: int) -> int:
        return max(
            (
                last
                for seal in self._log.seals
                for writer, _, last in seal.runs
                if writer == writer_id and seal.tree_size <= up_to
            ),
            default=-1,
        )

    def noted_chains(self) -> Iterable[NotedChain]:
        return [NotedChain(*chain) for chain in self._log.chains]

    def tiles_beyond(self, size: int) -> Iterable[TilePlace]:
        return [
            TilePlace(level, number, 256)
            for level, number in self._log.tiles
            if (number + 1) * 256 ** (level + 1) > size
        ]

    def signing_keys(self) -> Mapping[str, bytes]:
        return {"v1": KEY.public_key().public_bytes_raw()}


def verified(
    log: MadeLog | ListedLog,
    *,
    outside: MadeLog | Iterable[str] | None = None,
    receipts: Iterable[str] = (),
    start: Start | None = None,
    keys: Iterable[str] = (vkey(),),
) -> Report:
    listed = ListedLog(log) if isinstance(log, MadeLog) else log
    trusted = TrustedKeys(map(VerifierKey.parse, keys))
    report = Report(trusted.origin, [*map(str, trusted.log_keys)])
    places = []
    if outside is not None:
        lines = outside.checkpoints() if isinstance(outside, MadeLog) else outside
        size = 0 if start is None else start.size
        places.append(
            OutsideCheckpoints(
                "outside",
                opened_checkpoints("outside", split_notes(lines), trusted, report),
                report,
                size,
            )
        )
    verify = VerifyLog(
        listed,
        trusted,
        report,
        live=listed,
        outside=places,
        receipts=Receipts.parse(receipts),
    )
    return verify(start)
