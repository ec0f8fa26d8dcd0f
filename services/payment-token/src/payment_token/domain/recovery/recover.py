"""Recover: a database that was restored from a backup gets back what the audit log has seen since.

1. nobody serves or seals meanwhile
2. the database, the archive and the checkpoints outside must be of one log
3. the independent verifier must find sound what the archive has beyond the restored state
4. read what has ended since: from the archive beyond the restored state, and from the last minutes before it, whose
   records may be there while what they tell of is not
5. end it again: tokens and their SAD, API keys, BDKs, keys, and devices that were stopped
6. put back the records, seals, tiles and chains that the archive has beyond the restored state, as they were
7. record the recovery: what was restored, put back, ended again, and which leaves are lost

Which counters of terminals were used since, no log says: their windows stay as old as the backup.

Steps 4 to 7 are one transaction: an interruption leaves the database as it was, and whoever does it twice changes nothing.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from payment_token.domain.audit_archive.growing_tree import Tile
from payment_token.domain.audit_archive.layout import WIDTH, TilePlace
from payment_token.domain.audit_archive.ports import Archive, ArchiveVerifier
from payment_token.domain.audit_archive.position import (
    Position,
    archived_position,
    archived_tile,
)
from payment_token.domain.audit_archive.reading import archived_entries, archived_seals
from payment_token.domain.audit_archive.sealed_log import Entry, SealedSeal
from payment_token.domain.recovery.comparison import (
    Reach,
    RecoveryError,
    compared,
)
from payment_token.domain.recovery.endings import Endings
from payment_token.domain.recovery.ports import (
    Applied,
    OutsideCheckpoint,
    Restored,
    RestoredDatabase,
)

# A record is written before what it tells of is done: moments, or as long as a custodian takes to destroy a key.
_BEFORE_RESTORED = timedelta(minutes=10)

LEASE_PATIENCE_SECONDS = 12.0
"""Somewhat longer than the lease of a process that uses keys."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Recovery:
    """``put_back`` counts records; ``endings`` is what the records say, ``applied`` what of it was alive."""

    reach: Reach
    put_back: int
    endings: Endings
    applied: Applied
    recorded: bool

    @property
    def changes(self) -> bool:
        return self.put_back > 0 or self.applied.any or self.recorded


class Recover:
    def __init__(
        self,
        *,
        restored: Restored,
        archive: Archive,
        verify: ArchiveVerifier,
        patience_seconds: float = LEASE_PATIENCE_SECONDS,
    ) -> None:
        self._restored = restored
        self._archive = archive
        self._verify = verify
        self._patience_seconds = patience_seconds

    async def __call__(self, outside: Sequence[OutsideCheckpoint], *, keep: bool) -> Recovery:
        """Without ``keep`` it is tried and taken back. Raises RecoveryError, ArchiveError."""
        async with self._restored.alone(keep=keep) as database:
            # 1.
            await self._wait_for_users(database)
            # 2.
            position = archived_position(self._archive)
            reach = await compared(database, self._archive, position, outside)
            # 3.
            await self._verify(self._archive.location, min(reach.restored, reach.archived))
            # 4.
            endings = await self._endings(database, position, reach)
            # 5.
            applied = await database.end(endings)
            # 6.
            put_back = await self._put_back(database, position, reach)
            # 7.
            recorded = await self._record(database, reach, put_back, applied)
        return Recovery(reach, put_back, endings, applied, recorded)

    async def _wait_for_users(self, database: RestoredDatabase) -> None:
        """A lease that was restored is nobody's, and ends by itself; one of a process that runs is renewed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_seconds
        while users := await database.users():
            if loop.time() >= deadline:
                raise RecoveryError(
                    f"the service runs on this database ({', '.join(users)}): stop it first"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _endings(
        self, database: RestoredDatabase, position: Position, reach: Reach
    ) -> Endings:
        endings = Endings()
        async for record, at in database.last_records(_BEFORE_RESTORED):
            endings.read(record, at)
        for _, entries in self._beyond(position, reach):
            for entry in entries:
                endings.read(entry.record, entry.recorded_at)
        return endings

    async def _put_back(self, database: RestoredDatabase, position: Position, reach: Reach) -> int:
        if reach.archived <= reach.restored:
            return 0
        put_back = await database.put_back(self._beyond(position, reach))
        await database.put_back_tiles(self._tiles(position, reach))
        return put_back

    def _beyond(
        self, position: Position, reach: Reach
    ) -> Iterator[tuple[SealedSeal, Sequence[Entry]]]:
        """The seals that the archive has beyond the database, each with its entries."""
        if reach.archived <= reach.restored:
            return
        entries = archived_entries(self._archive, reach.restored, reach.archived, position.size)
        for sealed in archived_seals(self._archive, reach.restored, position.origin):
            if sealed.seal.tree_size > reach.archived:
                return
            yield sealed, list(islice(entries, _leaves(sealed)))

    def _tiles(self, position: Position, reach: Reach) -> Iterator[Tile]:
        """Those that became full."""
        level, before, after = 0, reach.restored // WIDTH, position.size // WIDTH
        while after:
            for index in range(before, after):
                place = TilePlace(level, index)
                hashes = archived_tile(self._archive, place, position.size)
                yield Tile(place, b"".join(hashes))
            level, before, after = level + 1, before // WIDTH, after // WIDTH

    async def _record(
        self, database: RestoredDatabase, reach: Reach, put_back: int, applied: Applied
    ) -> bool:
        abandoned = reach.abandoned
        news = abandoned is not None and not await database.has_abandoned(abandoned)
        if not (put_back or applied.any or news):
            return False
        details: dict[str, str | int] = {
            "restored_size": reach.restored,
            "recovered_size": reach.recovered,
            "records_put_back": put_back,
            **applied.counts,
        }
        if abandoned is not None:
            # The sealer goes on behind a published checkpoint only when the log says that it was given up.
            details |= {
                "lost_from": reach.recovered,
                "lost_to": abandoned.size,
                "abandoned_tree_size": abandoned.size,
                "abandoned_root": abandoned.root.hex(),
            }
        await database.record(details)
        return True


def _leaves(sealed: SealedSeal) -> int:
    return sealed.seal.tree_size - sealed.seal.first_index
