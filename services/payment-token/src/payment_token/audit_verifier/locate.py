"""Where in the tree the record of a receipt is."""

from collections.abc import Iterable
from dataclasses import dataclass

from payment_token.audit_verifier.receipts import Receipt
from payment_token.audit_verifier.sealed_log import Run, Seal, SealedLog


@dataclass(frozen=True, slots=True)
class Located:
    index: int
    seal: Seal


def locate(seals: Iterable[Seal], receipt: Receipt) -> Located | None:
    for seal in seals:
        index = seal.first_index
        for run in seal.runs:
            if run.writer_id == receipt.writer_id and run.first <= receipt.sequence <= run.last:
                return Located(index + receipt.sequence - run.first, seal)
            index += len(run)
    return None


def entry_at(log: SealedLog, located: Located, receipt: Receipt) -> bytes | None:
    """``None`` if the record is not there."""
    run = Run(receipt.writer_id, receipt.sequence, receipt.sequence)
    return next((row[2] for row in log.rows([run], located.index)), None)


def newest_seal(log: SealedLog) -> Seal | None:
    size = log.size()
    return next(iter(log.seals(size - 1)), None) if size else None
