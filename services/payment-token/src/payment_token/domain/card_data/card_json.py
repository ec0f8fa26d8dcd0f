"""A card that was typed in: ``{"pan": "…", "exp_month": 12, "exp_year": 2030, "cardholder_name": "…", "cvv": "123"}``.

A ``service_code`` of three digits may be there as well.

UTF-8, one flat object, only these names and each at most once; all but ``pan`` may be null or missing, an expiry is
whole or absent. Anything named after a PIN is refused as such: this service never takes PIN data.
"""

import json
import re
from contextlib import suppress
from typing import NoReturn

from payment_token.domain.card_data.padding import strip_padding
from payment_token.domain.card_data.part_read import Expiry, PartRead, name_of, pan_of
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveText

_MAX_BYTES = 2048
# One brace is what the format has. The bound keeps the parser's recursion short, with room for odd names.
_MAX_BRACKETS = 16
_MAX_NAME = 64
_FIELDS = frozenset({"pan", "exp_month", "exp_year", "cardholder_name", "cvv", "service_code"})
_CVV = re.compile(r"[0-9]{3,4}")
_SERVICE_CODE = re.compile(r"[0-9]{3}")
_SHORT_YEARS, _YEARS, _MONTHS = range(100), range(2000, 2100), range(100)


def read_card_json(data: bytes) -> PartRead:
    """Raises:
    DecryptionFailedError: ``part-size``, ``json-syntax`` (also unknown, repeated and missing names and wrong
        types), ``pin-data``, ``pan``, ``expiry``, ``name``, ``cvv`` or ``service-code``.
    """
    if len(data) > _MAX_BYTES:
        raise DecryptionFailedError("part-size")
    fields = _fields(_parse(strip_padding(data)))
    return PartRead(
        pan=pan_of(_text(fields.get("pan")) or ""),
        expiry=_expiry(fields.get("exp_month"), fields.get("exp_year")),
        cardholder_name=_name(_text(fields.get("cardholder_name"))),
        cvv=_matching(_CVV, _text(fields.get("cvv")), "cvv"),
        service_code=_matching(_SERVICE_CODE, _text(fields.get("service_code")), "service-code"),
    )


def _parse(data: bytes) -> object:
    """Objects come as tuples of pairs, so that a name given twice is seen."""
    if data.count(b"{") + data.count(b"[") <= _MAX_BRACKETS:
        # The parser's own error holds the whole text, so it must not ride along as the context of ours.
        with suppress(ValueError):
            return json.loads(
                data.decode("utf-8"), object_pairs_hook=tuple, parse_constant=_refuse_constant
            )
    raise DecryptionFailedError("json-syntax")


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _fields(parsed: object) -> dict[str, object]:
    if not isinstance(parsed, tuple):
        raise DecryptionFailedError("json-syntax")
    names = [name for name, _ in parsed]
    if any("pin" in name.casefold() for name in names):
        raise DecryptionFailedError("pin-data")
    if len(set(names)) < len(names) or not _FIELDS.issuperset(names):
        raise DecryptionFailedError("json-syntax")
    return dict(parsed)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DecryptionFailedError("json-syntax")


def _expiry(month: object, year: object) -> Expiry | None:
    """Any month of two digits: whether it exists is the policy's question, as it is for a track."""
    if month is None and year is None:
        return None
    if type(month) is not int or type(year) is not int:  # a JSON true is an int as well
        raise DecryptionFailedError("expiry")
    if year in _SHORT_YEARS:
        year += 2000
    if month not in _MONTHS or year not in _YEARS:
        raise DecryptionFailedError("expiry")
    return Expiry(month, year)


def _name(text: str | None) -> SensitiveText | None:
    return None if text is None else name_of(text, _MAX_NAME)


def _matching(form: re.Pattern[str], text: str | None, stage: str) -> SensitiveText | None:
    if text is not None and not form.fullmatch(text):
        raise DecryptionFailedError(stage)
    return None if text is None else SensitiveText(text)
