"""The swipe message of ID TECH readers: SecureMag, SecureHead, UniMag and others (ID TECH 80000502-001).

Card data, within its envelope (``idtech_envelope``). ``T1`` to ``T3`` are the tracks, with sentinels and, where the reader
sends it, their LRC character; a length of 0 is a track that is not there.

=================  ==============================  ==============================================
field              original                        enhanced
=================  ==============================  ==============================================
card encode type   bit 7 is 0                      bit 7 is 1
track status       1 byte                          1 byte
lengths            of T1, T2, T3, a byte each      the same
what is sent       --                              field 8, field 9 (below)
tracks to look at  T1, T2 masked; T3 in clear      those that field 8 names, masked or in clear
ciphertext         T1 and T2 in one block          a block for each track that field 9 names
session id         --                              8 bytes, encrypted, where field 9 says so
hashes             SHA-1 of T1, of T2              of each track that field 9 names
serial number      --                              10 characters, where field 8 says so
KSN                10 bytes                        10 bytes
=================  ==============================  ==============================================

Ciphertexts are filled up with zeros to whole blocks of their cipher. The hashes have no key, and so prove nothing; a reader
set up not to tell them sends zeros. Track 3 is discarded as it comes: not even decrypted.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import Cipher, KeyVariant, PartFormat
from payment_token.domain.errors import CleartextCardDataError, DecryptionFailedError
from payment_token.domain.payload_cipher import block_bytes
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD, refused
from payment_token.domain.reader_frames.idtech_envelope import card_data
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes

_ENHANCED = 0x80
_ISO, _AAMVA, _OTHER = 0, 1, 3
_HAS_OPTIONAL_FIELDS = 0x40  # of the track status

# Field 8: bits 0 to 2 name the tracks that are there to look at.
_FIXED_KEY, _AES, _PIN_VARIANT, _HAS_SERIAL = 0x08, 0x10, 0x40, 0x80
# Field 9: bits 0 to 2 name the tracks that are encrypted, bits 3 to 5 those with a hash.
_HASHES_FROM_BIT, _HAS_SESSION, _HAS_KSN = 3, 0x40, 0x80

_TRACKS = (0, 1, 2)
_FORMATS = (PartFormat.TRACK1, PartFormat.TRACK2)
_HASH_BYTES, _KSN_BYTES, _SERIAL_BYTES = 20, 10, 10
_SERIAL = re.compile(rb"[ -~]+")


@dataclass(frozen=True, slots=True)
class _Track:
    """``digest`` is what the message says is its SHA-1."""

    format: PartFormat
    length: int
    digest: bytes | None = field(repr=False)

    def checked(self, clear: bytes) -> tuple[PartFormat, SensitiveBytes]:
        stated = self.digest
        if stated is not None and any(stated):
            actual = sha1(clear, usedforsecurity=False).digest()
            if not hmac.compare_digest(actual, stated):
                raise DecryptionFailedError("track-hash")
        return self.format, SensitiveBytes(clear)


class _Fields:
    """The bytes of the card data, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise _does_not_add_up()
        self._position += length
        return self._data[self._position - length : self._position]

    def byte(self) -> int:
        return self.take(1)[0]


def read_idtech_msr(data: bytes) -> OpenedFrame:
    """The bytes of the message, or the same in hexadecimal.

    Raises InvalidFieldError, and CleartextCardDataError for tracks 1 and 2 that are not encrypted.
    """
    fields = _Fields(card_data(data))
    encode_type, status = fields.byte(), fields.byte()
    lengths = (fields.byte(), fields.byte(), fields.byte())
    if status & _HAS_OPTIONAL_FIELDS:
        raise refused("has optional fields, which this service does not read")
    kind = encode_type & ~_ENHANCED
    if kind not in (_ISO, _AAMVA, _OTHER):
        raise refused("is of a card encode type that this service does not read")
    if not (lengths[0] or lengths[1]):
        raise refused("holds neither track 1 nor track 2")
    if encode_type & _ENHANCED:
        return _read_enhanced(fields, lengths)
    if kind != _ISO or fields.left == sum(lengths):
        # In this format only cards of banks are encrypted, and only by readers that have a key.
        raise CleartextCardDataError(FRAME_FIELD)
    return _read_original(fields, lengths)


