"""What the database knows of archives and of legal holds. The contract is :mod:`payment_token.domain.audit_archive.ports`."""

from collections.abc import Sequence
from datetime import date

from psycopg import AsyncConnection

from payment_token.domain.audit_archive.manifest import Manifest
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.ports import NotedExport
from payment_token.domain.audit_archive.retention import Hold

_NOTED = """
SELECT month, verified_at, detached_at FROM audit_exports WHERE location = %s ORDER BY month
"""

_NOTE_VERIFIED = """
INSERT INTO audit_exports (month, location, first_index, last_index, records, root, manifest_sha256, verified_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
    ON CONFLICT (month, location) DO UPDATE
   SET first_index = excluded.first_index, last_index = excluded.last_index, records = excluded.records,
       root = excluded.root, manifest_sha256 = excluded.manifest_sha256, verified_at = excluded.verified_at
"""

_NOTE_DETACHED = """
UPDATE audit_exports SET detached_at = clock_timestamp() WHERE month = %s AND location = %s
"""

_HOLDS = """
SELECT hold_id, reason, placed_by, placed_at, released_at, first_month, last_month FROM audit_holds ORDER BY placed_at
"""

_PLACE = """
INSERT INTO audit_holds (hold_id, reason, placed_by, first_month, last_month) VALUES (%s, %s, %s, %s, %s)
"""

_RELEASE = """
UPDATE audit_holds SET released_at = clock_timestamp() WHERE hold_id = %s AND released_at IS NULL
"""


class PostgresExportRegister:
    def __init__(self, connection: AsyncConnection, location: str) -> None:
        self._connection = connection
        self._location = location

    async def noted(self) -> Sequence[NotedExport]:
        cursor = await self._connection.execute(_NOTED, (self._location,))
        return [
            NotedExport(Month(month), verified_at, detached_at)
            for month, verified_at, detached_at in await cursor.fetchall()
        ]

    async def note_verified(self, manifest: Manifest) -> None:
        row = (
            manifest.month.first_day,
            self._location,
            manifest.first_index,
            manifest.last_index,
            manifest.records,
            manifest.root,
            manifest.sha256,
        )
        await self._connection.execute(_NOTE_VERIFIED, row)

    async def note_detached(self, month: Month) -> None:
        await self._connection.execute(_NOTE_DETACHED, (month.first_day, self._location))


class PostgresHoldRegister:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[Hold]:
        cursor = await self._connection.execute(_HOLDS)
        return [
            Hold(*row[:-2], *map(_month, row[-2:]))  # the last two columns are months
            for row in await cursor.fetchall()
        ]

    async def place(self, hold: Hold) -> None:
        row = (
            hold.hold_id,
            hold.reason,
            hold.placed_by,
            hold.first and hold.first.first_day,
            hold.last and hold.last.first_day,
        )
        await self._connection.execute(_PLACE, row)

    async def release(self, hold_id: str) -> bool:
        return (await self._connection.execute(_RELEASE, (hold_id,))).rowcount == 1


def _month(first_day: date | None) -> Month | None:
    return None if first_day is None else Month(first_day)
