"""What tells that a combination is close, though its plaintext is no card data as a whole.

Each clue is a shape that random bytes have less than once in a million attempts. Entropy is none: every wrong key gives
bytes that look alike.
"""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from payment_token.domain.card_data.padding import strip_padding
from payment_token.domain.device_payload import Mode, PartFormat
from payment_token.domain.diagnosis.plaintext import read_part, refusal
from payment_token.domain.sensitive import SensitiveBytes


@dataclass(frozen=True, slots=True)
class Clue:
    """``rank`` is how close it is: the lower the closer; of one rank, the more ``blocks`` read.

    The text is one line, and holds nothing of the plaintext.
    """

    rank: int
    text: str
    blocks: int = 0


class _Start(NamedTuple):
    pattern: re.Pattern[bytes]
    name: str
    format: PartFormat


_STARTS = (
    _Start(re.compile(rb"%[B][0-9]{6,}"), "track 1", PartFormat.TRACK1),
    _Start(re.compile(rb"B[0-9]{12,19}\^"), "track 1", PartFormat.TRACK1),
    _Start(re.compile(rb";[0-9]{7,}"), "track 2", PartFormat.TRACK2),
    _Start(re.compile(rb"[0-9]{12,19}="), "track 2", PartFormat.TRACK2),
    _Start(re.compile(rb"\x57[\x0a-\x14][0-9\x10-\x99]{6}"), "EMV tag 57", PartFormat.EMV_TLV),
    _Start(re.compile(rb"\x5a[\x06-\x0a](?s:.){6,}"), "EMV tag 5A", PartFormat.EMV_TLV),
)
_TWO_TRACKS = re.compile(rb"%?B[0-9]{1,19}\^[ -_]*\?(?s:.)?[\x00]*;[0-9]{1,19}=[0-9=]*\?")
_TAIL = re.compile(rb"[ -_]{7,}\?[ -_]?(?:\x00*|\xff*|[\x01-\x10]*)")
_BARE_PAN = re.compile(rb"[0-9]{12,19}")
_HEX = re.compile(rb"[0-9A-Fa-f]{24,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
_TRACK_BLOCK = re.compile(rb"[ -_]*(?:\x00*|\xff*|[\x01-\x10]*)")
_TEXT = re.compile(rb"[ -~]{20,}")


def clue_in(plaintext: SensitiveBytes, mode: Mode, block: int) -> Clue | None:
    """The strongest clue that there is."""
    data = plaintext.reveal()
    found = (look(data, mode, block) for look in _LOOKS)
    return next((clue for clue in found if clue is not None), None)


def _two_tracks(data: bytes, _: Mode, __: int) -> Clue | None:
    if not _TWO_TRACKS.match(data):
        return None
    return Clue(
        1,
        "holds track 1 and track 2 one after the other: readers of ID TECH do that in the original layout of their"
        " messages. Send the whole message, in the container idtech-msr",
    )


def _wrong_iv(data: bytes, mode: Mode, block: int) -> Clue | None:
    """In CBC the IV touches the first block only."""
    if mode is not Mode.CBC or len(data) <= block:
        return None
    rest = SensitiveBytes(data[block:])
    if read_part(rest) is not None and _shape_of(rest):
        return Clue(
            2,
            "reads once its first block is left out: the terminal sends its IV in front of the ciphertext."
            " Send that block as iv, and the rest as ciphertext",
        )
    if _TAIL.fullmatch(rest.reveal()):
        return Clue(
            4, "all but the first block reads: the IV is another one, or the first block is missing"
        )
    return None


def _shape_of(rest: SensitiveBytes) -> bool:
    # A track whose first block is cut off may still read, because sentinels may be missing.
    return rest.reveal()[:1] in (b"%", b";", b"{", b"\x57", b"\x5a", b"B")


def _encoded_twice(data: bytes, _: Mode, __: int) -> Clue | None:
    text = strip_padding(data)
    if _HEX.fullmatch(text) and len(text) % 2 == 0 and read_part(_from_hex(text)):
        return Clue(
            3,
            "is the hexadecimal text of card data: the terminal encrypts the digits, not the bytes",
        )
    if _BASE64.fullmatch(text):
        with suppress(binascii.Error):
            if read_part(SensitiveBytes(base64.b64decode(text, validate=True))):
                return Clue(
                    3,
                    "is the base64 text of card data: the terminal encrypts the text, not the bytes",
                )
    return None


def _from_hex(text: bytes) -> SensitiveBytes:
    return SensitiveBytes(bytes.fromhex(text.decode("ascii")))


def _bare_pan(data: bytes, _: Mode, __: int) -> Clue | None:
    if not _BARE_PAN.fullmatch(strip_padding(data)):
        return None
    return Clue(3, "is a card number and nothing else: have the terminal encrypt it as card-json")


def _start(data: bytes, mode: Mode, block: int) -> Clue | None:
    for pattern, name, part_format in _STARTS:
        match = pattern.match(data)
        if match is None or not _plausible(data, part_format):
            continue
        whole = -(-match.end() // block)
        if mode is Mode.OFB and match.end() < 2 * block:
            return Clue(
                5,
                f"the first block reads like the start of a {name} and the next does not: the terminal may use CFB or"
                " CTR, which no profile has",
            )
        stage = refusal(part_format, SensitiveBytes(data))
        reads, where = _where(data, whole, block)
        text = f"starts like a {name}, and then is none ({stage}): {where}"
        return Clue(5, text, reads)
    return None


def _plausible(data: bytes, part_format: PartFormat) -> bool:
    """Tags and lengths are two bytes, which chance has now and then; the digits behind them it has not."""
    if part_format is not PartFormat.EMV_TLV:
        return True
    digits = data[2 : 2 + data[1]].hex()
    return re.match(r"[0-9]{12,}(?:d[0-9]{7}|f*\Z|\Z)", digits) is not None


def _where(data: bytes, first: int, block: int) -> tuple[int, str]:
    """How many blocks a track can have, and which is the first that it cannot."""
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    for number in range(first, len(blocks)):
        if not _TRACK_BLOCK.fullmatch(blocks[number]):
            place = f"block {number + 1} of {len(blocks)}"
            return number, f"{place} is the first that does not read. Was it changed?"
    return len(blocks), "every block is text, so it was cut short, or is not laid out as a card is"


def _text(data: bytes, _: Mode, __: int) -> Clue | None:
    if not _TEXT.fullmatch(strip_padding(data)):
        return None
    return Clue(6, "is text, but no card data in a form that this service reads")


_LOOKS: tuple[Callable[[bytes, Mode, int], Clue | None], ...] = (
    _two_tracks,
    _wrong_iv,
    _encoded_twice,
    _bare_pan,
    _start,
    _text,
)
