r"""The byte form in which each part is sealed.

Compact JSON in ASCII (other characters as ``\uXXXX``), every field present, in the order of the dataclass: equal
parts give equal bytes. It needs no version of its own, as the sealed record around it has one.
"""

import json
from contextlib import suppress

from payment_token.domain.card_data.payment_data import PAN, PANPart, SADPart
from payment_token.domain.sensitive import Sensitive, SensitiveBytes, SensitiveText

_PAN_FIELDS = ("pan", "exp_month", "exp_year", "cardholder_name")
_SAD_FIELDS = ("service_code", "cvv", "track1", "track2", "emv")
_TEXT = json.JSONEncoder()


def _form(names: tuple[str, ...]) -> str:
    return "{" + ",".join([f'"{name}":%s' for name in names]) + "}"


_PAN_FORM, _SAD_FORM = _form(_PAN_FIELDS), _form(_SAD_FIELDS)


def encode_pan_part(part: PANPart) -> SensitiveBytes:
    values = (
        _json_text(part.pan),
        _json_number(part.exp_month),
        _json_number(part.exp_year),
        _json_text(part.cardholder_name),
    )
    return SensitiveBytes((_PAN_FORM % values).encode("ascii"))


def decode_pan_part(encoded: SensitiveBytes) -> PANPart:
    """Raises:
    ValueError: anything but the bytes that :func:`encode_pan_part` gives. It holds no part of them.
    """
    with suppress(ValueError, RecursionError):
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
    values = (
        _json_text(part.service_code),
        _json_text(part.cvv),
        _json_text(part.track1),
        _json_text(part.track2),
        _json_text(part.emv),
    )
    return SensitiveBytes((_SAD_FORM % values).encode("ascii"))


def decode_sad_part(encoded: SensitiveBytes) -> SADPart:
    """Raises:
    ValueError: anything but the bytes that :func:`encode_sad_part` gives. It holds no part of them.
    """
    with suppress(ValueError, RecursionError):
        fields = _decode(encoded, _SAD_FIELDS)
        part = SADPart(*(_optional_text(fields[name]) for name in _SAD_FIELDS))
        if encode_sad_part(part) == encoded:
            return part
    raise ValueError("not an encoded SAD part")


def _decode(encoded: SensitiveBytes, names: tuple[str, ...]) -> dict[str, object]:
    fields = json.loads(encoded.reveal().decode("ascii"))
    if isinstance(fields, dict) and tuple(fields) == names:
        return fields
    raise ValueError("not these fields")


def _json_text(text: Sensitive[str] | None) -> str:
    return "null" if text is None else _TEXT.encode(text.reveal())


def _json_number(number: int | None) -> str:
    return "null" if number is None else str(number)


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
