"""PostgreSQL on a disk that is full: no record, no release; with room again, as before."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.databases import keep_near_partitions
from tests.support.releasing import releasing
from tests.support.small_disk import SmallDisk, small_disk

# An empty server has 40 MB, and 16 to 32 of its log of writes.
_MEGABYTES = 160


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", _MEGABYTES) as disk:
        yield disk


async def test_a_full_disk(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer(disk.folder) as server:
        migration.upgrade(server.url)
        keep_near_partitions(server.url)
        async with releasing(server.url, server.url) as process:
            caplog.set_level(logging.WARNING)
            disk.fill()
            # What a page has room for still goes in.
            for _ in range(200):
                if not await process.release():
                    break
            else:
                pytest.fail("the disk is not full")
            assert not await process.is_ready()
            faults = {record.__dict__.get("fault") for record in caplog.records}
            disk.empty()
            await process.recover()
            # The statement failed, and the server said so: the writer goes on.
            assert "53100" in faults
            assert process.writers == 1
