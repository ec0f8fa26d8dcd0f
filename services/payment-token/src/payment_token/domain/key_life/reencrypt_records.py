"""Re-encrypt: records under older versions come under the active one, while the service goes on.

Either the DEK of each record is wrapped anew and its payload stays as it is, or (after a compromise) the whole record
is sealed anew under a new DEK. It may be stopped and started at any moment, and several may run at once: a record says
itself which version it is under.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.key_life.ports import RecordPlace, SealedPAN, SealedRecords
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import InactiveKeyError, ServiceKeys
from payment_token.domain.sealing import (
    Binding,
    Purpose,
    Random,
    SealedRecord,
    open_record,
    rewrap,
    seal,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one batch. ``damaged`` records did not open; they stay as they are."""

    changed: int
    damaged: int


class ReencryptRecords:
    def __init__(
        self,
        *,
        records: SealedRecords,
        service_keys: ServiceKeys,
        random: Random,
        environment: str,
    ) -> None:
        self._records = records
        self._service_keys = service_keys
        self._random = random
        self._environment = environment

    async def remaining(self) -> int:
        return await self._records.count_not_under((await self._service_keys.active()).name)

    async def run(self, *, payload: bool, batch_size: int) -> AsyncIterator[Progress]:
        """Passes over all records until a pass changes none."""
        while True:
            changed = 0
            async for progress in self._one_pass(payload=payload, batch_size=batch_size):
                changed += progress.changed
                yield progress
            if changed == 0:
                return

    async def _one_pass(self, *, payload: bool, batch_size: int) -> AsyncIterator[Progress]:
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
            yield Progress(batch.changed, batch.damaged)

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
