"""A TLS context whose files may change: each new connection gets what they hold now, open ones keep what they have."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from payment_token.api.read_again import ReadAgain


class ReloadedContext(ssl.SSLContext):
    """Stands where asyncio wants one context, and begins each connection with the newest that could be built."""

    _contexts: ReadAgain[ssl.SSLContext]

    @classmethod
    def of(cls, build: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> Self:
        """Raises what ``build`` does. Afterwards files that are wrong change nothing."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._contexts = ReadAgain("certificates", files, build)
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature is the library's
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        newest = self._contexts.current()
        return newest.wrap_bio(incoming, outgoing, server_side, server_hostname, session)
