"""Swipe messages as readers make them: the published ones, and such as a test builds and breaks."""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha1
from operator import xor
from typing import Any

from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.dukpt import KSN, initial_key, payload_key, tdes
from payment_token.domain.payload_cipher import block_bytes, decrypt, encrypt
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from tests.support.vectors import dukpt_vectors

BDK = SecretKey(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
KSN_TEXT = "62994901190000000002"

# A published test number; the name and the discretionary data stand nowhere else.
TRACK1 = b"%B4111111111111111^MARKER/PURPLE^3012201100000000077?"
TRACK2 = b";4111111111111111=30122011000000077?"
TRACK3 = b";014111111111111111=724724000000000000300300000000000?"
MASKED1 = b"%*4111********1111^MARKER/PURPLE^*******************?"
MASKED2 = b";4111********1111=*****************?"

PUBLISHED = {
    "idtech-original-01": (Container.IDTECH_MSR, KeyVariant.DATA_REQUEST),
    "idtech-enhanced-03": (Container.IDTECH_MSR, KeyVariant.DATA_REQUEST),
    "magtek-kb-string-08": (Container.MAGTEK_SWIPE, KeyVariant.PIN),
}


def published(name: str) -> tuple[bytes, dict[str, Any]]:
    """The message, and what is in it."""
    (entry,) = (entry for entry in dukpt_vectors()["frames"] if entry["id"] == name)
    if "frame_hex" in entry:
        return bytes.fromhex(entry["frame_hex"]), entry["expect"]
    return entry["frame_ascii"].encode(), entry["expect"]


def working_key(ksn: str, variant: KeyVariant, cipher: Cipher, bdk: SecretKey = BDK) -> SecretKey:
    number = KSN.of_any_counter(ksn, Scheme.DUKPT_TDES)
    transaction = tdes.transaction_key(initial_key(bdk, number), number)
    return payload_key(transaction, number, variant, cipher)


def assembled(opened: OpenedFrame, variant: KeyVariant, cipher: Cipher) -> ClearParts:
    """What a message gives once it is decrypted."""
    key = working_key(opened.ksn, variant, cipher)
    return opened.assemble(
        [decrypt(key, cipher, Mode.CBC, None, text) for text in opened.ciphertexts]
    )


def clear_parts(parts: ClearParts) -> dict[str, bytes]:
    return {part_format.value: text.reveal() for part_format, text in parts}


def in_envelope(data: bytes) -> bytes:
    tail = bytes([reduce(xor, data, 0), sum(data) % 256, 0x03])
    return b"\x02" + len(data).to_bytes(2, "little") + data + tail


@dataclass
class IDTECHSwipe:
    """``tracks`` and what is shown of them; an empty one is not there. What is ``None`` is worked out."""

    tracks: tuple[bytes, bytes, bytes] = (TRACK1 + b"!", TRACK2 + b"0", b"")
    masked: tuple[bytes, bytes, bytes] = (MASKED1 + b"*", MASKED2 + b"*", b"")
    ksn: str = KSN_TEXT
    variant: KeyVariant = KeyVariant.DATA_REQUEST
    cipher: Cipher = Cipher.TDES_2KEY
    bdk: SecretKey = field(default_factory=lambda: BDK)
    encode_type: int = 0
    status: int = 0x3F
    hashes: Sequence[bytes] | None = None
    shown: int | None = None
    sent: int | None = None
    session: bytes = b""
    serial: bytes = b""
    padding: bytes = b"\0"

    def original(self) -> bytes:
        clear = self.tracks[0] + self.tracks[1]
        body = b"".join(self.masked[:2]) + self.tracks[2]
        body += self._encrypted(clear) + b"".join(self._hashes((0, 1)))
        return in_envelope(self._head(self.encode_type) + body + bytes.fromhex(self.ksn))

    def enhanced(self) -> bytes:
        shown, sent = self._shown(), self._sent()
        body = bytes([shown, sent])
        body += b"".join(self.masked[track] for track in (0, 1, 2) if shown >> track & 1)
        body += b"".join(
            self._encrypted(self.tracks[track]) for track in (0, 1, 2) if sent >> track & 1
        )
        body += self.session
        body += b"".join(self._hashes([t for t in (0, 1, 2) if sent >> (3 + t) & 1]))
        body += self.serial
        if sent & 0x80:
            body += bytes.fromhex(self.ksn)
        return in_envelope(self._head(self.encode_type | 0x80) + body)

    def _head(self, encode_type: int) -> bytes:
        return bytes([encode_type, self.status, *map(len, self.tracks)])

    def _shown(self) -> int:
        if self.shown is not None:
            return self.shown
        bits = sum(1 << track for track in (0, 1, 2) if self.masked[track])
        bits |= 0x10 if self.cipher is Cipher.AES_128 else 0
        bits |= 0x40 if self.variant is KeyVariant.PIN else 0
        return bits | (0x80 if self.serial else 0)

    def _sent(self) -> int:
        if self.sent is not None:
            return self.sent
        bits = sum(0x09 << track for track in (0, 1, 2) if self.tracks[track])
        return bits | 0x80 | (0x40 if self.session else 0)

    def _hashes(self, tracks: Sequence[int]) -> Sequence[bytes]:
        if self.hashes is not None:
            return self.hashes
        present = [self.tracks[track] for track in tracks if self.tracks[track]]
        return [sha1(track, usedforsecurity=False).digest() for track in present]

    def _encrypted(self, clear: bytes) -> bytes:
        key = working_key(self.ksn, self.variant, self.cipher, self.bdk)
        padded = clear + self.padding * (-len(clear) % block_bytes(self.cipher))
        return encrypt(key, self.cipher, Mode.CBC, None, SensitiveBytes(padded))


@dataclass
class MagTekSwipe:
    """``crc`` and ``encrypted_crc`` that are ``None`` are worked out. ``more`` stands between KSN and CRC."""

    tracks: tuple[bytes, bytes, bytes] = (TRACK1, TRACK2, b"+5163499080020445=000000000000?")
    masked: bytes = (
        b"%B4111000000001111^MARKER/PURPLE^3012000000000000000?;4111000000001111=30120000?"
    )
    status: str = "0600"
    variant: KeyVariant = KeyVariant.PIN
    ksn: str = KSN_TEXT
    bdk: SecretKey = field(default_factory=lambda: BDK)
    serial: str = "B061234"
    magneprint: str = "00" * 56
    session: str = "21685F158B5C6BE0"
    more: Sequence[str] = ()
    crc: str | None = None
    encrypted_crc: str | None = ""
    format_code: str = "0000"

    def text(self) -> bytes:
        tracks = [self.encrypted(track) if track else "" for track in self.tracks]
        fields = [self.status, *tracks, "A1050000", self.magneprint, self.serial, self.session]
        before = self.masked + "|".join(["", *fields, self.ksn, *self.more, ""]).encode()
        crc = checksum(before).hex().upper() if self.crc is None else self.crc
        before += crc.encode() + b"|"
        encrypted = self.encrypted_crc
        if encrypted is None:
            encrypted = self.encrypted(checksum(before) + b"\x55" * 6)
        return before + encrypted.encode() + b"|" + self.format_code.encode()

    def encrypted(self, clear: bytes) -> str:
        key = working_key(self.ksn, self.variant, Cipher.TDES_2KEY, self.bdk)
        padded = SensitiveBytes(clear + bytes(-len(clear) % 8))
        return encrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, padded).hex().upper()


def checksum(text: bytes) -> bytes:
    return crc_hqx(text, 0xFFFF).to_bytes(2, "little")
