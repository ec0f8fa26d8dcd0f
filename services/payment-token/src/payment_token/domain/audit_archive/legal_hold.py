"""Legal holds: months, or the whole log, that nobody may remove from an archive, however old they are."""

import re
from collections.abc import Sequence

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.ports import HoldRegister
from payment_token.domain.audit_archive.retention import Hold
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.ports import AuditLog

_HOLD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_REASON = 500


class LegalHoldError(OperatorError):
    """The hold cannot be placed or released. The text says why."""


class LegalHolds:
    """Placing and releasing are records of the log."""

    def __init__(self, register: HoldRegister, audit_log: AuditLog, operator: Actor) -> None:
        self._register = register
        self._audit_log = audit_log
        self._operator = operator

    async def place(
        self, hold_id: str, reason: str, first: Month | None, last: Month | None
    ) -> Hold:
        """Raises LegalHoldError."""
        if not _HOLD_ID.fullmatch(hold_id):
            raise LegalHoldError(
                "the id of a hold is 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
            )
        if not 0 < len(reason) <= _LONGEST_REASON or not reason.isprintable():
            raise LegalHoldError(f"a hold has a reason of 1 to {_LONGEST_REASON} characters")
        if (first is None) != (last is None) or (first and last and last < first):
            raise LegalHoldError(
                "a hold is from a month to the same or a later one, or without months"
            )
        if any(hold.hold_id == hold_id for hold in await self._register.all()):
            raise LegalHoldError(f"there is a hold {hold_id}, or there was one: choose another id")
        hold = Hold(hold_id, reason, self._operator.identity, first=first, last=last)
        # In force before it is told of. A record that is missing shows, a month that is missing is gone.
        await self._register.place(hold)
        await self._record(EventKind.LEGAL_HOLD_PLACED, hold)
        return hold

    async def release(self, hold_id: str) -> Hold:
        """Raises LegalHoldError."""
        for hold in await self._register.all():
            if hold.hold_id == hold_id and hold.released_at is None:
                await self._record(EventKind.LEGAL_HOLD_RELEASED, hold)
                await self._register.release(hold_id)
                return hold
        raise LegalHoldError(f"there is no hold {hold_id} in force: `audit hold list` shows them")

    async def all(self) -> Sequence[Hold]:
        return await self._register.all()

    async def _record(self, kind: EventKind, hold: Hold) -> None:
        details: dict[str, str | int] = {"hold_id": hold.hold_id, "reason": hold.reason}
        if hold.first is not None and hold.last is not None:
            details |= {"first_month": str(hold.first), "last_month": str(hold.last)}
        await self._audit_log.record(
            AuditEvent(kind, Outcome.DONE, self._operator, details=details)
        )
