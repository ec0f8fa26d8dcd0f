"""uvicorn's HTTP, and what is missing there: the client's certificate for the application, answers in one packet, a quick end.

uvicorn verifies client certificates but does not tell the application about them; it hears of one here as the ASGI TLS
extension names it.
"""

import asyncio
import ssl

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from payment_token.api.joined_writes import JoinedWrites

# Enough for a slow reader to take in the end of its answer.
_GOODBYE_SECONDS = 5.0


class HTTPProtocol(HttpToolsProtocol):
    _tls: dict[object, object] | None = None
    _connection: asyncio.Transport
    _goodbye: asyncio.TimerHandle | None = None
    _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connection = transport
        self.transport = JoinedWrites(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self._tls = _tls_extension(connection)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}

    def shutdown(self) -> None:
        self._ending = True
        super().shutdown()
        self._say_goodbye()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._say_goodbye()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._goodbye is not None:
            self._goodbye.cancel()

    def _say_goodbye(self) -> None:
        """TLS ends when both sides have said so, and a client whose connection is idle looks at it with its next request only."""
        if self._ending and self._tls is not None and self.transport.is_closing():
            self._goodbye = self.loop.call_later(_GOODBYE_SECONDS, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        if not self._connection.get_write_buffer_size():
            self._connection.abort()


def _tls_extension(connection: ssl.SSLObject) -> dict[object, object]:
    certificate = connection.getpeercert(binary_form=True)
    return {
        "server_cert": None,
        "client_cert_chain": [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(connection.version() or ""),
        "cipher_suite": None,
    }
