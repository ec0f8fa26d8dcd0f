"""One address on which gRPC is listened to. To the process it is a listener like any other.

Behind it are several servers of the library, which share the address as processes do. Each of them asks for the next call
once the event loop has come round twice since the last one, so that one alone would bring the calls of a busy process in
one by one, and the batches of its database work would be small: it served half as many.
"""

import asyncio
import socket
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from payment_token.api.listener import DRAIN_SECONDS
from payment_token.api.listening_socket import ListenError, reserved_address
from payment_token.api.rest.bounds import AT_ONCE
from payment_token.api.rest.operations import Readiness
from payment_token.api.rest.request_body import SINGLE_LIMIT_BYTES
from payment_token.api.rpc.bounds import Bounds
from payment_token.api.rpc.credentials import Credentials
from payment_token.api.rpc.health import Health
from payment_token.api.rpc.methods import Methods

# Beyond the largest message that a method takes, so that one a little larger has an answer of ours. Of anything larger
# still the library reads no more than its length.
_BEYOND_BYTES = 192 * 1024

# Of each server, and of each connection: twice as many as are worked on at once, so that the rest hears so from us. They
# include calls whose message has not come yet.
_CALLS = 2 * AT_ONCE

_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.so_reuseport", 1),
    ("grpc.max_concurrent_streams", _CALLS),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A peer that is gone without a word is noticed; one that pings more often than every 10 seconds is sent away.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_permit_without_calls", 1),
    # Now and then a worker shows its certificate again, and calls without a message come to an end.
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", DRAIN_SECONDS * 1000),
)
_SERVERS = 16
# What the database has not answered by then it never will: each of its statements has a bound.
_LATE_SECONDS = 4.0


class RPCListener:
    def __init__(
        self,
        name: str,
        address: str,
        service: str,
        methods: Methods,
        bounds: Bounds,
        readiness: Readiness,
        credentials: Credentials | None = None,
        *,
        reflected: bool,
        largest_message: int = SINGLE_LIMIT_BYTES,
    ) -> None:
        """``service`` is the full name of what ``methods`` are. ``reflected`` lets callers ask what there is.

        ``largest_message`` is the most bytes that any of them takes.
        """
        self.name = name
        self._address = address
        self._service = service
        self._methods = methods
        self._bounds = bounds
        self._credentials = credentials
        self._reflected = reflected
        self._message_bytes = largest_message + _BEYOND_BYTES
        self._servers: tuple[grpc.aio.Server, ...] = ()
        self._reservation: socket.socket | None = None
        self._health = Health([service], readiness)
        self._stopping = asyncio.Event()

    def bind(self, *, shared: bool = False) -> None:
        """``shared``: on an address that is reserved for several processes. Raises ListenError when it cannot be had."""
        if not shared:
            self._address, self._reservation = reserved_address(self.name, self._address)
        self._servers = tuple(self._bound_server() for _ in range(_SERVERS))

    @property
    def url(self) -> str:
        """Where it listens; with port 0 in its address, the port that the system chose."""
        if not self._servers:
            raise RuntimeError("the listener is not bound")
        return f"{'grpc' if self._credentials is None else 'grpcs'}://{self._address}"

    async def serve(self) -> None:
        """Serves until ``stop``, then lets the calls in progress finish."""
        if not self._servers:
            raise RuntimeError("the listener is not bound")
        for server in self._servers:
            await server.start()
        await self._stopping.wait()
        self._health.end()
        await asyncio.gather(*(server.stop(DRAIN_SECONDS) for server in self._servers))
        await self._bounds.ended(_LATE_SECONDS)

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
        """The servers have closed their sockets by themselves, or never listened."""
        if self._reservation is not None:
            self._reservation.close()

    def _bound_server(self) -> grpc.aio.Server:
        options = (*_OPTIONS, ("grpc.max_receive_message_length", self._message_bytes))
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_CALLS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._reflected:
            names = (self._service, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        # Last: it answers whatever the others do not.
        server.add_generic_rpc_handlers((self._methods,))
        bound = 0
        try:
            if self._credentials is None:
                bound = server.add_insecure_port(self._address)
            else:
                bound = server.add_secure_port(self._address, self._credentials.for_server())
        except RuntimeError:
            # Its text is the library's.
            pass
        if not bound:
            raise ListenError(f"{self.name}: cannot listen on {self._address}.")
        return server
