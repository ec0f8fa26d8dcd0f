"""Card data out of the EMV tags of a chip or contactless read.

EMV 4.4 Book 3 Annex A has the tags; 9F6B is Mastercard's track 2 for contactless stripe transactions.
"""

import re
from collections.abc import Callable

from payment_token.domain.card_data.ber_tlv import read_tlv
from payment_token.domain.card_data.part_read import Expiry, PartRead, merge, name_of, pan_of
from payment_token.domain.card_data.payment_data import EntryMode
from payment_token.domain.card_data.tracks import read_packed_track2
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveText

_MAX_NAME = 26
# ISO 8583:1987 field 22, as 9F39 holds it: contactless chip and contactless stripe.
_CONTACTLESS_ENTRY = ("07", "91")
_FILLED_PAN = re.compile(r"([0-9]+)F*")
_YYMMDD = re.compile(r"([0-9]{4})[0-9]{2}")
_SERVICE_CODE = re.compile(r"0([0-9]{3})")


def read_emv(data: bytes) -> PartRead:
    """All tags must tell of one card; a tag that repeats may differ only where that does not matter.

    Raises:
        DecryptionFailedError: a stage of :func:`read_tlv`; ``pin-data``: tag 99, which this service never takes (PCI
            PIN Security); ``two-pans``, ``two-expiries``; ``track2-syntax``, ``pan``, ``name``, ``expiry``
            or ``service-code`` for a tag that is not what its name says.
    """
    message = read_tlv(data)
    known = (element for element in message.elements if element.tag in _READERS)
    card = merge(_READERS[element.tag](element.value.reveal()) for element in known)
    whole = PartRead(
        emv=SensitiveText(message.content.reveal().hex().upper()),
        entry_mode=EntryMode.CHIP,
    )
    return merge((card, whole))


def _track2_equivalent(value: bytes) -> PartRead:
    return read_packed_track2(value, EntryMode.CHIP)


def _pan(value: bytes) -> PartRead:
    return PartRead(pan=pan_of(_digits(_FILLED_PAN, value, "pan")))


def _expiration_date(value: bytes) -> PartRead:
    return PartRead(expiry=Expiry.from_yymm(_digits(_YYMMDD, value, "expiry")))


def _service_code(value: bytes) -> PartRead:
    code = _digits(_SERVICE_CODE, value, "service-code")
    return PartRead(service_code=SensitiveText(code))


def _cardholder_name(value: bytes) -> PartRead:
    return PartRead(cardholder_name=name_of(value.decode("latin-1"), _MAX_NAME))


def _entry_mode(value: bytes) -> PartRead:
    contactless = value.hex() in _CONTACTLESS_ENTRY
    return PartRead(entry_mode=EntryMode.CONTACTLESS if contactless else EntryMode.CHIP)


def _pin_data(value: bytes) -> PartRead:  # noqa: ARG001  refused whatever it holds
    raise DecryptionFailedError("pin-data")


_READERS: dict[bytes, Callable[[bytes], PartRead]] = {
    bytes.fromhex("57"): _track2_equivalent,
    bytes.fromhex("9F6B"): _track2_equivalent,
    bytes.fromhex("5A"): _pan,
    bytes.fromhex("5F24"): _expiration_date,
    bytes.fromhex("5F20"): _cardholder_name,
    bytes.fromhex("5F30"): _service_code,
    bytes.fromhex("9F39"): _entry_mode,
    bytes.fromhex("99"): _pin_data,
}


def _digits(pattern: re.Pattern[str], value: bytes, stage: str) -> str:
    """The digits of a value that holds two in each byte."""
    match = pattern.fullmatch(value.hex().upper())
    if match is None:
        raise DecryptionFailedError(stage)
    return match[1]
