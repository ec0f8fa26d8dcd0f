"""A TLS context whose files may change: each new connection gets what they hold now, open ones keep what they have."""

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from payment_token.api.file_stamps import Stamps, stamps_of

logger = logging.getLogger(__name__)


class ReloadedContext(ssl.SSLContext):
    """Stands where asyncio wants one context, and begins each connection with the newest that could be built."""

    _build: Callable[[], ssl.SSLContext]
    _files: Sequence[Path]
    _stamps: Stamps
    _newest: ssl.SSLContext

    @classmethod
    def of(cls, build: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> Self:
        """Raises what ``build`` does. Afterwards files that are wrong change nothing."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._build = build
        made._files = files
        # Before the files are read: a change meanwhile is then seen next time.
        made._stamps = stamps_of(files)
        made._newest = build()
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature is the library's
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        self._look_again()
        return self._newest.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _look_again(self) -> None:
        stamps = stamps_of(self._files)
        if stamps == self._stamps:
            return
        # Also where they are wrong: one line in the log for each change, not for each connection.
        self._stamps = stamps
        try:
            self._newest = self._build()
        except (OSError, ValueError) as error:
            logger.error(
                "certificates not read again, the old ones stay",
                extra={"reason": getattr(error, "strerror", None) or type(error).__name__},
            )
            return
        logger.info("certificates read again")
