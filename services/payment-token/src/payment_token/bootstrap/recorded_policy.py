"""A worker policy comes into force once the audit log says so."""

import asyncio
import logging

from payment_token.api.read_again import Stamp, stamp_of
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import AuditUnavailableError
from payment_token.domain.ports import AuditLog
from payment_token.infrastructure.worker_policy_file import FoundPolicy, WorkerPolicyFile
from payment_token.settings import ConfigurationError

logger = logging.getLogger(__name__)


_UNKNOWN: Stamp = (0, 0, 0)

LOOK_SECONDS = 2.0
"""So often :meth:`RecordedPolicy.look` is to be called."""


class RecordedPolicy:
    def __init__(self, policies: WorkerPolicyFile, audit_log: AuditLog, process: Actor) -> None:
        self._policies = policies
        self._audit_log = audit_log
        self._process = process
        self._stamp = stamp_of(policies.path)
        self._reloading = asyncio.Lock()

    async def begin(self) -> None:
        """Records the policy that this process starts with. Raises AuditUnavailableError."""
        await self._record(self._policies.in_force)

    async def look(self) -> None:
        """Reads the file again where it is another one than before."""
        if stamp_of(self._policies.path) != self._stamp:
            await self.reload()

    async def reload(self) -> None:
        """A policy that is wrong, or cannot be recorded, changes nothing."""
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        # Before the file is read: a change meanwhile is then seen next time.
        stamp = stamp_of(self._policies.path)
        try:
            found = self._policies.read()
            # A file that is wrong is not looked at again until it changes; what cannot be recorded now is tried again.
            self._stamp = stamp
            await self._record(found)
        except AuditUnavailableError as error:
            self._stamp = _UNKNOWN
            self._not_reloaded(error)
        except ConfigurationError as error:
            self._stamp = stamp
            self._not_reloaded(error)
        else:
            self._policies.adopt(found)
            logger.info("worker policy reloaded", extra={"workers": len(found.policy.grants)})

    def _not_reloaded(self, error: Exception) -> None:
        logger.error("worker policy not reloaded, the old one stays", extra={"reason": str(error)})

    async def _record(self, found: FoundPolicy) -> None:
        await self._audit_log.record(
            AuditEvent(
                EventKind.POLICY_LOADED,
                Outcome.DONE,
                self._process,
                details={"policy_sha256": found.sha256, "workers": len(found.policy.grants)},
            )
        )
