"""The embedded server: shared, stopped by the last one out, revived, and polite to the machine."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer, EmbeddedServerError

# Holds the server until its standard input closes.
USER = """
import sys
from pathlib import Path
from payment_token.infrastructure.database.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class OtherProcess:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = (
        tmp_path
        / "a deployment's folder, with a path that is longer than any socket's path may be, 108 bytes"
    )
    folder.mkdir()
    yield folder
    EmbeddedServer(folder).release()


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_it_is_a_real_server_with_a_database(folder: Path) -> None:
    with EmbeddedServer(folder) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW server_version_num").fetchone()[0].startswith("18")  # type: ignore[index]
        assert connection.execute("SELECT current_database()").fetchone() == ("payment_tokens",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_data_outlives_the_server(folder: Path) -> None:
    with EmbeddedServer(folder) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        url = server.url
    assert not answers(url)

    with EmbeddedServer(folder) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_the_last_one_out_stops_it(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        other = OtherProcess(folder)
        assert other.url == server.url
    assert answers(other.url)

    other.leave()

    assert not answers(other.url)
    assert server.postmaster_pid is None


def test_a_user_that_is_killed_leaves_no_trace(folder: Path) -> None:
    other = OtherProcess(folder)
    other.kill()
    assert answers(other.url)

    with EmbeddedServer(folder) as server:
        assert server.url == other.url

    assert not answers(other.url)


def test_a_server_that_is_killed_comes_back_under_its_url(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        url, pid = server.url, server.postmaster_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while server._listens() and time.monotonic() < deadline:
            time.sleep(0.01)

        server.ensure_running()

        assert server.url == url
        assert answers(url)


def test_many_starting_at_once_share_one(folder: Path) -> None:
    others = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    urls = {other.stdout.readline() for other in others if other.stdout is not None}
    for other in others:
        other.communicate(timeout=60)

    assert len(urls) == 1
    assert not answers(urls.pop().strip())


def test_an_interrupted_first_start_does_no_harm(folder: Path) -> None:
    half_made = folder / "postgres" / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18")

    with EmbeddedServer(folder) as server:
        assert answers(server.url)


def test_data_of_another_version_is_left_alone(folder: Path) -> None:
    data = folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")

    with pytest.raises(EmbeddedServerError, match="PostgreSQL 15"):
        EmbeddedServer(folder).start_or_attach()


def test_no_existing_folder_changes_and_secrets_stay_private(folder: Path) -> None:
    folder.chmod(0o700)
    before = {
        parent: (parent.stat().st_mode, parent.stat().st_uid)
        for parent in (folder, *folder.parents)
    }

    with EmbeddedServer(folder) as server:
        socket_folder = Path(server._socket_folder or "")
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        for name in ("postgres", "postgres/data"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700

    after = {
        parent: (parent.stat().st_mode, parent.stat().st_uid)
        for parent in (folder, *folder.parents)
    }
    assert after == before
    assert not socket_folder.exists()


def test_a_server_whose_socket_was_swept_away_is_found_again(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        (Path(server._socket_folder or "") / ".s.PGSQL.5432").unlink()

        server.ensure_running()

        assert answers(server.url)


def test_what_a_note_says_is_not_believed(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (folder / "postgres").mkdir()
    for note in (str(precious), "", "."):
        (folder / "postgres" / "socket-folder").write_text(note)
        with EmbeddedServer(folder) as server:
            assert Path(server._socket_folder or "").name.startswith("pt-pg-")
    assert precious.is_dir()


def test_a_process_that_does_not_use_it_does_not_start_it(folder: Path) -> None:
    server = EmbeddedServer(folder)
    server.start_or_attach()
    server.release()

    server.ensure_running()

    assert server.postmaster_pid is None


def test_folders_that_it_makes_are_private(folder: Path) -> None:
    with EmbeddedServer(folder / "new" / "deployment"):
        modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in ("new", "new/deployment")}
    assert modes == {0o700}
