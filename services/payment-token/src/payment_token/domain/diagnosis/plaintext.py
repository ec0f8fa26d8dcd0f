"""What a decrypted text is, by the same readers that the service uses. A reading never holds card data."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.card_data import Brand, CardChecksPolicy, MaskedCard, mask, read_card
from payment_token.domain.card_data.ber_tlv import read_tlv
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveBytes

# ISO/IEC 4909 has the digits and separators of track 2. The service takes any text for a track 3, which it discards;
# here that would call much a track that is none.
_TRACK3 = re.compile(rb"(?=[^=]{1,20}=)[+;]?[0-9:<=>]{12,105}\??[ -~]?[\x00\xff]*")
_WITH_PAN = (PartFormat.TRACK1, PartFormat.TRACK2, PartFormat.EMV_TLV, PartFormat.CARD_JSON)
# Tags of EMV 4.4 Book 3 Annex A that come with a read. Two random bytes are a tag now and then, three tags are not.
_TAG = re.compile(
    "4F|5[07A]|8[24AE]|9[5ABC]|5F2[0458AD]|5F3[04]|9F0[2-79DEF]|9F1[0125AEF]|9F2[167]|9F3[345679]|9F41|9F53|9F6[BCE]"
)
_FEWEST_TAGS = 3
# What a format cannot do without at its start. Most attempts give random bytes, and need no reader to be refused.
_PACKED = re.compile(r"b?[0-9]{12}")
_STARTS = {
    PartFormat.TRACK1: re.compile(rb"[%B]"),
    PartFormat.TRACK3: re.compile(rb"[+;0-9]"),
    PartFormat.CARD_JSON: re.compile(rb"\s*\{"),
}
_TEXT_STARTS = frozenset(bytes((byte,)) for byte in b";0123456789")
_PACKED_FORM = "track 2, packed"
_ANY_TIME = datetime.fromisoformat(
    "2026-01-01T00:00:00+00:00"
)  # lenient checks only flag what has expired


@dataclass(frozen=True, slots=True)
class PartReading:
    """``form`` is for people: "track 2, packed" or "EMV tags 5A, 57".

    ``certain`` says that chance does not make it: text is, while digits with two to a byte need a check digit beside.
    """

    format: PartFormat
    form: str

    @property
    def certain(self) -> bool:
        return self.format is not PartFormat.EMV_TLV and self.form != _PACKED_FORM


@dataclass(frozen=True, slots=True)
class Reading:
    """What all parts are together. ``card`` is ``None`` where no part holds a card number.

    ``faults`` are stages of :func:`read_card` at which the service refuses what reads well: always (two cards in one
    read), or under strict checks.
    """

    parts: tuple[PartReading, ...]
    card: MaskedCard | None
    faults: tuple[str, ...] = ()


def read_parts(plaintexts: Sequence[SensitiveBytes], now: datetime) -> Reading | None:
    """``None`` when one of them is no card data. ``now`` is aware of its time zone."""
    parts = []
    for plaintext in plaintexts:
        part = read_part(plaintext)
        if part is None:
            return None
        parts.append(part)
    return together(
        [(part.format, text) for part, text in zip(parts, plaintexts, strict=True)], now
    )


def together(clear: Sequence[tuple[PartFormat, SensitiveBytes]], now: datetime) -> Reading | None:
    """The parts of one read in clear, their formats known; ``None`` where one of them is not what it is said to be."""
    parts = [_described(part_format, text) for part_format, text in clear]
    if not all(parts):
        return None
    read = tuple(part for part in parts if part is not None)
    try:
        data = read_card(clear, CardChecksPolicy.LENIENT, now)
    except DecryptionFailedError as error:
        return Reading(read, None, () if error.stage == "no-pan" else (error.stage,))
    faults = [] if data.checks.luhn else ["luhn"]
    if not data.checks.expiry_valid:
        faults.append("expiry")
    card = mask(data)
    certain = all(part.certain for part in read)
    if not certain and card.brand is Brand.UNKNOWN and not data.checks.luhn:
        return None  # as good as chance, over thousands of attempts
    return Reading(read, card, tuple(faults))


def read_part(plaintext: SensitiveBytes) -> PartReading | None:
    """By the first format that it is of; one without a card number only when it is that beyond doubt."""
    for part_format in (*_WITH_PAN, PartFormat.TRACK3):
        part = _described(part_format, plaintext)
        if part is not None:
            return part
    return None


def refusal(part_format: PartFormat, plaintext: SensitiveBytes) -> str:
    """The stage at which the reader of that format refuses it; empty where it does not."""
    try:
        read_card([(part_format, plaintext)], CardChecksPolicy.LENIENT, _ANY_TIME)
    except DecryptionFailedError as error:
        return error.stage
    return ""


def _described(part_format: PartFormat, plaintext: SensitiveBytes) -> PartReading | None:
    data = plaintext.reveal()
    if not _may_be(part_format, data):
        return None
    stage = refusal(part_format, plaintext)
    if part_format is PartFormat.TRACK3:
        found = stage == "no-pan" and _TRACK3.fullmatch(data) is not None
        return PartReading(part_format, "track 3") if found else None
    if part_format is PartFormat.EMV_TLV:
        return _described_emv(stage, plaintext)
    return None if stage else PartReading(part_format, _form(part_format, data))


def _may_be(part_format: PartFormat, data: bytes) -> bool:
    if part_format is PartFormat.TRACK2:
        return data[:1] in _TEXT_STARTS or _PACKED.match(data[:7].hex()) is not None
    start = _STARTS.get(part_format)
    return start is None or start.match(data) is not None


def _described_emv(stage: str, plaintext: SensitiveBytes) -> PartReading | None:
    if stage not in ("", "no-pan"):
        return None
    tags = emv_tags(plaintext)
    if stage and not (len(tags) >= _FEWEST_TAGS and all(map(_TAG.fullmatch, tags))):
        return None
    return PartReading(PartFormat.EMV_TLV, f"EMV tags {', '.join(tags)}")


def emv_tags(plaintext: SensitiveBytes) -> list[str]:
    """In their order; none where it is no BER-TLV."""
    with suppress(DecryptionFailedError):
        return [element.tag.hex().upper() for element in read_tlv(plaintext.reveal()).elements]
    return []


def _form(part_format: PartFormat, data: bytes) -> str:
    if part_format is PartFormat.CARD_JSON:
        return "card JSON"
    if part_format is PartFormat.TRACK1:
        return "track 1"
    return "track 2" if re.match(rb";|[0-9]{12}", data) else _PACKED_FORM
