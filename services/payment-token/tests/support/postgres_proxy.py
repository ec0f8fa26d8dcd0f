"""PostgreSQL behind a wire that can fail: a Unix socket of its own that passes messages on, until it is told otherwise.

It knows where a message ends and nothing of what it says (PostgreSQL's documentation, chapter "Frontend/Backend Protocol").
"""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_PORT = 5432
_BODY = 4


class Way(Enum):
    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


@dataclass
class Wire:
    """``delay`` is how many seconds a message takes, by its way. ``cut`` names the message that is lost with its connection.

    Connections in ``silent`` pass nothing on any more.
    """

    url: str
    delay: dict[Way, float] = field(default_factory=lambda: dict.fromkeys(Way, 0.0))
    connections: set["_Connection"] = field(default_factory=set)
    silent: set["_Connection"] = field(default_factory=set)
    silent_for_all: bool = False
    cuts: int = 0
    _cut: tuple[Way, int] | None = None

    def cut_at(self, way: Way, message: int) -> None:
        """The ``message``-th one from now on, counted from 1 over all connections, does not arrive any more."""
        self._cut = (way, message)
        self.cuts = 0

    def go_silent(self, *, for_all: bool = False) -> None:
        """On the connections that there are; ``for_all``: on new ones as well."""
        self.silent |= self.connections
        self.silent_for_all = for_all

    def heal(self) -> None:
        """What was held back arrives late."""
        self._cut = None
        self.delay = dict.fromkeys(Way, 0.0)
        self.silent.clear()
        self.silent_for_all = False

    def cuts_here(self, way: Way) -> bool:
        if self._cut is None or self._cut[0] is not way:
            return False
        left = self._cut[1] - 1
        self._cut = (way, left) if left else None
        self.cuts += not left
        return not left


@asynccontextmanager
async def postgres_proxy(url: str) -> AsyncIterator[Wire]:
    """``url`` is the server's; its clients connect to the wire's."""
    # A socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pt-wire-"))
    wire = Wire(_url_by_way_of(folder, url))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(wire, reader, writer).serve(url)

    server = await asyncio.start_unix_server(serve, str(folder / f".s.PGSQL.{_PORT}"))
    try:
        yield wire
    finally:
        server.close()
        for connection in list(wire.connections):
            connection.end()
        await asyncio.sleep(0.01)
        shutil.rmtree(folder)


class _Connection:
    def __init__(
        self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._wire = wire
        self._client = (reader, writer)
        self._relays: list[asyncio.Task[None]] = []
        self._writers = [writer]

    async def serve(self, url: str) -> None:
        self._wire.connections.add(self)
        try:
            from_server, to_server = await _connected(url)
            self._writers.append(to_server)
            from_client, to_client = self._client
            self._relays = [
                asyncio.ensure_future(self._relay(Way.TO_SERVER, from_client, to_server)),
                asyncio.ensure_future(self._relay(Way.TO_CLIENT, from_server, to_client)),
            ]
            await asyncio.wait(self._relays, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            self.end()

    def end(self) -> None:
        for relay in self._relays:
            relay.cancel()
        for writer in self._writers:
            writer.transport.abort()
        self._wire.connections.discard(self)

    async def _relay(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # The first message of a client has no type before its length.
        kind_bytes = 0 if way is Way.TO_SERVER else 1
        wire = self._wire
        try:
            while True:
                head = await reader.readexactly(kind_bytes + _BODY)
                body = await reader.readexactly(int.from_bytes(head[kind_bytes:]) - _BODY)
                kind_bytes = 1
                if wire.cuts_here(way):
                    return
                await asyncio.sleep(wire.delay[way])
                while wire.silent_for_all or self in wire.silent:  # noqa: ASYNC110 - not one event
                    await asyncio.sleep(0.01)
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass


@contextmanager
def postgres_proxy_beside(url: str) -> Iterator[Wire]:
    """The same for a test that has no event loop: in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = postgres_proxy(url)

    def run(step: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(timeout=10)

    try:
        yield run(proxy.__aenter__())
    finally:
        run(proxy.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _url_by_way_of(folder: Path, url: str) -> str:
    server = conninfo_to_dict(url)
    login = ":".join(
        quote(str(server[part]), safe="") for part in ("user", "password") if part in server
    )
    return (
        f"postgresql://{login}@/{server['dbname']}?host={quote(str(folder), safe='')}&port={_PORT}"
    )


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    server = conninfo_to_dict(url)
    host, port = str(server["host"]), int(server.get("port") or _PORT)
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
