"""The revocation list in force: that of the file, read again within a second of its change.

A new file that is wrong changes nothing. The old list then stays in force until its own next update, and afterwards
nobody is let in: an attacker who can only withhold a list gains no more than that time.
"""

import logging
import time
from pathlib import Path

from payment_token.api.file_stamps import stamps_of
from payment_token.api.revocation_list import RevocationList

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class RevocationFile:
    """Raises OSError and ValueError as RevocationList does, at the start only."""

    def __init__(self, path: Path, client_ca: Path) -> None:
        self._path = path
        self._client_ca = client_ca
        self._files = (path, client_ca)
        self._stamps = stamps_of(self._files)
        self._list = RevocationList(path, client_ca)
        self._looked_at = time.monotonic()

    def current(self) -> RevocationList:
        """Asked with each request, so it looks at the file once a second at most."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look_again()
        return self._list

    def _look_again(self) -> None:
        stamps = stamps_of(self._files)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._list = RevocationList(self._path, self._client_ca)
        except (OSError, ValueError) as error:
            logger.error(
                "revocation list not read again, the old one stays",
                extra={"reason": getattr(error, "strerror", None) or type(error).__name__},
            )
            return
        logger.info("revocation list read again")
