"""Receipts: what workers kept of releases. Each must be a record of the log, or somebody has hidden it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"ar2\.([0-9a-f]{32})\.(0|[1-9][0-9]{0,17})\.([0-9a-f]{64})", re.ASCII)


class ReceiptError(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class Receipt:
    """``record_hash`` is SHA-256 of the record, in hexadecimal."""

    writer_id: str
    sequence: int
    record_hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ReceiptError."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ReceiptError("a receipt begins with ar2. and has three more parts")
        return cls(match[1], int(match[2]), match[3])

    def __str__(self) -> str:
        return f"ar2.{self.writer_id}.{self.sequence}.{self.record_hash}"


class Receipts:
    """Those that are still to be found in the log."""

    def __init__(self, receipts: Iterable[Receipt] = ()) -> None:
        self._of_writer: dict[str, dict[int, set[str]]] = {}
        for receipt in receipts:
            of_sequence = self._of_writer.setdefault(receipt.writer_id, {})
            of_sequence.setdefault(receipt.sequence, set()).add(receipt.record_hash)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """One a line. Raises ReceiptError that says which line is none."""
        receipts = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    receipts.append(Receipt.parse(line))
                except ReceiptError as error:
                    raise ReceiptError(f"line {number}: {error}") from None
        return cls(receipts)

    def found(
        self, writer_id: str, first: int, hashes: Sequence[bytes]
    ) -> tuple[int, list[Receipt]]:
        """How many of these records' receipts agree, and those that say something else of the same record."""
        wanted = self._of_writer.get(writer_id)
        if not wanted:
            return 0, []
        agreeing, differing = 0, []
        for sequence in [s for s in wanted if first <= s < first + len(hashes)]:
            here = hashes[sequence - first].decode()
            for record_hash in wanted.pop(sequence):
                if record_hash == here:
                    agreeing += 1
                else:
                    differing.append(Receipt(writer_id, sequence, record_hash))
        return agreeing, differing

    def remaining(self) -> list[Receipt]:
        return [
            Receipt(writer_id, sequence, record_hash)
            for writer_id, of_sequence in self._of_writer.items()
            for sequence, hashes in of_sequence.items()
            for record_hash in sorted(hashes)
        ]
