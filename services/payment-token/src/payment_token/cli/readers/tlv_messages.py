"""What readers of chip cards send, in TLV: ID TECH, MagTek, Miura, and BBPOS and DSPREAD.

The message of ID TECH is as the published one is. Of the others no complete message is published; they are as their makers
describe them.
"""

from payment_token.cli.readers import chip_read
from payment_token.cli.readers.chip_read import element
from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain.dukpt import KSN

_MASKED, _ENCRYPTED = "A1", "C1"  # attribute bytes of ID TECH, between tag and length
_TDES_BLOCK = 8
_NO_MAC = bytes(4)


def idtech_emv(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Single elements are encrypted, each with its tag and length; masked ones stand beside."""
    del serial
    number, track2 = chip_read.pan(tracks), chip_read.track2_equivalent(tracks)
    return (
        element("DFEE12", ksn.value)
        + element("DFEE26", bytes.fromhex("E100"))
        + element(f"57{_MASKED}", chip_read.masked_pan(tracks))
        + element(f"57{_ENCRYPTED}", encrypt(element("57", track2)))
        + element(f"5A{_MASKED}", chip_read.masked_pan(tracks))
        + element(f"5A{_ENCRYPTED}", encrypt(element("5A", number)))
        + element("5F24", chip_read.expiry(tracks))
        + element("9F39", b"\x07")
    )


def magtek_emv(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """Of a reader that makes no MAC, and says so with zeros."""
    clear = element("FC", chip_read.elements(tracks))
    padding = -len(clear) % _TDES_BLOCK
    hidden = (
        element("DFDF59", encrypt(clear))
        + element("DFDF56", ksn.value)
        + element("DFDF57", b"\x80")
        + element("DFDF58", bytes((padding,)))
    )
    stated = element("DFDF54", ksn.value) + element("DFDF55", b"\x82")
    if serial:
        stated += element("DFDF25", serial.encode("ascii"))
    masked = element("DFDF4D", chip_read.masked_pan(tracks))
    container = element("F9", stated + element("FA", element("70", masked + element("F8", hidden))))
    message = len(container).to_bytes(2, "big") + container
    return message + bytes(-len(message) % _TDES_BLOCK) + _NO_MAC


def miura(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    del serial
    return element(
        "E1",
        element("DFAE02", encrypt(chip_read.elements(tracks)))
        + element("DFAE03", ksn.value)
        + element("DFAE57", chip_read.masked_pan(tracks)),
    )


def bbpos(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """The online message, under the KSN for chip data."""
    stated = element("DF826E", serial.encode("ascii")) if serial else b""
    return (
        element("C0", ksn.value)
        + element("C2", encrypt(chip_read.elements(tracks)))
        + element("C4", chip_read.masked_pan(tracks))
        + stated
    )
