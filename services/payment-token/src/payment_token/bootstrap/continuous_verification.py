"""The newest part of the audit log is verified again and again, by the verifier that shares nothing with what wrote it.

An auditor finds tampering when an auditor looks. This finds it within minutes, in what is an hour old at the most: where
somebody would have to hide what was released just now.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import ED25519, VerifierKey
from payment_token.audit_verifier.verify_archive import new_report
from payment_token.audit_verifier.verify_log import Start, VerifyLog
from payment_token.bootstrap.background import ended
from payment_token.bootstrap.verification_metrics import VerificationMetrics
from payment_token.infrastructure.database.audit_source import audit_source

logger = logging.getLogger(__name__)

SPAN = timedelta(hours=1)
INTERVAL_SECONDS = 60.0

TAMPERED = "audit_log_tampered"
NOT_VERIFIED = "audit_log_not_verified"

# At most a tenth of the time is spent on it, however much an hour brings.
_SHARE = 10
_LATE_SECONDS = 900.0


class ContinuousVerification:
    def __init__(self, database_url: str, origin: str) -> None:
        self._url = database_url
        self._origin = origin
        self.metrics = VerificationMetrics()
        self._tampered = False
        self._verified_at = time.monotonic()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._verify_forever())
        try:
            yield
        finally:
            await ended(task)

    async def readiness(self) -> dict[str, str]:
        if self._tampered:
            return {"audit_log": TAMPERED}
        if time.monotonic() - self._verified_at > _LATE_SECONDS:
            return {"audit_log": NOT_VERIFIED}
        return {}

    async def _verify_forever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                report = await asyncio.to_thread(self._verify)
            except psycopg.Error as error:
                logger.warning(
                    "the audit log could not be verified",
                    extra={"sqlstate": error.sqlstate or "connection"},
                )
            # A defect of ours must not end it for good.
            except Exception as error:  # noqa: BLE001
                logger.error(
                    "verifying the audit log is defective", extra={"fault": type(error).__name__}
                )
            else:
                self._note(report)
            seconds = time.monotonic() - began
            self.metrics.seconds.set(seconds)
            await asyncio.sleep(max(INTERVAL_SECONDS, seconds * _SHARE))

    def _verify(self) -> Report | None:
        since = datetime.now(UTC) - SPAN
        with audit_source(self._url) as log:
            keys = log.signing_keys()
            if not keys:
                # A deployment that is new: nothing was sealed yet.
                return None
            trusted = TrustedKeys(VerifierKey(self._origin, ED25519, key) for key in keys.values())
            verify = VerifyLog(log, trusted, new_report(trusted), live=log)
            return verify(Start(log.size_before(since), since))

    def _note(self, report: Report | None) -> None:
        self._verified_at = time.monotonic()
        self.metrics.verified_at.set_to_current_time()
        if report is None:
            return
        tampered = report.verdict is Verdict.TAMPERED
        bad = report.first_bad
        if tampered and bad is not None and not self._tampered:
            logger.critical(
                "the audit log was tampered with: payment-token audit verify",
                extra={"leaf": bad.index, "what": bad.what, "findings": report.findings_in_all},
            )
        self._tampered = tampered
        self.metrics.records.set(report.records)
        self.metrics.findings.set(report.findings_in_all)
        self.metrics.unsealed.set(report.unsealed)
