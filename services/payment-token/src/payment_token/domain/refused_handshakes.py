"""Handshakes that were refused, as the audit log has them: how many for which reason, a minute at a time.

A stranger makes as many as it likes, so none is a record by itself: each reason costs one record a minute and process at most.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.ports import AuditLog, Clock

_CODE = "unauthenticated"


@dataclass(slots=True)
class _Counted:
    """``first`` and ``last`` are ``None`` where the database's time was not known."""

    handshakes: int = 0
    first: datetime | None = None
    last: datetime | None = None


class RefusedHandshakes:
    """For one event loop. ``process`` is who refused: the peers have no identity."""

    def __init__(self, audit_log: AuditLog, clock: Clock, process: Actor) -> None:
        self._audit_log = audit_log
        self._clock = clock
        self._process = process
        self._counted: dict[str, _Counted] = {}

    def note(self, reason: str) -> None:
        """``reason`` is one of few: no peer can make a new one."""
        counted = self._counted.setdefault(reason, _Counted())
        counted.handshakes += 1
        now = self._now()
        counted.first, counted.last = counted.first or now, now or counted.last

    async def record_counts(self) -> None:
        """Writes what was counted since it was last called. Raises AuditUnavailableError; then the counts go on."""
        for reason in list(self._counted):
            counted = self._counted.pop(reason)
            try:
                await self._audit_log.record(self._event(reason, counted))
            except BaseException:
                # Also where it is not known: the log may say too much, and never too little.
                since = self._counted.get(reason, _Counted())
                counted.handshakes += since.handshakes
                counted.last = since.last or counted.last
                self._counted[reason] = counted
                raise

    def _now(self) -> datetime | None:
        try:
            return self._clock.now()
        except DatabaseUnavailableError:
            return None

    def _event(self, reason: str, counted: _Counted) -> AuditEvent:
        details: dict[str, str | int] = {"reason": reason, "handshakes": counted.handshakes}
        for name, time in (("first", counted.first), ("last", counted.last)):
            if time is not None:
                details[name] = f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return AuditEvent(
            EventKind.HANDSHAKE_REFUSED,
            Outcome.REFUSED,
            self._process,
            code=_CODE,
            details=details,
        )
