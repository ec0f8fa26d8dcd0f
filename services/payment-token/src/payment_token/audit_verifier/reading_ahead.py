"""Records are read while those before them are checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payment_token.audit_verifier.records_in_order import Part
from payment_token.audit_verifier.sealed_log import DamagedLogError, Seal


@dataclass(frozen=True, slots=True)
class Reading:
    """Seals, whether each can be followed, and the records of those that can."""

    seals: Sequence[Seal]
    soundness: Sequence[bool]
    of_runs: Iterator[Part]

    def skip(self, seal: Seal) -> None:
        """Its records are read, and looked at by nobody."""
        count = 0
        while count < seal.tree_size - seal.first_index:
            count += len(next(self.of_runs).run)


def one_ahead(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Each is begun before the one before it is looked at."""
    before = next(readings, None)
    while before is not None:
        damage = following = None
        try:
            following = next(readings, None)
        except DamagedLogError as error:
            damage = error
        yield before
        if damage is not None:
            raise damage
        before = following
