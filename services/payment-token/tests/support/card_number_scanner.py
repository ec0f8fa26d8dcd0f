"""Finds a card number in bytes, in the disguises that it takes on its way through software."""

import base64
import gzip
import zlib
from collections.abc import Iterator
from urllib.parse import quote


def disguises(secret: str) -> dict[str, bytes]:
    """Each disguise by name. Base64 and gzip are looked for differently: see :func:`find`."""
    raw = secret.encode()
    groups = [secret[start : start + 4] for start in range(0, len(secret), 4)]
    found = {
        "plain": raw,
        "spaced": " ".join(groups).encode(),
        "dashed": "-".join(groups).encode(),
        "hexadecimal": raw.hex().encode(),
        "hexadecimal, upper case": raw.hex().upper().encode(),
        "UTF-16": secret.encode("utf-16-le"),
        "URL, every character": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "URL": quote(secret, safe="").encode(),
        "JSON escapes": "".join(f"\\u{ord(character):04x}" for character in secret).encode(),
        "reversed": raw[::-1],
    }
    if secret.isdecimal() and len(secret) % 2 == 0:
        found["packed digits"] = bytes.fromhex(secret)
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # The ends mix with whatever stands around; the middle is the same wherever the text stands.
        found[f"base64 at offset {offset}"] = encoded[4:-4]
    return found


def find(secret: str, haystack: bytes) -> list[str]:
    """The names of the disguises in which ``secret`` stands in ``haystack``."""
    wanted = disguises(secret)
    return [
        name
        for layer in (haystack, *_unpacked(haystack))
        for name, needle in wanted.items()
        if needle in layer
    ]


def _unpacked(haystack: bytes) -> Iterator[bytes]:
    position = haystack.find(b"\x1f\x8b\x08")
    while position >= 0:
        try:
            yield zlib.decompressobj(wbits=31).decompress(haystack[position:])
        except zlib.error:
            pass
        position = haystack.find(b"\x1f\x8b\x08", position + 1)


def planted(secret: str) -> dict[str, bytes]:
    """A haystack for each disguise, for the scanner's own test."""
    haystacks = {
        name: b"before " + needle + b" after" for name, needle in disguises(secret).items()
    }
    haystacks |= {
        f"base64 of a text, {length} before": base64.b64encode(
            b"x" * length + secret.encode() + b"y" * 9
        )
        for length in range(6)
    }
    haystacks["gzip"] = b"..." + gzip.compress(b"before " + secret.encode())
    return haystacks
