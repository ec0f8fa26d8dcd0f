"""What readers of ID TECH send for a swipe (their document 80000502-001), in the original and in the enhanced layout.

All integers are little-endian; ``[enhanced]`` fields are in the enhanced layout only.

==========================  ============================================================================================
STX                         02
length                      2 bytes: from the next field to the last one before LRC
card type                   00 for an ISO/ABA card; bit 7: enhanced
track status                bits 0 to 2: tracks 1 to 3 decoded; bits 3 to 5: sampled
lengths                     1 byte for each track, LRC included
[enhanced] what is clear    bits 0 to 2: tracks 1 to 3 masked; bit 4: AES; bit 7: serial number
[enhanced] what is hidden   bits 0 to 2: tracks encrypted; bits 3 to 5: their hashes; bit 7: KSN
masked tracks 1 and 2       original: and track 3 in clear
encrypted tracks            original: 1 and 2 in one run; enhanced: each of the three by itself
SHA-1 of the tracks         20 bytes for each that is encrypted, its LRC included
[enhanced] serial number    10 characters
KSN                         10 bytes
LRC, sum                    the exclusive or and the sum of what the length counts, 1 byte each
ETX                         03
==========================  ============================================================================================
"""

from functools import reduce
from hashlib import sha1
from operator import xor

from payment_token.cli.readers.tracks import Encrypt, Tracks, with_lrc
from payment_token.domain.dukpt import KSN

_STX, _ETX = b"\x02", b"\x03"
_ISO_CARD, _ENHANCED = 0x00, 0x80
_ALL_DECODED = 0x3F
_AES, _SERIAL, _KSN = 1 << 4, 1 << 7, 1 << 7
_MASKED_TRACKS = (0, 1)
_SERIAL_CHARACTERS = 10
_SHOWN = 4  # digits at each end of a masked number


def original(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """This layout has no place for a serial number."""
    del serial
    track1, track2, track3 = _as_read(tracks)
    body = bytes((_ISO_CARD, _ALL_DECODED, len(track1), len(track2), len(track3)))
    body += _masked(tracks.track1) + _masked(tracks.track2) + track3
    body += encrypt(track1 + track2)
    body += _hash(track1) + _hash(track2) + ksn.value
    return _framed(body)


def enhanced(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Under two-key TDES."""
    return _enhanced(ksn, encrypt, tracks, serial, cipher=0)


def enhanced_aes(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Under AES-128, which the message says of itself."""
    return _enhanced(ksn, encrypt, tracks, serial, cipher=_AES)


def _enhanced(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str, *, cipher: int) -> bytes:
    read = _as_read(tracks)
    present = [number for number, track in enumerate(read) if track]
    clear = sum(1 << number for number in present if number in _MASKED_TRACKS) | cipher
    hidden = sum(1 << number | 1 << (number + 3) for number in present) | _KSN
    if serial:
        clear |= _SERIAL
    body = bytes((_ISO_CARD | _ENHANCED, _ALL_DECODED, *map(len, read), clear, hidden))
    body += _masked(tracks.track1) + _masked(tracks.track2)
    body += b"".join(encrypt(track) for track in read if track)
    body += b"".join(map(_hash, read))
    body += serial.rjust(_SERIAL_CHARACTERS, "0").encode("ascii") if serial else b""
    return _framed(body + ksn.value)


def _framed(body: bytes) -> bytes:
    checks = bytes((reduce(xor, body), sum(body) & 0xFF))
    return _STX + len(body).to_bytes(2, "little") + body + checks + _ETX


def _as_read(tracks: Tracks) -> tuple[bytes, bytes, bytes]:
    track1, track2, track3 = (
        with_lrc(track).encode("ascii") for track in (tracks.track1, tracks.track2, tracks.track3)
    )
    return track1, track2, track3


def _hash(track: bytes) -> bytes:
    return sha1(track, usedforsecurity=False).digest() if track else b""


def _masked(track: str) -> bytes:
    """Stars for all but the sentinels, the separators, the name and four digits at each end of the number."""
    if not track:
        return b""
    if track.startswith("%"):
        number, name, rest = track[2:-1].split("^", 2)
        masked = f"%*{_stars(number)}^{name}^{'*' * len(rest)}?*"
    else:
        number, _, rest = track[1:-1].partition("=")
        masked = f";{_stars(number)}={'*' * len(rest)}?*"
    return masked.encode("ascii")


def _stars(number: str) -> str:
    return number[:_SHOWN] + "*" * (len(number) - 2 * _SHOWN) + number[-_SHOWN:]
