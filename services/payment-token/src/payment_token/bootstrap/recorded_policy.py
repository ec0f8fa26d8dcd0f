"""A worker policy comes into force once the audit log says so."""

import logging

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import AuditUnavailableError
from payment_token.domain.ports import AuditLog
from payment_token.infrastructure.worker_policy_file import FoundPolicy, WorkerPolicyFile
from payment_token.settings import ConfigurationError

logger = logging.getLogger(__name__)


class RecordedPolicy:
    def __init__(self, policies: WorkerPolicyFile, audit_log: AuditLog, process: Actor) -> None:
        self._policies = policies
        self._audit_log = audit_log
        self._process = process

    async def begin(self) -> None:
        """Records the policy that this process starts with. Raises AuditUnavailableError."""
        await self._record(self._policies.in_force)

    async def reload(self) -> None:
        """A policy that is wrong, or cannot be recorded, changes nothing."""
        try:
            found = self._policies.read()
            await self._record(found)
        except (ConfigurationError, AuditUnavailableError) as error:
            logger.error(
                "worker policy not reloaded, the old one stays", extra={"reason": str(error)}
            )
            return
        self._policies.adopt(found)
        logger.info("worker policy reloaded", extra={"workers": len(found.policy.grants)})

    async def _record(self, found: FoundPolicy) -> None:
        await self._audit_log.record(
            AuditEvent(
                EventKind.POLICY_LOADED,
                Outcome.DONE,
                self._process,
                details={"policy_sha256": found.sha256, "workers": len(found.policy.grants)},
            )
        )
