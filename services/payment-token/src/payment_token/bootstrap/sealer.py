"""The sealer as a process of the deployment plays it: one at a time, beside those that stand by. It also verifies."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import CollectorRegistry

from payment_token.bootstrap.background import ended, repeated
from payment_token.bootstrap.continuous_verification import ContinuousVerification
from payment_token.bootstrap.sealing_metrics import SealingMetrics
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.log_sealing.ports import CheckpointPlace, SealedLog
from payment_token.domain.log_sealing.publication import Publication
from payment_token.domain.log_sealing.seal_log import (
    LogSetBackError,
    Sealed,
    SealingStoppedError,
    SealLog,
)
from payment_token.domain.ports import VersionedKeys
from payment_token.domain.self_test.guarded_keys import GuardedKeys
from payment_token.infrastructure.checkpoint_bucket import CheckpointBucket
from payment_token.infrastructure.checkpoint_file import CheckpointFile
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from payment_token.infrastructure.database.clock import SYNC_INTERVAL_SECONDS, DatabaseClock
from payment_token.infrastructure.database.key_versions import PostgresKeyVersions
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.keyring import Keyring
from payment_token.infrastructure.sad_epoch_keyring import REFRESH_SECONDS
from payment_token.settings import ConfigurationError, Settings

logger = logging.getLogger(__name__)

SEAL_SECONDS = 1.0
STAND_BY_SECONDS = 2.0
STOPPED_SECONDS = 10.0
UNPUBLISHED_SECONDS = 300.0
"""So long a place may take no checkpoint until somebody should look."""

WRITER_REFUSED = "audit_writer_refused"
NOT_PUBLISHED = "checkpoint_not_published"
DEFECTIVE = "defect"


class Sealer:
    """``keys`` are those that sign. Use it as ``async with sealer.at_work()``."""

    def __init__(self, settings: Settings, database_url: str, keys: VersionedKeys) -> None:
        self._settings = settings
        self._logs = PostgresSealedLogs(database_url)
        self._keys = keys
        self.metrics = SealingMetrics()
        self._verification = ContinuousVerification(database_url, settings.log_origin)
        self._file, self._bucket = _places(settings)
        self._publications = [
            Publication(place, every)
            for place, every in (
                (self._file, 0.0),
                (self._bucket, float(settings.audit_checkpoint_seconds)),
            )
            if place is not None
        ]
        self._failing: dict[str, str] = {}
        self._failing_since: float | None = None
        self._alarmed = ""
        self._refused = 0
        self._stands_by = False
        self._pause = SEAL_SECONDS
        self._ending = asyncio.Event()

    @property
    def places(self) -> Sequence[CheckpointPlace]:
        return [publication.place for publication in self._publications]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Seals while the block runs, once more at its end, and then publishes the last checkpoint."""
        sealing = asyncio.create_task(self._seal_forever())
        publishing = [asyncio.create_task(each.run()) for each in self._publications]
        try:
            async with self._verification.at_work():
                yield
        finally:
            self._ending.set()
            await sealing
            await ended(*publishing)
            for publication in self._publications:
                await publication.finish()
            if self._bucket is not None:
                self._bucket.close()

    def register_metrics(self, registry: CollectorRegistry) -> None:
        self.metrics.register_in(registry)
        self._verification.metrics.register_in(registry)

    async def readiness(self) -> dict[str, str]:
        """What an operator must look into. One that stands by is ready."""
        failing = self._failing | await self._verification.readiness()
        if self._refused:
            failing["audit_writers"] = WRITER_REFUSED
        if any(each.waits_seconds > UNPUBLISHED_SECONDS for each in self._publications):
            failing["audit_checkpoints"] = NOT_PUBLISHED
        return failing

    async def _seal_forever(self) -> None:
        while not self._ending.is_set():
            pause = SEAL_SECONDS
            try:
                async with self._logs.alone() as log:
                    if log is None:
                        pause = self._stand_by()
                    else:
                        await self._serve_term(log)
            except SealingStoppedError as error:
                pause = self._stop(error)
            except PaymentTokenError as error:
                self._fail(error.code)
                logger.warning("sealing failed", extra={"code": error.code})
            # A defect of ours must not end sealing for good.
            except Exception as error:  # noqa: BLE001
                self._fail(DEFECTIVE)
                logger.error("sealing is defective", extra={"fault": type(error).__name__})
            await self._rest(pause)

    async def _serve_term(self, log: SealedLog) -> None:
        seal = await SealLog.begun(log, self.places, self._settings.log_origin, self._keys)
        logger.info("sealing the audit log", extra={"tree_size": seal.tree_size})
        self._stands_by, self._alarmed = False, ""
        self._offer(seal.checkpoint)
        while True:
            # Asked first, so that a round follows the end of everything else that this process does.
            last = self._ending.is_set()
            began = time.monotonic()
            self._note(await seal(), len(seal.refused))
            if last:
                return
            await self._rest(max(0.0, self._pause - (time.monotonic() - began)))

    def _note(self, done: Sealed, refused: int) -> None:
        for refusal in done.refusals:
            logger.critical(
                "a record of the audit log is not what it must be",
                extra={
                    "writer": refusal.writer_id.hex,
                    "sequence": refusal.sequence,
                    "fault": refusal.fault.value,
                },
            )
        self._failing, self._failing_since, self._refused = {}, None, refused
        self._pause = 0.0 if done.more else SEAL_SECONDS
        self.metrics.records.inc(done.records)
        self.metrics.tree_size.set(done.tree_size)
        self.metrics.lag.set(done.lag_seconds)
        self.metrics.refused.set(refused)
        self.metrics.unpublished.set(
            max((each.waits_seconds for each in self._publications), default=0.0)
        )
        self._offer(done.note)

    def _offer(self, note: str | None) -> None:
        if note is not None:
            for publication in self._publications:
                publication.offer(note)

    def _stand_by(self) -> float:
        if not self._stands_by:
            logger.info("another process seals the audit log: standing by")
        self._stands_by = True
        self._failing, self._failing_since, self._refused = {}, None, 0
        return STAND_BY_SECONDS

    def _stop(self, error: SealingStoppedError) -> float:
        if isinstance(error, LogSetBackError) and self._begins_anew(error):
            return 0.0
        self._fail(error.code)
        if self._alarmed != str(error):
            logger.critical("the audit log is not sealed", extra={"reason": str(error)})
        self._alarmed = str(error)
        return STOPPED_SECONDS

    def _begins_anew(self, error: SealingStoppedError) -> bool:
        # A developer empties a database, or tries another one.
        if not self._settings.in_development or self._file is None:
            return False
        try:
            aside = self._file.set_aside()
        except OSError:
            return False
        logger.warning(
            "the database is not the one of these checkpoints: beginning anew",
            extra={"reason": str(error), "set_aside": str(aside)},
        )
        return True

    def _fail(self, code: str) -> None:
        self._failing = {"audit_sealing": code}
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        self.metrics.lag.set(time.monotonic() - self._failing_since)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)


