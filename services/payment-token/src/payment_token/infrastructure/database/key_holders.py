"""Which running process can use which keys. A rotation waits for all of them; one that died is waited for a moment."""

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# Renewed each second. A process that was paused for longer finds out about new versions when it goes on, and the store
# refuses what it seals under an old one.
LEASE_SECONDS = 10

_RENEW = """
INSERT INTO key_holders (process_id, description, held, lease_until)
VALUES (%(process_id)s, %(description)s, %(held)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (process_id) DO UPDATE
   SET held = excluded.held, lease_until = excluded.lease_until
"""

_RUNNING = "SELECT description, held FROM key_holders WHERE lease_until > clock_timestamp() ORDER BY description"

_END = "DELETE FROM key_holders WHERE process_id = %s OR lease_until < clock_timestamp() - interval '1 day'"


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A running process and the keys that it can use, as ``purpose:version``."""

    description: str
    held: frozenset[str]


class PostgresKeyHolders:
    """The lease of this process, and the leases of all."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._process_id = uuid.uuid4()
        self._description = f"process {os.getpid()} on {socket.gethostname()}"

    async def renew(self, held: Iterable[str]) -> None:
        """``held`` as ``purpose:version``."""
        row = {
            "process_id": self._process_id,
            "description": self._description,
            "held": sorted(held),
            "seconds": LEASE_SECONDS,
        }
        async with connection_of(self._pool) as connection:
            await connection.execute(_RENEW, row)

    async def running(self) -> Sequence[KeyHolder]:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_RUNNING)
            return [KeyHolder(name, frozenset(held)) for name, held in await cursor.fetchall()]

    async def end(self) -> None:
        async with connection_of(self._pool) as connection:
            await connection.execute(_END, (self._process_id,))
