import json

import pytest

from payment_token.domain.card_data.card_json import read_card_json
from tests.unit.card_data.card_reads import CARD_JSON, PAN, refusal, shown, typed


def expiry(card):
    return card.expiry and (card.expiry.month, card.expiry.year)


def test_a_typed_card():
    card = read_card_json(typed())
    assert card.pan.reveal() == PAN
    assert expiry(card) == (12, 2030)
    assert shown(card.cardholder_name) == "Jane Doe"
    assert shown(card.cvv) == "123"
    assert card.entry_mode == "manual"


@pytest.mark.parametrize(
    "data", [json.dumps({"pan": PAN}).encode(), typed(**dict.fromkeys(set(CARD_JSON) - {"pan"}))]
)
def test_all_but_the_pan_may_be_missing_or_null(data):
    card = read_card_json(data)
    assert card.pan.reveal() == PAN
    assert expiry(card) is None
    assert card.cardholder_name is None
    assert card.sad_part() is None


@pytest.mark.parametrize(
    "padding", [b"\x00" * 5, b"\x03" * 3, b"\x09" * 9, b"\x0a" * 10, b"\x10" * 16, b"\xff" * 2]
)
def test_padding_is_stripped(padding):
    assert read_card_json(typed() + padding) == read_card_json(typed())


@pytest.mark.parametrize(("year", "full"), [(30, 2030), (0, 2000), (99, 2099), (2031, 2031)])
def test_a_year_has_two_or_four_digits(year, full):
    assert read_card_json(typed(exp_year=year)).expiry.year == full


@pytest.mark.parametrize("cvv", ["123", "1234", "000"])
def test_a_cvv_has_three_or_four_digits(cvv):
    assert shown(read_card_json(typed(cvv=cvv)).cvv) == cvv


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Müller, Jürgen", "Müller, Jürgen"), ("王小明", "王小明"), ("A" * 64, "A" * 64), ("", None)],
)
def test_a_name_is_any_printable_text(name, expected):
    assert shown(read_card_json(typed(cardholder_name=name)).cardholder_name) == expected
    raw = json.dumps({**CARD_JSON, "cardholder_name": name}, ensure_ascii=False).encode()
    assert shown(read_card_json(raw).cardholder_name) == expected


WITHOUT_PAN = {name: value for name, value in CARD_JSON.items() if name != "pan"}
TEXT = typed().decode()

REFUSED = {
    "no bytes": (b"", "json-syntax"),
    "service code of two digits": (typed(service_code="20"), "service-code"),
    "only padding": (bytes(32), "json-syntax"),
    "cut": (typed()[:-1], "json-syntax"),
    "two objects": (typed() * 2, "json-syntax"),
    "a list": (b"[" + typed() + b"]", "json-syntax"),
    "a text": (b'"4111111111111111"', "json-syntax"),
    "a number": (b"4111111111111111", "json-syntax"),
    "null": (b"null", "json-syntax"),
    "an empty list": (b"[]", "json-syntax"),
    "empty object": (b"{}", "pan"),
    "no pan": (json.dumps(WITHOUT_PAN).encode(), "pan"),
    "pan is null": (typed(pan=None), "pan"),
    "pan is a number": (typed(pan=4111111111111111), "json-syntax"),
    "pan is a list": (typed(pan=[PAN]), "json-syntax"),
    "pan with blanks": (typed(pan="4111 1111 1111 1111"), "pan"),
    "pan too short": (typed(pan="4" * 11), "pan"),
    "pan too long": (typed(pan="4" * 20), "pan"),
    "pan in other digits": (typed(pan="٤" * 16), "pan"),
    "pan with a line end": (typed(pan=PAN + "\n"), "pan"),
    "unknown field": (typed(amount=1), "json-syntax"),
    "field in upper case": (typed(PAN=PAN), "json-syntax"),
    "repeated field": (TEXT.replace("{", '{"pan": "' + PAN + '", ').encode(), "json-syntax"),
    "repeated by escape": (TEXT.replace("{", '{"p\\u0061n": "1", ').encode(), "json-syntax"),
    "surrogate in a field name": (TEXT.replace("cvv", "cv\\ud800").encode(), "json-syntax"),
    "pin": (typed(pin="1234"), "pin-data"),
    "pin_block": (typed(pin_block="0412AC89ABCDEF67"), "pin-data"),
    "pinBlock": (typed(pinBlock=None), "pin-data"),
    "encrypted_pin": (typed(encrypted_pin=""), "pin-data"),
    "ONLINE-PIN": (typed(**{"ONLINE-PIN": ""}), "pin-data"),
    "month is a text": (typed(exp_month="12"), "expiry"),
    "month is a fraction": (typed(exp_month=12.0), "expiry"),
    "month is true": (typed(exp_month=True), "expiry"),
    "month below zero": (typed(exp_month=-1), "expiry"),
    "month of three digits": (typed(exp_month=100), "expiry"),
    "month of a thousand digits": (TEXT.replace(" 12,", f" {'1' * 1000},").encode(), "expiry"),
    "month without year": (typed(exp_year=None), "expiry"),
    "year without month": (typed(exp_month=None), "expiry"),
    "year of three digits": (typed(exp_year=203), "expiry"),
    "year of another century": (typed(exp_year=1999), "expiry"),
    "year too late": (typed(exp_year=2100), "expiry"),
    "year is infinite": (TEXT.replace("2030", "1e999").encode(), "expiry"),
    "year is Infinity": (TEXT.replace("2030", "Infinity").encode(), "json-syntax"),
    "year is NaN": (TEXT.replace("2030", "NaN").encode(), "json-syntax"),
    "name too long": (typed(cardholder_name="A" * 65), "name"),
    "name is a number": (typed(cardholder_name=1), "json-syntax"),
    "NUL in a name": (typed(cardholder_name="A\0B"), "name"),
    "raw NUL in a name": (TEXT.replace("Jane", "Ja\0e").encode(), "json-syntax"),
    "lone surrogate in a name": (typed(cardholder_name="A\ud800B"), "name"),
    "line end in a name": (typed(cardholder_name="A\nB"), "name"),
    "cvv of two digits": (typed(cvv="12"), "cvv"),
    "cvv of five digits": (typed(cvv="12345"), "cvv"),
    "cvv of letters": (typed(cvv="abc"), "cvv"),
    "cvv is a number": (typed(cvv=123), "json-syntax"),
    "empty cvv": (typed(cvv=""), "cvv"),
    "not UTF-8": (TEXT.replace("Jane", "Jan\xe9").encode("latin-1"), "json-syntax"),
    "UTF-16": (TEXT.encode("utf-16"), "json-syntax"),
    "byte order mark": (TEXT.encode("utf-8-sig"), "json-syntax"),
    "an object inside": (typed(cvv={"a": 1}), "json-syntax"),
    "deep lists": (b"[" * 2000, "json-syntax"),
    "deep objects": (b'{"a":' * 300, "json-syntax"),
    "too many bytes": (typed() + b" " * 2048, "part-size"),
}


@pytest.mark.parametrize(("data", "stage"), REFUSED.values(), ids=REFUSED)
def test_is_refused(data, stage):
    assert refusal(read_card_json, data) == stage


def test_a_service_code_may_be_there():
    assert shown(read_card_json(typed(service_code="201")).service_code) == "201"