@asynccontextmanager
async def signing_keys(settings: Settings, database_url: str) -> AsyncIterator[VersionedKeys]:
    """Of a process that does nothing but seal: it opens no other key, and holds no lease that a rotation waits for."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(new_pool(database_url))
        clock = DatabaseClock(pool)
        await clock.synchronise()
        custodians = Custodians(settings)
        stack.callback(custodians.close)
        ring = Keyring(
            KeyPurpose.AUDIT_SIGNING,
            PostgresKeyVersions(pool),
            custodians,
            clock,
            settings.environment.value,
            settings.cryptoperiod,
        )

        async def refresh() -> None:
            await ring.refresh()

        await stack.enter_async_context(repeated(clock.synchronise, SYNC_INTERVAL_SECONDS))
        await stack.enter_async_context(repeated(refresh, REFRESH_SECONDS))
        yield GuardedKeys(ring, custodians.cryptography)


def _places(settings: Settings) -> tuple[CheckpointFile | None, CheckpointBucket | None]:
    path, url = settings.checkpoint_file, settings.audit_checkpoint_bucket
    if path is None and url is None:
        raise ConfigurationError(
            "AUDIT_CHECKPOINT_FILE or AUDIT_CHECKPOINT_BUCKET is required: the sealer publishes the state of the audit"
            " log outside the database."
        )
    file = None if path is None else CheckpointFile(path)
    return file, None if url is None else _bucket(url, settings)


def _bucket(url: str, settings: Settings) -> CheckpointBucket:
    if settings.aws_region is None:
        raise ConfigurationError("AWS_REGION is required by AUDIT_CHECKPOINT_BUCKET.")
    return CheckpointBucket(
        url,
        settings.audit_retention_years,
        region=settings.aws_region,
        endpoint_url=settings.s3_endpoint_url,
    )
