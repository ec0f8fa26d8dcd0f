"""The swipe message of MagTek readers, in text (MagneSafe V5 reference manual 99875398, "Card data").

``%…?;…?+…?|status|T1|T2|T3|MagnePrint status|MagnePrint|serial|session|KSN|CRC|encrypted CRC|format``, and between KSN and
CRC perhaps the encryption counter. Before the first ``|`` are the masked tracks. Fields but status and KSN may be empty.
Each track is encrypted by itself, under CBC with a zero IV, with its sentinels, filled up with zeros.

==============  ==========  ========================================================================================
field           characters
==============  ==========  ========================================================================================
status          4           hexadecimal, the low byte first. Bit 0: keys exhausted; 1: key injected; 2: encryption on;
                            11: the tracks are under the data variant, else under the PIN variant
tracks          hexadecimal, of whole blocks. Track 3 is discarded as it comes: not even decrypted
MagnePrint      hexadecimal, discarded: it identifies the stripe, and is nobody's business here
session         16          hexadecimal, discarded: it is for readers that a host must unlock
KSN             20          hexadecimal
CRC             4           CRC-16 (polynomial 1021, from FFFF) of all characters before it; hexadecimal, low byte first
encrypted CRC   16          the same over all before itself, in the first two bytes of an encrypted block
==============  ==========  ========================================================================================

A keyboard's Enter may follow, or the ``x`` with which an iDynamo fills its blocks of 500 characters.
"""

import re
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field

from payment_token.domain.device_payload import Cipher, KeyVariant, PartFormat
from payment_token.domain.errors import CleartextCardDataError, DecryptionFailedError
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD, refused
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes

_MAX_CHARACTERS = 4096
_TEXT = re.compile(rb"[ -~]*")
_FILLING = b"x\r\n"
_FIELDS, _FIELDS_WITH_COUNTER = 13, 14

_KEYS_EXHAUSTED, _KEY_INJECTED, _ENCRYPTION_ON, _DATA_VARIANT = 0x0001, 0x0002, 0x0004, 0x0800

_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]*")
_BYTE, _BLOCK = 2, 16  # in digits
_STATUS = re.compile(r"[0-9A-Fa-f]{4}")
_KSN = re.compile(r"[0-9A-Fa-f]{20}")
_CRC = re.compile(r"(?:[0-9A-Fa-f]{4})?")
_COUNTER = re.compile(r"[0-9A-Fa-f]{0,8}")
_SERIAL = re.compile(r"[ -~]{0,16}")
_FORMAT_CODE = re.compile(r"[0-9A-Za-z]{4}")
_CRC_START = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Message:
    status: int
    tracks: tuple[bytes, bytes]
    serial: str
    ksn: str
    encrypted_crc: bytes
    text_before_encrypted_crc: bytes = field(repr=False)


def read_magtek_swipe(data: bytes) -> OpenedFrame:
    """Raises InvalidFieldError, and CleartextCardDataError for a reader whose encryption is off."""
    message = _read(data)
    formats = [
        part_format
        for part_format, track in zip(
            (PartFormat.TRACK1, PartFormat.TRACK2), message.tracks, strict=True
        )
        if track
    ]
    if not formats:
        raise refused("holds neither track 1 nor track 2")

    def assemble(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
        if message.encrypted_crc:
            _check_encrypted_crc(message, plaintexts[-1])
        return list(zip(formats, plaintexts, strict=False))

    return OpenedFrame(
        ksn=message.ksn,
        ciphertexts=tuple(filter(None, (*message.tracks, message.encrypted_crc))),
        assemble=assemble,
        serial=message.serial or None,
        cipher=Cipher.TDES_2KEY,
        key_variant=KeyVariant.DATA_REQUEST if message.status & _DATA_VARIANT else KeyVariant.PIN,
    )


def _read(data: bytes) -> _Message:
    if len(data) > _MAX_CHARACTERS:
        raise refused(f"must be at most {_MAX_CHARACTERS} characters")
    data = data.rstrip(_FILLING)
    if not _TEXT.fullmatch(data):
        raise refused("holds characters that no swipe has")
    fields = data.decode("ascii").split("|")
    if len(fields) not in (_FIELDS, _FIELDS_WITH_COUNTER):
        raise refused("must have 13 fields with | between them, or 14 with an encryption counter")
    status = _status(fields[1])
    _check_encrypts(status, [fields[0], *fields[2:5]])
    tracks = [_hexadecimal(fields[place], _BLOCK, f"track {place - 1}") for place in (2, 3, 4)]
    for place, name in ((5, "MagnePrint status"), (6, "MagnePrint"), (8, "session")):
        _hexadecimal(fields[place], _BYTE, name)
    if len(fields) == _FIELDS_WITH_COUNTER:
        _check(fields[10], _COUNTER, "the encryption counter must be hexadecimal")
    crc, encrypted_crc, format_code = fields[-3:]
    _check(fields[7], _SERIAL, "the serial number must be at most 16 characters")
    _check(fields[9], _KSN, "must state a KSN of 20 hexadecimal digits")
    _check(format_code, _FORMAT_CODE, "must end with a format code of 4 characters")
    if len(encrypted_crc) not in (0, _BLOCK):
        raise refused("the encrypted CRC must be one block in hexadecimal")
    before_encrypted_crc = data[: len(data) - len(encrypted_crc) - len(format_code) - 1]
    _check_crc(crc, before_encrypted_crc[: -len(crc) - 1])
    return _Message(
        status=status,
        tracks=(tracks[0], tracks[1]),
        serial=fields[7].strip(),
        ksn=fields[9].upper(),
        encrypted_crc=_hexadecimal(encrypted_crc, _BLOCK, "the encrypted CRC"),
        text_before_encrypted_crc=before_encrypted_crc,
    )


def _status(text: str) -> int:
    _check(text, _STATUS, "must state the reader's encryption status in 4 hexadecimal digits")
    return int.from_bytes(bytes.fromhex(text), "little")


def _check_encrypts(status: int, tracks: Sequence[str]) -> None:
    if status & _KEYS_EXHAUSTED:
        raise refused("is of a reader whose keys are used up: it must be injected anew")
    if not (status & _KEY_INJECTED and status & _ENCRYPTION_ON):
        if any(tracks):
            raise CleartextCardDataError(FRAME_FIELD)
        raise refused("is of a reader that does not encrypt")


def _check_crc(crc: str, text: bytes) -> None:
    _check(crc, _CRC, "the CRC must be 4 hexadecimal digits")
    if crc and bytes.fromhex(crc) != crc_hqx(text, _CRC_START).to_bytes(2, "little"):
        raise refused("the CRC does not match")


def _check_encrypted_crc(message: _Message, plaintext: SensitiveBytes) -> None:
    crc = crc_hqx(message.text_before_encrypted_crc, _CRC_START)
    # The manual names the order of bytes for the clear one only.
    if (
        int.from_bytes(plaintext.reveal()[:2], "little")
        != crc
        != int.from_bytes(plaintext.reveal()[:2], "big")
    ):
        raise DecryptionFailedError("frame-crc")


def _hexadecimal(text: str, digits: int, name: str) -> bytes:
    """``digits`` are those of a byte or a block."""
    if len(text) % digits or not _HEXADECIMAL.fullmatch(text):
        raise refused(
            f"{name} must be whole {'bytes' if digits == _BYTE else 'blocks'} in hexadecimal"
        )
    return bytes.fromhex(text)


def _check(text: str, form: re.Pattern[str], rule: str) -> None:
    if not form.fullmatch(text):
        raise refused(rule)
