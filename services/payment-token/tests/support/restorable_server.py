"""A PostgreSQL server that archives its write-ahead log, is backed up with pg_basebackup, and restored to a point in time."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg

from payment_token.infrastructure.database.embedded import find_binaries
from payment_token.infrastructure.database.server_user import as_server_user, server_user

_PATIENCE_SECONDS = 60


@dataclass
class RestorableServer:
    """``folder`` has the data, the archived write-ahead log, the base backup, and the socket."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/payment_tokens?host={quote(str(self.folder), safe='')}"

    def run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [*as_server_user(), str(find_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
                cwd="/",
            )
            output.seek(0)
            log = self.folder / "server.log"
            said = output.read().decode() + (log.read_text() if log.exists() else "")
        assert done.returncode == 0, f"{program}: {said[-2000:]}"

    def make(self) -> None:
        self.run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "-A",
            "trust",
        )
        self.configure(
            listen_addresses="",
            unix_socket_directories=str(self.folder),
            wal_level="replica",
            archive_mode="on",
            archive_command=f"cp %p {self.folder}/wal/%f",
            restore_command=f"cp {self.folder}/wal/%f %p",
        )
        self._make_folder("wal")
        self.start()
        with self.server_connection() as server:
            server.execute("CREATE DATABASE payment_tokens")

    def configure(self, **settings: str) -> None:
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(lines)

    def start(self) -> None:
        self.run(
            "pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "server.log"), "start"
        )

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")

    def back_up(self) -> None:
        """The base backup, while the server runs."""
        self.run(
            "pg_basebackup", "-h", str(self.folder), "-U", "postgres", "-D", str(self.folder / "base"),
            "-c", "fast",
        )  # fmt: skip

    def now(self) -> datetime:
        with self.server_connection() as server:
            row = server.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        time_of_server: datetime = row[0]
        return time_of_server

    def restore(self, to: datetime) -> None:
        """The server as it was at that time; what was done since is in the write-ahead log, and not replayed."""
        with self.server_connection() as server:
            server.execute("SELECT pg_switch_wal()")
        self.stop()
        self.data.rename(self.folder / "lost")
        (self.folder / "base").rename(self.data)
        self.configure(recovery_target_time=to.isoformat(), recovery_target_action="promote")
        (self.data / "recovery.signal").touch()
        self._give(self.data / "recovery.signal")
        self.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self.server_connection() as server:
                if server.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                    return
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)

    def server_connection(self) -> psycopg.Connection:
        return psycopg.connect(
            self.url.replace("/payment_tokens?", "/postgres?"), autocommit=True, connect_timeout=10
        )

    def _make_folder(self, name: str) -> None:
        (self.folder / name).mkdir(mode=0o700)
        self._give(self.folder / name)

    def _give(self, path: Path) -> None:
        user = server_user()
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)


@contextmanager
def restorable_server() -> Iterator[RestorableServer]:
    # A socket's path is short, and as root the server is another user's, who must be let in.
    folder = Path(tempfile.mkdtemp(prefix="pt-pitr-", dir="/tmp"))
    server = RestorableServer(folder)
    server._give(folder)
    try:
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
