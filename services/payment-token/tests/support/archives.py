"""Archives of a sealed log, as the commands make them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from payment_token.domain.audit_archive.close_months import CloseMonths
from payment_token.domain.audit_archive.export_log import Exported, ExportLog
from payment_token.domain.audit_archive.manifest import Manifest
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder
from payment_token.infrastructure.database.sealed_log import PostgresSealedLog, connected
from tests.support.sealed_log import SealedLogMaker


@dataclass
class Archiving:
    """``log`` fills the database; ``export`` and ``close`` fill the folder."""

    url: str
    log: SealedLogMaker
    folder: Path
    sealed: PostgresSealedLog

    @property
    def archive(self) -> ArchiveFolder:
        return ArchiveFolder(self.folder)

    async def export(self, archive: ArchiveFolder | None = None) -> Exported:
        archive = archive or self.archive
        with archive.alone():
            return await ExportLog(self.sealed, archive)()

    async def close(self, now: str) -> list[Manifest]:
        close = CloseMonths(self.sealed, self.archive, self.log.sign)
        due = await close.due(datetime.fromisoformat(now).replace(tzinfo=UTC))
        return [await close(month) for month in due]

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    def manifest(self, month: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.folder / f"months/{month}.json").read_text())
        return content


@asynccontextmanager
async def archiving(url: str, folder: Path) -> AsyncIterator[Archiving]:
    async with connected(url) as connection:
        yield Archiving(url, SealedLogMaker(url), folder, PostgresSealedLog(connection))
