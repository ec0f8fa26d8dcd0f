"""Callers that were barred from key serial numbers may try again, on record.

For reads that are right and failed: the terminal's profile was wrong, say, and its reads wait in the shop. Whoever has recorded
one of them may try again as well, as often as before (:mod:`payment_token.domain.failed_attempts`).
"""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NewType, Protocol

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.device_states import checked_reason
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.ports import AuditLog

KSNPrefix = NewType("KSNPrefix", str)

# Six digits more than the FFFF that every KSN of X9.24-1 begins with: not all terminals by a slip of the hand.
_PREFIX = re.compile(r"[0-9A-F]{10,24}")


class ForgottenAttempts(Protocol):
    def forgotten(
        self, ksn_prefix: KSNPrefix, api_key_id: str | None
    ) -> AbstractAsyncContextManager[Sequence[AttemptName]]:
        """Those whose failures are forgotten at the end of the block; none of them when it raises."""
        ...


def checked_ksn_prefix(text: str) -> KSNPrefix:
    """Raises InvalidFieldError. Both schemes: 20 digits are a whole KSN of ``dukpt-tdes``, 24 one of ``dukpt-aes``."""
    prefix = text.upper()
    if not _PREFIX.fullmatch(prefix):
        raise InvalidFieldError("ksn", "must be 10 to 24 hexadecimal digits")
    return KSNPrefix(prefix)


class UnbarKSNs:
    def __init__(
        self, *, attempts: ForgottenAttempts, audit_log: AuditLog, operator: Actor
    ) -> None:
        self._attempts = attempts
        self._audit_log = audit_log
        self._operator = operator

    async def __call__(
        self, ksn_prefix: KSNPrefix, api_key_id: str | None, reason: str
    ) -> Sequence[AttemptName]:
        """First the record, then the change. Raises InvalidFieldError and CleartextCardDataError for the reason."""
        reason = checked_reason(reason)
        async with self._attempts.forgotten(ksn_prefix, api_key_id) as forgotten:
            if forgotten:
                await self._audit_log.record(
                    AuditEvent(
                        EventKind.KSN_UNBARRED,
                        Outcome.DONE,
                        self._operator,
                        details={
                            "ksn_prefix": ksn_prefix,
                            "api_key": api_key_id or "any",
                            "ksns": len({attempt.ksn for attempt in forgotten}),
                            "reason": reason,
                        },
                    )
                )
        return forgotten
