"""What MagTek readers that do EMV send for a chip: their ARQC message. Of a reader that makes no MAC, and of one that does."""

from collections.abc import Callable

from payment_token.cli.readers.chip import TRACK2, chip_elements, in_one
from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain.dukpt import KSN
from payment_token.domain.tlv import written

_BLOCK = 8
_NO_MAC = bytes(4)


def _tag(text: str) -> bytes:
    return bytes.fromhex(text)


def without_mac(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    return with_mac(ksn, encrypt, tracks, serial, lambda _: _NO_MAC)


def with_mac(
    ksn: KSN,
    encrypt: Encrypt,
    tracks: Tracks,
    serial: str,
    mac: Callable[[bytes], bytes],
) -> bytes:
    """``mac`` gives the 4 bytes over whole blocks."""
    clear = written(_tag("FC"), written(_tag("F2"), in_one(chip_elements(tracks))))
    encrypted = in_one(
        {
            _tag("DFDF59"): encrypt(clear),
            _tag("DFDF56"): ksn.value,
            _tag("DFDF57"): b"\x80",
            _tag("DFDF58"): bytes([-len(clear) % _BLOCK]),
        }
    )
    shown = written(_tag("DFDF4D"), _masked_track2(tracks)) + written(_tag("F8"), encrypted)
    generic = written(_tag("FA"), written(_tag("70"), shown))
    head = {_tag("DFDF54"): ksn.value, _tag("DFDF55"): b"\x82", _tag("DFDF25"): serial.encode()}
    container = written(_tag("F9"), in_one(head) + generic)
    message = len(container).to_bytes(2, "big") + container
    message += bytes(-len(message) % _BLOCK)
    return message + mac(message)


def _masked_track2(tracks: Tracks) -> bytes:
    digits = chip_elements(tracks)[TRACK2].hex().upper().partition("D")[0]
    return f";{digits[:4]}{'0' * (len(digits) - 8)}{digits[-4:]}=00000000000000000000?".encode()
