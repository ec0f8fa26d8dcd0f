"""The revocation list in force: that of the file, read again within a second of its change.

A new file that is wrong changes nothing. The old list then stays in force until its own next update, and afterwards
nobody is let in: an attacker who can only withhold a list gains no more than that time.
"""

from pathlib import Path

from payment_token.api.read_again import ReadAgain
from payment_token.api.revocation_list import RevocationList


class RevocationFile:
    """Raises OSError and ValueError as RevocationList does, at the start only."""

    def __init__(self, path: Path, client_ca: Path) -> None:
        self._lists = ReadAgain(
            "revocation list", (path, client_ca), lambda: RevocationList(path, client_ca)
        )

    def current(self) -> RevocationList:
        return self._lists.recent()
