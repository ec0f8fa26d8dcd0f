"""The certificates that are let in by name, where a file names them: a short list on top of authority, dates and revocation.

One SHA-256 of a certificate (DER) a line: 64 hexadecimal digits, with or without colons, as ``openssl x509 -fingerprint -sha256``
prints them. What follows ``#`` is a comment.
"""

import re
from pathlib import Path

from payment_token.api.read_again import ReadAgain

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_MOST = 100_000


class AllowedCertificates:
    """Read again within a second of its change. A file that is then wrong, or gone, changes nothing: a slip locks out nobody.

    Raises OSError, ValueError at the start only.
    """

    def __init__(self, path: Path) -> None:
        self._read = ReadAgain(
            "list of allowed certificates",
            (path,),
            lambda: fingerprints_of(path.read_text("utf-8")),
        )

    def lets_in(self, fingerprint: bytes) -> bool:
        return fingerprint in self._read.recent()


def fingerprints_of(text: str) -> frozenset[bytes]:
    """Raises ValueError for a line that is no fingerprint, and where there is none at all."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    digits = [line.replace(":", "").lower() for line in lines if line]
    if not digits or len(digits) > _MOST or not all(map(_FINGERPRINT.fullmatch, digits)):
        raise ValueError("not a list of fingerprints")
    return frozenset(map(bytes.fromhex, digits))
