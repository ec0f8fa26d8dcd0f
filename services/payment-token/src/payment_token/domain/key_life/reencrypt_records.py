"""Re-encrypt: records under older versions come under the active one, while the service goes on.

Either the DEK of each record is wrapped anew and its payload stays as it is, or (after a compromise) the whole record
is sealed anew under a new DEK. It may be stopped and started at any moment, and several may run at once: a record says
itself which version it is under.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.key_life.history import KeyHistory
from payment_token.domain.key_life.key_event import KeyEventKind
from payment_token.domain.key_life.ports import (
    Batch,
    KeyVersions,
    RecordPlace,
    SealedPAN,
    SealedRecords,
)
from payment_token.domain.key_life.retire_key import find_version
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import InactiveKeyError, RotatingKeys
from payment_token.domain.sealing import (
    Binding,
    Purpose,
    Random,
    SealedRecord,
    open_record,
    rewrap,
    seal,
)

_PAUSE_SECONDS = 0.1
_MOST_IDLE_PASSES = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """``changed`` so far. ``damaged`` records of this pass did not open; they stay as they are."""

    changed: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """``remaining`` records are not under ``version``: they are damaged, or came while it was rotated."""

    version: str
    changed: int
    damaged: int
    remaining: int


class ReencryptRecords:
    def __init__(
        self,
        *,
        records: SealedRecords,
        service_keys: RotatingKeys,
        versions: KeyVersions,
        history: KeyHistory,
        random: Random,
        environment: str,
    ) -> None:
        self._records = records
        self._service_keys = service_keys
        self._versions = versions
        self._history = history
        self._random = random
        self._environment = environment

    async def remaining(self) -> int:
        return await self._records.count_not_under((await self._service_keys.active()).name)

    async def run(self, *, payload: bool, batch_size: int) -> AsyncIterator[Progress]:
        """Passes over all records until none is left but damaged ones; yields after every batch."""
        total = idle_passes = 0
        while idle_passes < _MOST_IDLE_PASSES:
            before, damaged = total, 0
            async for batch in self._one_pass(payload=payload, batch_size=batch_size):
                total += batch.changed
                damaged += batch.damaged
                yield Progress(total, damaged)
            if await self.remaining() <= damaged:
                return
            # Somebody else is at work on the rest.
            idle_passes = idle_passes + 1 if total == before else 0
            await asyncio.sleep(_PAUSE_SECONDS)

    async def finish(self, progress: Progress, *, payload: bool) -> Reencrypted:
        """Counts what is left, and leaves a signed statement."""
        name = (await self._service_keys.active()).name
        version = await find_version(self._versions, KeyPurpose.SERVICE, name)
        remaining = await self._records.count_not_under(name)
        statement = await self._history.statement(
            KeyEventKind.REENCRYPTED,
            version,
            rows=progress.changed,
            remaining=remaining,
            what="payload" if payload else "data keys",
        )
        await self._versions.record(statement)
        return Reencrypted(name, progress.changed, progress.damaged, remaining)

    async def _one_pass(self, *, payload: bool, batch_size: int) -> AsyncIterator[Batch]:
        after: RecordPlace | None = None
        while True:
            target = await self._service_keys.active()
            old_keys = await self._service_keys.opening()
            change = partial(self._changed, old_keys, target, payload=payload)
            try:
                batch = await self._records.change_batch(target.name, after, batch_size, change)
            except InactiveKeyError:
                # Rotated meanwhile: go on under the version that is active now.
                self._service_keys.forget_active()
                continue
            if batch.last is None:
                return
            after = batch.last
            yield batch

    def _changed(
        self,
        old_keys: Mapping[str, NamedKey],
        target: NamedKey,
        row: SealedPAN,
        *,
        payload: bool,
    ) -> bytes | None:
        binding = Binding(
            Purpose.PAN,
            row.place.merchant_id,
            row.place.token_id,
            self._environment,
            row.expires_at,
        )
        try:
            record = SealedRecord.from_bytes(row.sealed)
            old = old_keys.get(record.key_name)
            if old is None:
                return None
            if payload:
                return seal(open_record(record, old, binding), target, binding, self._random)
            return rewrap(record, old, target, binding, self._random)
        except RecordIntegrityFailureError:
            return None
