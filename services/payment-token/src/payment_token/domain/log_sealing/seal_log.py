"""Seal: what writers recorded becomes part of the tree, whose root is signed.

1. read what waits, of every writer from where its chain is sealed
2. check each chain; what fails stays where it is, with its writer's later records, and the others go on
3. append the records to the tree
4. sign the checkpoint of the new tree
5. write the seal, the tiles that became full, and how far each chain is sealed, in one transaction

Then whoever called publishes the checkpoint. It may be killed between any two steps: nothing has been written before step
5, and whoever goes on begins with what is stored. A new term begins with two questions, and stops at a wrong answer, because
to sign on top of it would be to vouch for it: do the stored tiles and records still have the root that was signed last; and
does no place outside have a checkpoint that this tree cannot have led to (the database was set back).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from payment_token.domain.log_sealing.chain_check import (
    LATE_TOLERANCE,
    Refusal,
    Run,
    check_run,
)
from payment_token.domain.log_sealing.ports import (
    CheckpointPlace,
    PlaceUnavailableError,
    SealedLog,
    Waiting,
)
from payment_token.domain.log_sealing.seal import LastSeal, Seal, SealedRun
from payment_token.domain.ports import VersionedKeys
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.frontier import Frontier
from payment_token.domain.transparency.hashes import leaf_hash
from payment_token.domain.transparency.signed_note import NoteError

MOST_RECORDS = 4096

_ROUNDS_UNTIL_A_WIDE_LOOK = 60


class SealingStoppedError(Exception):
    """The log is not the one that was sealed. Nothing is sealed until an operator has looked into it."""

    code = "audit_log_changed"


class LogSetBackError(SealingStoppedError):
    """A checkpoint was published that the database does not know of: it was restored, or exchanged."""

    code = "audit_log_set_back"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one round did. ``note`` is ``None`` when there was nothing to seal; ``refusals`` are new ones.

    ``lag_seconds`` is how old the oldest record was when it was sealed. ``more`` says that others wait already.
    """

    records: int
    tree_size: int
    note: str | None
    refusals: Sequence[Refusal]
    lag_seconds: float
    more: bool


class SealLog:
    """One term of a sealer. Use it as ``await SealLog.begun(…)``, and drop it when anything was raised."""

    def __init__(
        self,
        log: SealedLog,
        origin: str,
        keys: VersionedKeys,
        frontier: Frontier,
        last: LastSeal | None,
    ) -> None:
        self._log = log
        self._origin = origin
        self._keys = keys
        self._frontier = frontier
        self._sealed_at = last.sealed_at if last else None
        self.refused: dict[UUID, Refusal] = {}
        self.checkpoint = last.checkpoint if last else None
        self._rounds = 0

    @classmethod
    async def begun(
        cls,
        log: SealedLog,
        places: Sequence[CheckpointPlace],
        origin: str,
        keys: VersionedKeys,
    ) -> Self:
        """Raises SealingStoppedError, and what the ports raise."""
        last = await log.last_seal()
        frontier = await _stored_frontier(log, last)
        for place in places:
            await _check_not_set_back(log, frontier, place)
        return cls(log, origin, keys, frontier, last)

    @property
    def tree_size(self) -> int:
        return self._frontier.size

    async def __call__(self) -> Sealed:
        """One round. Raises what the ports raise."""
        # 1.
        found = await self._log.waiting(self._opened_since(), self.refused.keys(), MOST_RECORDS)
        # 2.
        runs = [self._checked(waiting) for waiting in found]
        refusals = [run.refusal for run in runs if run.refusal is not None]
        sound = [run for run in runs if run.rows]
        more = sum(len(waiting.rows) for waiting in found) >= MOST_RECORDS
        if not sound:
            return self._done(0, None, refusals, 0.0, more)
        # 3.
        frontier = self._frontier.copy()
        leaves = [leaf_hash(row.entry) for run in sound for row in run.rows]
        tiles = frontier.append(leaves)
        # 4.
        key = await self._keys.active()
        note = Checkpoint(self._origin, frontier.size, frontier.root).signed(key)
        # 5.
        sealed_at = await self._log.write(
            Seal(
                first_index=self._frontier.size,
                tree_size=frontier.size,
                root=frontier.root,
                runs=[SealedRun(run.chain, run.rows[0].sequence) for run in sound],
                tiles=tiles,
                checkpoint=note,
                signing_key=key.name,
            )
        )
        self._frontier, self._sealed_at, self.checkpoint = frontier, sealed_at, note
        oldest = min(run.rows[0].recorded_at for run in sound)
        return self._done(len(leaves), note, refusals, (sealed_at - oldest).total_seconds(), more)

    def _done(
        self,
        records: int,
        note: str | None,
        refusals: Sequence[Refusal],
        lag_seconds: float,
        more: bool,  # noqa: FBT001 - private
    ) -> Sealed:
        self.refused.update({refusal.writer_id: refusal for refusal in refusals})
        return Sealed(records, self.tree_size, note, refusals, max(0.0, lag_seconds), more)

    def _checked(self, waiting: Waiting) -> Run:
        return check_run(waiting.chain, waiting.rows, self._not_before())

    def _not_before(self) -> datetime | None:
        return None if self._sealed_at is None else self._sealed_at - LATE_TOLERANCE

    def _opened_since(self) -> datetime | None:
        """At first, and now and then, back to the beginning of the month: there a writer that was dated back shows."""
        wide = self._rounds % _ROUNDS_UNTIL_A_WIDE_LOOK == 0
        self._rounds += 1
        since = self._not_before()
        if since is None or not wide:
            return since
        return since.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def _stored_frontier(log: SealedLog, last: LastSeal | None) -> Frontier:
    if last is None:
        return Frontier()
    frontier = None
    try:
        frontier = await log.frontier(last.tree_size)
    except (LookupError, ValueError):
        pass
    if frontier is None:
        raise SealingStoppedError("a part of what was sealed is missing")
    if frontier.root != last.root:
        raise SealingStoppedError("what was sealed does not have the root any more that was signed")
    return frontier


async def _check_not_set_back(log: SealedLog, frontier: Frontier, place: CheckpointPlace) -> None:
    try:
        note = await place.beyond(frontier.size)
    except PlaceUnavailableError:
        # Sealing does not wait for it; the next term asks again.
        return
    if note is None:
        return
    try:
        published = Checkpoint.read(note)
    except NoteError:
        raise SealingStoppedError(f"{place.name} holds what is not a checkpoint") from None
    if published.size == frontier.size and published.root == frontier.root:
        return
    if not await log.has_recovered_from(published):
        raise LogSetBackError(
            f"{place.name} has a checkpoint of {published.size:,} records that this log, of {frontier.size:,},"
            " did not lead to"
        )
