"""How far the restored database, the archive and the checkpoints outside reach, and that all three are of one log."""

from collections.abc import Sequence
from dataclasses import dataclass

from payment_token.domain.audit_archive.ports import Archive
from payment_token.domain.audit_archive.position import Position, archived_root
from payment_token.domain.audit_archive.sealed_log import SealedSeal
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.recovery.ports import OutsideCheckpoint, RestoredDatabase
from payment_token.domain.transparency.hashes import EMPTY_ROOT


class RecoveryError(OperatorError):
    """The database cannot be recovered so. The text says why, and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Sizes of the tree. ``abandoned`` is the newest checkpoint outside, where it is beyond all that is left."""

    restored: int
    archived: int
    abandoned: OutsideCheckpoint | None

    @property
    def lost_to(self) -> int | None:
        return None if self.abandoned is None else self.abandoned.size

    @property
    def recovered(self) -> int:
        return max(self.restored, self.archived)


async def compared(
    database: RestoredDatabase,
    archive: Archive,
    position: Position,
    outside: Sequence[OutsideCheckpoint],
) -> Reach:
    """Raises RecoveryError where two of them differ."""
    newest = await database.newest()
    restored = 0 if newest is None else newest.seal.tree_size
    common = min(restored, position.size)
    if await _root_of_database(database, newest, common) != archived_root(
        archive, common, position.size
    ):
        raise RecoveryError(
            f"the database and the archive differ within the first {common:,} leaves: they are of different logs, or one"
            " was changed. `payment-token audit verify` says which"
        )
    for checkpoint in outside:
        await _check(checkpoint, database, archive, position)
    reached = max(restored, position.size)
    beyond = [checkpoint for checkpoint in outside if checkpoint.size > reached]
    abandoned = max(beyond, key=lambda checkpoint: checkpoint.size, default=None)
    return Reach(restored, position.size, abandoned)


async def _root_of_database(
    database: RestoredDatabase, newest: SealedSeal | None, size: int
) -> bytes | None:
    if size == 0 or newest is None:
        return EMPTY_ROOT
    sealed = newest if newest.seal.tree_size == size else await database.seal_at(size)
    return None if sealed is None else sealed.root


async def _check(
    checkpoint: OutsideCheckpoint,
    database: RestoredDatabase,
    archive: Archive,
    position: Position,
) -> None:
    if checkpoint.size <= position.size:
        root: bytes | None = archived_root(archive, checkpoint.size, position.size)
    else:
        sealed = await database.seal_at(checkpoint.size)
        root = None if sealed is None else sealed.root
    # Beyond the archive a database has every seal that it was restored with, and of the rest none.
    if root is not None and root != checkpoint.root:
        raise RecoveryError(
            f"a checkpoint outside says that the first {checkpoint.size:,} leaves were others: the archive or the database"
            " was changed. `payment-token audit verify --checkpoints` says more"
        )