def _read_original(fields: _Fields, lengths: Sequence[int]) -> OpenedFrame:
    for track in _TRACKS:
        _check_masked(track, fields.take(lengths[track]))
    clear_bytes = lengths[0] + lengths[1]
    hashed, cipher, ciphertext_bytes = _original_layout(lengths, fields.left - _KSN_BYTES)
    ciphertext = fields.take(ciphertext_bytes)
    digests = {track: fields.take(_HASH_BYTES) for track in hashed}
    tracks = _present_tracks(lengths, digests)

    def assemble(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
        clear = _without_padding(plaintexts[0], clear_bytes)
        starts = {PartFormat.TRACK1: 0, PartFormat.TRACK2: lengths[0]}
        return [
            track.checked(clear[starts[track.format] : starts[track.format] + track.length])
            for track in tracks
        ]

    return OpenedFrame(
        ksn=fields.take(_KSN_BYTES).hex().upper(),
        ciphertexts=(ciphertext,),
        assemble=assemble,
        cipher=cipher,
    )


def _original_layout(
    lengths: Sequence[int], bytes_before_ksn: int
) -> tuple[Sequence[int], Cipher | None, int]:
    """Which tracks have a hash, the cipher where the lengths tell it, and the bytes of the ciphertext.

    This format names neither; only one of the possibilities adds up to its length.
    """
    present = [track for track in (0, 1) if lengths[track]]
    for hashed in (present, (0, 1), ()):
        ciphertext_bytes = bytes_before_ksn - _HASH_BYTES * len(hashed)
        ciphers = [
            cipher
            for cipher in (Cipher.TDES_2KEY, Cipher.AES_128)
            if ciphertext_bytes == _padded(lengths[0] + lengths[1], cipher)
        ]
        if ciphers:
            return hashed, ciphers[0] if len(ciphers) == 1 else None, ciphertext_bytes
    raise _does_not_add_up()


def _read_enhanced(fields: _Fields, lengths: Sequence[int]) -> OpenedFrame:
    shown, sent = fields.byte(), fields.byte()
    _check_sent(shown, sent, lengths)
    cipher = Cipher.AES_128 if shown & _AES else Cipher.TDES_2KEY
    for track in _named(shown):
        _check_masked(track, fields.take(lengths[track]))
    blocks = {track: fields.take(_padded(lengths[track], cipher)) for track in _named(sent)}
    if sent & _HAS_SESSION:
        fields.take(block_bytes(cipher))
    digests = {track: fields.take(_HASH_BYTES) for track in _named(sent >> _HASHES_FROM_BIT)}
    serial = _serial(fields.take(_SERIAL_BYTES)) if shown & _HAS_SERIAL else None
    ksn = fields.take(_KSN_BYTES)
    if fields.left:
        raise _does_not_add_up()
    tracks = _present_tracks(lengths, digests)

    def assemble(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
        return [
            track.checked(_without_padding(plaintext, track.length))
            for track, plaintext in zip(tracks, plaintexts, strict=True)
        ]

    return OpenedFrame(
        ksn=ksn.hex().upper(),
        ciphertexts=tuple(blocks[track] for track in (0, 1) if lengths[track]),
        assemble=assemble,
        serial=serial,
        cipher=cipher,
        key_variant=KeyVariant.PIN if shown & _PIN_VARIANT else None,
    )


def _check_sent(shown: int, sent: int, lengths: Sequence[int]) -> None:
    not_encrypted = [track for track in (0, 1) if lengths[track] and not sent >> track & 1]
    if any(shown >> track & 1 for track in not_encrypted):
        raise CleartextCardDataError(FRAME_FIELD)
    if not_encrypted:
        raise refused("states the length of a track that it does not hold")
    if shown & _FIXED_KEY:
        raise refused("is encrypted under a fixed key, not under DUKPT")
    if not sent & _HAS_KSN:
        raise refused("states no KSN")


def _check_masked(track: int, shown: bytes) -> None:
    """Of track 3 nothing is masked, and nothing is kept. Raises CleartextCardDataError."""
    if track in (0, 1) and find_card_number(shown.decode("latin-1")):
        raise CleartextCardDataError(FRAME_FIELD)


def _present_tracks(lengths: Sequence[int], digests: Mapping[int, bytes]) -> list[_Track]:
    return [
        _Track(_FORMATS[track], lengths[track], digests.get(track))
        for track in (0, 1)
        if lengths[track]
    ]


def _without_padding(plaintext: SensitiveBytes, length: int) -> bytes:
    clear = plaintext.reveal()
    if len(clear) < length or any(clear[length:]):
        raise DecryptionFailedError("frame-padding")
    return clear[:length]


def _serial(text: bytes) -> str | None:
    """``None`` for a reader that was never given one."""
    text = text.strip(b"\0 ")
    if not text:
        return None
    if not _SERIAL.fullmatch(text):
        raise refused("the serial number of the reader is not text")
    return text.decode("ascii")


def _named(bits: int) -> list[int]:
    return [track for track in _TRACKS if bits >> track & 1]


def _padded(length: int, cipher: Cipher) -> int:
    return length + -length % block_bytes(cipher)


def _does_not_add_up() -> Exception:
    return refused("has another length than its tracks, hashes and KSN add up to")
