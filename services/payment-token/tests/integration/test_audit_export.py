"""The audit log goes into an archive: whole, again and again, and through interruptions."""

import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from payment_token.domain.audit_archive.growing_tree import GrowingTree
from payment_token.domain.audit_archive.layout import ArchiveError, unpacked
from payment_token.domain.audit_archive.position import archived_position, checkpoint_head
from payment_token.domain.audit_archive.sealed_log import Seal
from payment_token.domain.transparency.hashes import leaf_hash
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder
from tests.support.archives import Archiving, archiving
from tests.support.sealed_log import happened

JUNE = datetime(2026, 6, 10, tzinfo=UTC)


@pytest.fixture
async def made(database_url: str, tmp_path: Path) -> AsyncIterator[Archiving]:
    async with archiving(database_url, tmp_path / "archive") as made:
        yield made


def entries_of(made: Archiving) -> list[bytes]:
    size = archived_position(made.archive).size
    paths = [f"tile/entries/{index:03}.gz" for index in range(size // 256)]
    if size % 256:
        paths.append(f"tile/entries/{size // 256:03}.p/{size % 256}.gz")
    return [entry for path in paths for entry in unpacked((made.folder / path).read_bytes())]


async def test_an_archive_proves_the_root_of_its_checkpoint(made: Archiving) -> None:
    made.log.month("2026-06", 1000)

    exported = await made.export()

    assert (exported.before, exported.after) == (0, 1001)
    tree = GrowingTree()
    for entry in entries_of(made):
        tree.add(leaf_hash(entry))
    origin, size, root = checkpoint_head((made.folder / "checkpoint").read_bytes())
    assert (origin, size, root) == ("payment-token/test/decrypt-audit", 1001, tree.root())
    assert root == made.log.tree.root()
    with psycopg.connect(made.url) as database:
        for level, tile, hashes in database.execute("SELECT * FROM audit_tiles"):
            assert (made.folder / f"tile/{level}/{tile:03}").read_bytes() == hashes
    seals = [Seal.parse(line) for line in (made.folder / "seals.jsonl").read_bytes().splitlines()]
    assert [seal.tree_size for seal in seals] == [334, 667, 1001]
    notes = (made.folder / "checkpoints").read_text().split("\n\n")
    assert [notes[place].split("\n")[1] for place in (0, 2, 4)] == ["334", "667", "1001"]


async def test_small_steps_give_the_same_archive_as_one(made: Archiving, tmp_path: Path) -> None:
    writer = None
    for number in range(40):
        at = JUNE + timedelta(minutes=number)
        writer = made.log.write(at, [happened()] * (7 * number % 61), writer)
        made.log.seal(at + timedelta(seconds=1)) if writer.waiting else None
        await made.export()
    at_once = Archiving(made.url, made.log, tmp_path / "at once", made.sealed)
    await at_once.export()

    assert made.files() == at_once.files()


async def test_what_is_there_is_not_written_again(made: Archiving) -> None:
    made.log.month("2026-06", 600)
    await made.export()
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*") if path.is_file()}
    made.log.write(JUNE, [happened()] * 300)
    made.log.seal(JUNE + timedelta(days=4))

    nothing = await made.export()
    nothing_more = await made.export()

    assert (nothing.after, nothing_more.before, nothing_more.after) == (902, 902, 902)
    for name in ("tile/0/000", "tile/0/001", "tile/entries/000.gz"):
        assert (made.folder / name).stat().st_mtime_ns == before[made.folder / name]
    assert [path.name for path in (made.folder / "tile/0").iterdir() if path.is_dir()] == ["003.p"]


class Killed(BaseException):
    """What ends a process that is killed."""


class DyingFolder(ArchiveFolder):
    """Ends the export at its n-th change of the disk, in the middle of it where it is an addition to a file."""

    def __init__(self, folder: Path, changes: int) -> None:
        super().__init__(folder)
        self._changes = changes

    def _spend(self) -> None:
        self._changes -= 1
        if self._changes < 0:
            raise Killed

    def write(self, path: str, content: bytes) -> None:
        self._spend()
        super().write(path, content)

    def append(self, path: str, content: bytes) -> None:
        if self._changes == 0:
            super().append(path, content[: len(content) // 2])
        self._spend()
        super().append(path, content)

    def remove(self, path: str) -> None:
        self._spend()
        super().remove(path)


async def test_wherever_it_is_killed_the_next_export_makes_it_whole(
    made: Archiving, tmp_path: Path
) -> None:
    made.log.month("2026-06", 300)
    await made.export()
    begun = made.folder
    made.log.month("2026-07", 700)
    shutil.copytree(begun, tmp_path / "whole")
    whole = Archiving(made.url, made.log, tmp_path / "whole", made.sealed)
    await whole.export()
    expected = whole.files()

    deaths = 0
    while True:
        made.folder = tmp_path / str(deaths)
        shutil.copytree(begun, made.folder)
        try:
            await made.export(DyingFolder(made.folder, deaths))
        except Killed:
            deaths += 1
        else:
            break
        archived_position(made.archive)
        # Another one that is killed at once must not make it worse.
        with contextlib.suppress(Killed):
            await made.export(DyingFolder(made.folder, 0))
        await made.export()
        files = made.files()
        # Partial tiles of a size that never got its checkpoint may stay behind.
        assert {name: files.get(name) for name in expected} == expected
    assert deaths > 10


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE decrypt_audit_log SET record = replace(record, 'released', 'refused') WHERE sequence = 5",
        "DELETE FROM decrypt_audit_log WHERE sequence = 5",
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at + interval '1 microsecond' WHERE sequence = 5",
        "UPDATE decrypt_audit_log SET sequence = 1005 WHERE sequence = 5",
    ],
)
async def test_a_log_that_was_changed_is_not_exported(made: Archiving, change: str) -> None:
    made.log.month("2026-06", 30)
    with psycopg.connect(made.url) as database:
        for table in ("decrypt_audit_log", "decrypt_audit_log_2026_06"):
            database.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        database.execute(change)

    with pytest.raises(ArchiveError, match=r"leaf 5|leaves 0 to 10"):
        await made.export()

    assert not (made.folder / "checkpoint").exists()


async def test_an_archive_of_another_log_is_left_alone(
    made: Archiving, database_url: str, tmp_path: Path
) -> None:
    made.log.month("2026-06", 30)
    await made.export()
    with psycopg.connect(made.url) as database:
        for table in ("audit_seals", "audit_tiles"):
            database.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
            database.execute(f"DELETE FROM {table}")
        database.execute("DELETE FROM audit_chains")

    with pytest.raises(ArchiveError, match="the database fewer"):
        await made.export()

    other = type(made.log)(made.url)
    other.month("2026-07", 30)
    with pytest.raises(ArchiveError, match="differ within the first 31 leaves"):
        await made.export()


async def test_a_month_is_closed_three_days_after_its_end(made: Archiving) -> None:
    made.log.month("2026-06", 500)
    made.log.month("2026-07", 400)
    await made.export()

    assert await made.close("2026-07-03T23:59:59") == []
    (june,) = await made.close("2026-07-04T00:00:00")
    (july,) = await made.close("2026-08-20T00:00:00")

    assert (june.first_index, june.last_index, june.records) == (0, 500, 501)
    assert (july.first_index, july.last_index, july.records) == (501, 901, 401)
    assert july.root == made.log.tree.root()
    for month in ("2026-06", "2026-07"):
        manifest = made.manifest(month)
        files = manifest["files"]
        assert isinstance(files, dict)
        for name, digest in files.items():
            assert sha256((made.folder / name).read_bytes()).hexdigest() == digest
    assert "tile/0/001.p/245" in made.manifest("2026-06")["files"]  # type: ignore[operator]


async def test_what_a_manifest_names_stays_as_it_is_while_the_log_goes_on(made: Archiving) -> None:
    made.log.month("2026-06", 500)
    await made.export()
    await made.close("2026-07-10T00:00:00")
    files = made.manifest("2026-06")["files"]
    made.log.month("2026-07", 1500)
    await made.export()
    made.log.month("2026-09", 1500)
    await made.export()
    assert [str(manifest.month) for manifest in await made.close("2026-10-05")] == [
        "2026-07",
        "2026-08",
        "2026-09",
    ]

    assert isinstance(files, dict)
    for name, digest in files.items():
        assert sha256((made.folder / name).read_bytes()).hexdigest() == digest
    assert json.loads((made.folder / "months/2026-08.json").read_text())["records"] == 0


async def test_a_month_with_unsealed_records_is_not_closed_and_says_whose(made: Archiving) -> None:
    made.log.month("2026-06", 20)
    left = made.log.write(JUNE, [happened()] * 3)
    await made.export()

    with pytest.raises(ArchiveError, match="4 of writer") as refused:
        await made.close("2026-07-10T00:00:00")

    assert left.chain.writer_id.hex in str(refused.value)
    assert "service:test" in str(refused.value)
    assert made.archive.months() == []


async def test_only_one_writes_to_an_archive(made: Archiving) -> None:
    made.log.month("2026-06", 20)
    with (
        made.archive.alone(),
        pytest.raises(ArchiveError, match="another process"),
    ):
        await made.export()
