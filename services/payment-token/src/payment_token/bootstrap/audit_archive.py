"""The archive of the audit log, as the commands of an operator need it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from payment_token.bootstrap.archive_verifier import IndependentVerifier
from payment_token.bootstrap.audit import opened_audit_log, this_operator
from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.keys import Keys
from payment_token.domain.audit_archive.archive_months import ArchiveMonths
from payment_token.domain.audit_archive.close_months import CloseMonths
from payment_token.domain.audit_archive.export_log import ExportLog
from payment_token.domain.audit_archive.legal_hold import LegalHolds
from payment_token.domain.audit_archive.ports import SealedLog
from payment_token.domain.audit_archive.remove_expired import RemoveExpired
from payment_token.domain.audit_archive.retention import Retention
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.ports import AuditLog
from payment_token.domain.transparency.signed_note import sign_note
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder
from payment_token.infrastructure.database.archive_registers import (
    PostgresExportRegister,
    PostgresHoldRegister,
)
from payment_token.infrastructure.database.audit_partitions import PostgresMonthPartitions
from payment_token.infrastructure.database.clock import SYNC_INTERVAL_SECONDS, DatabaseClock
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.sealed_log import PostgresSealedLog, connected
from payment_token.settings import Settings


class ManifestSigner:
    """Signs with the audit signing key, which is opened when there is something to sign. Its name is the log's origin."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def __call__(self, text: str) -> str:
        origin = text.partition("\n")[0]
        return sign_note(text, origin, await self._keys.rings[KeyPurpose.AUDIT_SIGNING].active())


@dataclass(frozen=True, slots=True)
class ArchiveWork:
    """``archive_months`` and ``remove_expired`` need the owner's login, and ``holds.release`` too."""

    archive: ArchiveFolder
    log: SealedLog
    export: ExportLog
    close: CloseMonths
    archive_months: ArchiveMonths
    remove_expired: RemoveExpired


@asynccontextmanager
async def opened_archive(
    settings: Settings, folder: Path, *, as_owner: bool
) -> AsyncIterator[ArchiveWork]:
    """``as_owner`` works with the login of MIGRATION_DATABASE_URL. Records are written with that of DATABASE_URL."""
    archive = ArchiveFolder(folder)
    operator = this_operator()
    url = deployment_url(settings)
    retention = Retention(settings.audit_hot_months, settings.audit_retention_years)
    async with (
        connected(deployment_url(settings, for_migration=as_owner)) as connection,
        _audit_log_and_keys(settings, url) as (audit_log, keys),
    ):
        log = PostgresSealedLog(connection)
        export = ExportLog(log, archive)
        close = CloseMonths(log, archive, ManifestSigner(keys))
        yield ArchiveWork(
            archive=archive,
            log=log,
            export=export,
            close=close,
            archive_months=ArchiveMonths(
                archive=archive,
                export=export,
                close=close,
                verify=IndependentVerifier(await log.public_keys()),
                register=PostgresExportRegister(connection, archive.location),
                partitions=PostgresMonthPartitions(connection),
                audit_log=audit_log,
                operator=operator,
                retention=retention,
            ),
            remove_expired=RemoveExpired(
                archive=archive,
                holds=PostgresHoldRegister(connection),
                audit_log=audit_log,
                operator=operator,
                retention=retention,
            ),
        )


@asynccontextmanager
async def opened_holds(settings: Settings, *, as_owner: bool) -> AsyncIterator[LegalHolds]:
    async with (
        connected(deployment_url(settings, for_migration=as_owner)) as connection,
        _audit_log_and_keys(settings, deployment_url(settings)) as (audit_log, _),
    ):
        yield LegalHolds(PostgresHoldRegister(connection), audit_log, this_operator())


@asynccontextmanager
async def _audit_log_and_keys(settings: Settings, url: str) -> AsyncIterator[tuple[AuditLog, Keys]]:
    """Neither writes, nor asks a custodian, before it is needed."""
    operator = this_operator()
    async with new_pool(url) as pool:
        clock = DatabaseClock(pool)
        await clock.synchronise()
        async with (
            repeated(clock.synchronise, SYNC_INTERVAL_SECONDS),
            opened_audit_log(url, pool, clock, operator) as audit_log,
            Keys.opened(settings, pool, clock, AuditedKeyChanges(audit_log, operator)) as keys,
        ):
            yield audit_log, keys
