"""Checkpoints in a file: nothing that was published is lost, whatever interrupts the one who writes."""

import os
import stat
from pathlib import Path

import pytest

from payment_token.domain.keys import NamedKey
from payment_token.domain.log_sealing.ports import PlaceUnavailableError
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import split_notes
from payment_token.infrastructure.checkpoint_file import CheckpointFile

KEY = NamedKey("v1", SecretKey(bytes(range(32))))


def note(size: int) -> str:
    return Checkpoint("payment-token/test/decrypt-audit", size, bytes(32)).signed(KEY)


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile(tmp_path / "checkpoints")


async def test_notes_stand_one_after_the_other_each_with_an_empty_line(
    file: CheckpointFile,
) -> None:
    await file.publish(note(1))
    await file.publish(note(2))
    # Whoever was interrupted before it heard that this one is kept.
    await file.publish(note(2))

    assert file.path.read_text() == f"{note(1)}\n{note(2)}\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("size", "found"), [(0, note(7)), (7, note(7)), (8, None)])
async def test_the_last_one_is_found(file: CheckpointFile, size: int, found: str | None) -> None:
    assert await file.beyond(size) is None
    for number in range(1, 8):
        await file.publish(note(number))

    assert await file.beyond(size) == found


@pytest.mark.parametrize("left", [1, 20, 60, 100, len(note(2).encode()), len(note(2).encode()) - 1])
async def test_a_torn_note_is_dropped_before_the_next_one(file: CheckpointFile, left: int) -> None:
    await file.publish(note(1))
    await file.publish(note(2))
    whole = len(f"{note(1)}\n".encode())
    os.truncate(file.path, whole + left)

    assert await file.beyond(0) == note(1)
    await file.publish(note(3))

    assert file.path.read_text() == f"{note(1)}\n{note(3)}\n"


async def test_a_torn_note_is_all_there_is(file: CheckpointFile) -> None:
    file.path.write_text(note(1)[:40])

    assert await file.beyond(0) is None
    await file.publish(note(2))

    assert file.path.read_text() == f"{note(2)}\n"


async def test_a_torn_note_stays_where_the_system_lets_nobody_cut(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.publish(note(1))
    with file.path.open("a") as torn:
        torn.write(note(2)[:45])

    def refuse(descriptor: int, length: int) -> None:
        raise PermissionError(1, "append-only")

    monkeypatch.setattr(os, "ftruncate", refuse)
    await file.publish(note(3))

    assert split_notes(file.path.read_text()) == [note(1), note(3)]
    assert await file.beyond(0) == note(3)


async def test_a_long_file_is_read_from_its_end(file: CheckpointFile) -> None:
    many = "".join(f"{note(size)}\n" for size in range(1, 3000))
    file.path.write_text(many + note(3000)[:50])

    assert await file.beyond(0) == note(2999)
    await file.publish(note(3001))

    assert file.path.read_text() == f"{many}{note(3001)}\n"


async def test_what_is_no_checkpoint_is_given_back_to_be_seen(file: CheckpointFile) -> None:
    file.path.write_text(f"{note(3)}\ntext\n\n\u2014 name AAAAAAA=\n\n")

    assert await file.beyond(0) == "text\n\n\u2014 name AAAAAAA=\n"


async def test_a_place_that_cannot_be_used_is_an_outage(tmp_path: Path) -> None:
    nowhere = CheckpointFile(tmp_path / "missing" / "checkpoints")
    folder = CheckpointFile(tmp_path)

    with pytest.raises(PlaceUnavailableError):
        await nowhere.publish(note(1))
    with pytest.raises(PlaceUnavailableError):
        await folder.publish(note(1))
    with pytest.raises(PlaceUnavailableError):
        await folder.beyond(0)


async def test_a_full_disk_is_an_outage_and_what_it_tore_goes(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.publish(note(1))
    original = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: original(descriptor, data[:10]))
        with pytest.raises(PlaceUnavailableError):
            await file.publish(note(2))

    await file.publish(note(2))

    assert file.path.read_text() == f"{note(1)}\n{note(2)}\n"


async def test_a_file_that_is_set_aside_stays(file: CheckpointFile) -> None:
    for size in (1, 2):
        await file.publish(note(size))
        file.set_aside()

    names = sorted(path.name for path in file.path.parent.iterdir())
    assert names == ["checkpoints.1", "checkpoints.2"]
