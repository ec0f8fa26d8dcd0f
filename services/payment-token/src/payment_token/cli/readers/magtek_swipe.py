"""What swipe readers of MagTek type (MagneSafe V5): masked tracks, and after each bar a field in hexadecimal.

``%…?;…?+…?|status|track 1|track 2|track 3|MagnePrint status|MagnePrint|serial|session|KSN|CRC|encrypted CRC|format``

Tracks, MagnePrint and session are encrypted each by itself, under the PIN variant. The CRC is CRC-16 with the polynomial
1021, from FFFF on, over all characters in front of it, its bar included; its low byte comes first.
"""

from binascii import crc_hqx

from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain.dukpt import KSN

_STATUS, _MAGNEPRINT_STATUS, _FORMAT = "0600", "A1050000", "0000"
_MAGNEPRINT_BYTES = 54
_SESSION = bytes(8)  # what no host has set
_SHOWN = 4
_CRC_START = 0xFFFF


def swipe(
    ksn: KSN,
    encrypt: Encrypt,
    tracks: Tracks,
    serial: str,
    magneprint: bytes = bytes(_MAGNEPRINT_BYTES),
) -> bytes:
    """``magneprint`` is what the reader measures of the stripe itself."""
    read = (tracks.track1, tracks.track2, tracks.track3)
    encrypted = [_encrypted(encrypt, track.encode("ascii")) for track in read]
    fields = [
        "".join(map(_masked, read)),
        _STATUS,
        *encrypted,
        _MAGNEPRINT_STATUS,
        _encrypted(encrypt, magneprint),
        serial,
        _encrypted(encrypt, _SESSION),
        str(ksn),
        "",
    ]
    checked = "|".join(fields)
    return f"{checked}{_crc(checked.encode('ascii'))}||{_FORMAT}".encode("ascii")


def _encrypted(encrypt: Encrypt, clear: bytes) -> str:
    return encrypt(clear).hex().upper() if clear else ""


def _masked(track: str) -> str:
    """Zeros for the middle of the number and for all behind the expiry, the name as it is."""
    if not track:
        return ""
    head, number, rest = _split(track)
    masked = f"{head}{_zeros(number)}"
    if track.startswith("%"):
        name, _, data = rest[1:].partition("^")
        return f"{masked}^{name}^{_after_expiry(data)}"
    return f"{masked}={_after_expiry(rest[1:])}"


def _split(track: str) -> tuple[str, str, str]:
    start = 2 if track.startswith("%") else 1
    end = next(at for at, character in enumerate(track) if character in "^=")
    return track[:start], track[start:end], track[end:]


def _after_expiry(data: str) -> str:
    return data[:4] + "0" * (len(data) - 5) + data[-1]


def _zeros(number: str) -> str:
    return number[:_SHOWN] + "0" * (len(number) - 2 * _SHOWN) + number[-_SHOWN:]


def _crc(data: bytes) -> str:
    return crc_hqx(data, _CRC_START).to_bytes(2, "little").hex().upper()
