"""What is recorded of requests over a worker's limits: the first of each minute as any refusal, those that follow as a count.

If each refusal were a record, a worker that hammers could fill the log, and with it the disk, at the speed of its requests. So
each limit of each worker costs two records a minute and process at most, whatever the worker does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import OverWorkerLimitError
from payment_token.domain.ports import AuditLog, Clock

COUNTED_SECONDS = 60.0
"""So often :meth:`LimitRefusals.record_counts` is to be called."""


@dataclass(slots=True)
class _Counted:
    code: str
    since: datetime
    requests: int = 0


class LimitRefusals:
    """For one event loop. ``note`` hears of every refusal: the name of the limit, and the worker's identity."""

    def __init__(self, audit_log: AuditLog, clock: Clock, note: Callable[[str, str], None]) -> None:
        self._audit_log = audit_log
        self._clock = clock
        self._note = note
        # By identity and limit: no more than the policy has workers with limits, twice.
        self._counted: dict[tuple[str, str], _Counted] = {}

    async def record(self, event: AuditEvent, error: OverWorkerLimitError) -> None:
        """``event`` is the record of this one refusal. Raises AuditUnavailableError when it is due and cannot be written."""
        self._note(error.limit, event.actor.identity)
        name = (event.actor.identity, error.limit)
        counted = self._counted.get(name)
        if counted is not None:
            counted.requests += 1
            return
        self._counted[name] = counted = _Counted(error.code, self._clock.now())
        try:
            await self._audit_log.record(
                replace(event, details={**event.details, "limit": str(error.limit)})
            )
        except BaseException:
            # The next one is recorded in its place, unless some were counted meanwhile: those are still owed.
            if not counted.requests and self._counted.get(name) is counted:
                del self._counted[name]
            raise

    async def record_counts(self) -> None:
        """Writes what was counted since it was last called. Raises AuditUnavailableError; then the counts go on."""
        for name in list(self._counted):
            # Refused from now on is recorded anew.
            counted = self._counted.pop(name)
            if not counted.requests:
                continue
            try:
                await self._audit_log.record(_count_of(name, counted))
            except BaseException:
                # Also where it is not known: the log may say too much, and never too little.
                again = self._counted.get(name)
                counted.requests += 0 if again is None else again.requests
                self._counted[name] = counted
                raise


def _count_of(name: tuple[str, str], counted: _Counted) -> AuditEvent:
    identity, limit = name
    return AuditEvent(
        EventKind.REQUESTS_REFUSED,
        Outcome.REFUSED,
        # Of one worker, and of whatever certificates and addresses it came with.
        Actor(identity),
        code=counted.code,
        details={
            "limit": limit,
            "requests": counted.requests,
            "since": f"{counted.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
