"""An operator's own device profiles, beside the built-in ones."""

from collections.abc import Sequence

from psycopg.rows import dict_row

from payment_token.domain.reader_profiles import BUILT_IN, NamedProfile
from payment_token.infrastructure.database.device_directory import profile_json, profile_of
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_ADD = """
INSERT INTO device_profiles (name, profile, description) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""

_FIND = "SELECT name, profile, description FROM device_profiles WHERE name = %s"
_LIST = "SELECT name, profile, description FROM device_profiles ORDER BY name"

# A registration keeps a copy of its profile. One that comes between the look and the end loses nothing but the name's meaning.
_REMOVE = """
DELETE FROM device_profiles
 WHERE name = %(name)s AND NOT EXISTS (SELECT FROM devices WHERE profile_name = %(name)s AND state <> 'retired')
"""

_USES = "SELECT count(*) FROM devices WHERE profile_name = %s AND state <> 'retired'"


class PostgresDeviceProfiles:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, name: str) -> NamedProfile | None:
        """Built-in, or an operator's own."""
        if name in BUILT_IN:
            return BUILT_IN[name]
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_FIND, (name,))
            row = await cursor.fetchone()
        return None if row is None else _named(row)

    async def own(self) -> Sequence[NamedProfile]:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_LIST)
            return [_named(row) async for row in cursor]

    async def add(self, named: NamedProfile) -> bool:
        """``False`` when the name is taken."""
        row = (named.name, profile_json(named.profile), named.description)
        async with connection_of(self._pool) as connection:
            return (await connection.execute(_ADD, row)).rowcount == 1

    async def uses(self, name: str) -> int:
        """How many devices have it that are not retired."""
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(_USES, (name,))).fetchone()
        return 0 if row is None else int(row[0])

    async def remove(self, name: str) -> bool:
        """``False`` when there is none, or a device has it."""
        async with connection_of(self._pool) as connection:
            return (await connection.execute(_REMOVE, {"name": name})).rowcount == 1


def _named(row: dict[str, object]) -> NamedProfile:
    stored = row["profile"]
    assert isinstance(stored, dict)  # noqa: S101 - the driver gives jsonb objects so
    return NamedProfile(str(row["name"]), profile_of(stored), str(row["description"]))
