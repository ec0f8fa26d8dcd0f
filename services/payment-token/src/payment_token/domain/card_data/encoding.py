r"""The byte form in which each part is sealed.

Compact JSON in ASCII (other characters as ``\uXXXX``), every field present, in the order of the dataclass: equal
parts give equal bytes. It needs no version of its own, as the sealed record around it has one.
"""

import json
from contextlib import suppress

from payment_token.domain.card_data.payment_data import PAN, PANPart, SADPart
from payment_token.domain.sensitive import SensitiveBytes, SensitiveText

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_PAN_FIELDS = ("pan", "exp_month", "exp_year", "cardholder_name")
_SAD_FIELDS = ("service_code", "cvv", "track1", "track2", "emv")


def encode_pan_part(part: PANPart) -> SensitiveBytes:
    values = (part.pan.reveal(), part.exp_month, part.exp_year, _revealed(part.cardholder_name))
    return _encode(dict(zip(_PAN_FIELDS, values, strict=True)))


def decode_pan_part(encoded: SensitiveBytes) -> PANPart:
    """Raises:
    ValueError: anything but the bytes that :func:`encode_pan_part` gives. It holds no part of them.
    """
    with suppress(ValueError):
        fields = _decode(encoded, _PAN_FIELDS)
        part = PANPart(
            PAN(_text(fields["pan"]).reveal()),
            _number(fields["exp_month"]),
            _number(fields["exp_year"]),
            _optional_text(fields["cardholder_name"]),
        )
        if encode_pan_part(part) == encoded:
            return part
    raise ValueError("not an encoded PAN part")


def encode_sad_part(part: SADPart) -> SensitiveBytes:
    values = (part.service_code, part.cvv, part.track1, part.track2, part.emv)
    return _encode(dict(zip(_SAD_FIELDS, map(_revealed, values), strict=True)))


def decode_sad_part(encoded: SensitiveBytes) -> SADPart:
    """Raises:
    ValueError: anything but the bytes that :func:`encode_sad_part` gives. It holds no part of them.
    """
    with suppress(ValueError):
        fields = _decode(encoded, _SAD_FIELDS)
        part = SADPart(*(_optional_text(fields[name]) for name in _SAD_FIELDS))
        if encode_sad_part(part) == encoded:
            return part
    raise ValueError("not an encoded SAD part")


def _encode(fields: dict[str, str | int | None]) -> SensitiveBytes:
    return SensitiveBytes(_ENCODER.encode(fields).encode("ascii"))


def _decode(encoded: SensitiveBytes, names: tuple[str, ...]) -> dict[str, object]:
    with suppress(RecursionError):
        fields = json.loads(encoded.reveal())
        if isinstance(fields, dict) and tuple(fields) == names:
            return fields
    raise ValueError("not these fields")


def _revealed(text: SensitiveText | None) -> str | None:
    return None if text is None else text.reveal()


def _text(value: object) -> SensitiveText:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return SensitiveText(value)


def _optional_text(value: object) -> SensitiveText | None:
    return None if value is None else _text(value)


def _number(value: object) -> int | None:
    if value is not None and type(value) is not int:  # a JSON true is an int as well
        raise ValueError("not a number")
    return value
