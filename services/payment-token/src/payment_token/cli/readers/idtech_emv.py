"""What ID TECH readers send for a chip (their document 80000503-001), of older and of newer firmware."""

from payment_token.cli.readers.chip import PAN, TRACK2, chip_elements, masked
from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain.dukpt import KSN
from payment_token.domain.tlv import written

_KSN, _STATUS, _RESULT = (bytes.fromhex(tag) for tag in ("DFEE12", "DFEE26", "DFEE25"))
_IS_ENCRYPTED, _ONLINE = b"\xe1\x00", b"\x00\x04"
_MASKED, _ENCRYPTED = b"\xa1", b"\xc1"
_MASKED_TWIN = {PAN: bytes.fromhex("DFEF5B"), TRACK2: bytes.fromhex("DFEF5D")}


def with_attributes(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Older firmware: each of PAN and track 2 twice, masked and encrypted. The message has no place for a serial number."""
    del serial
    frame = _head(ksn)
    for tag, value in chip_elements(tracks).items():
        if tag in _MASKED_TWIN:
            frame += written(tag + _MASKED, masked(value))
            frame += written(tag + _ENCRYPTED, encrypt(written(tag, value)))
        else:
            frame += written(tag, value)
    return frame


def with_masked_twins(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Newer firmware: what is masked has a tag of its own."""
    del serial
    frame = _head(ksn)
    for tag, value in chip_elements(tracks).items():
        if tag in _MASKED_TWIN:
            frame += written(_MASKED_TWIN[tag], masked(value))
            frame += written(tag, encrypt(written(tag, value)))
        else:
            frame += written(tag, value)
    return frame


def _head(ksn: KSN) -> bytes:
    return written(_RESULT, _ONLINE) + written(_STATUS, _IS_ENCRYPTED) + written(_KSN, ksn.value)
