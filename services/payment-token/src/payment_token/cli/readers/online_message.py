"""What readers send that encrypt the whole message of a chip: Miura, and BBPOS or DSPREAD."""

from payment_token.cli.readers.chip import PAN, TRACK2, chip_elements, in_one, masked
from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain.dukpt import KSN
from payment_token.domain.tlv import written


def miura(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    """The message has no place for a serial number."""
    del serial
    elements = chip_elements(tracks)
    return written(
        bytes.fromhex("E4"),
        written(bytes.fromhex("DFAE57"), masked(elements[TRACK2]))
        + written(bytes.fromhex("DFAE02"), encrypt(in_one(elements)))
        + written(bytes.fromhex("DFAE03"), ksn.value),
    )


def bbpos(ksn: KSN, encrypt: Encrypt, tracks: Tracks, serial: str) -> bytes:
    elements = chip_elements(tracks)
    return (
        written(bytes.fromhex("C0"), ksn.value)
        + written(bytes.fromhex("C2"), encrypt(in_one(elements)))
        + written(bytes.fromhex("C4"), masked(elements[PAN]))
        + (written(bytes.fromhex("DF826E"), serial.encode("ascii")) if serial else b"")
    )
