import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.card_data import (
    PAN,
    PANPart,
    SADPart,
    decode_pan_part,
    decode_sad_part,
    encode_pan_part,
    encode_sad_part,
)
from payment_token.domain.sensitive import SensitiveBytes, SensitiveText

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=80).map(SensitiveText)
expiries = st.none() | st.tuples(st.integers(0, 99), st.integers(2000, 2099))
pans = st.from_regex(r"[0-9]{12,19}", fullmatch=True).map(PAN)
pan_parts = st.builds(
    lambda pan, expiry, name: PANPart(pan, *(expiry or (None, None)), name),
    pans,
    expiries,
    st.none() | any_text,
)
sad_parts = st.builds(SADPart, *[st.none() | any_text] * 5)


@given(pan_parts)
def test_a_pan_part_comes_back(part):
    assert decode_pan_part(encode_pan_part(part)) == part


@given(sad_parts)
def test_a_sad_part_comes_back(part):
    assert decode_sad_part(encode_sad_part(part)) == part


def test_the_bytes_are_fixed():
    part = PANPart(PAN("4111111111111111"), 12, 2030, SensitiveText("MÜLLER"))
    assert encode_pan_part(part).reveal() == (
        b'{"pan":"4111111111111111","exp_month":12,"exp_year":2030,"cardholder_name":"M\\u00dcLLER"}'
    )
    assert encode_sad_part(SADPart(cvv=SensitiveText("123"))).reveal() == (
        b'{"service_code":null,"cvv":"123","track1":null,"track2":null,"emv":null}'
    )


GOOD = '{"pan":"4111111111111111","exp_month":12,"exp_year":2030,"cardholder_name":null}'
REFUSED_PAN = {
    "nothing": "",
    "not JSON": "4111111111111111x",
    "another order": '{"exp_month":12,"pan":"4111111111111111","exp_year":2030,"cardholder_name":null}',
    "white space": GOOD.replace(",", ", "),
    "a field missing": GOOD.replace(',"cardholder_name":null', ""),
    "a field more": GOOD.replace("}", ',"cvv":null}'),
    "a field twice": GOOD.replace("{", '{"pan":"4111111111111111",'),
    "pan too short": GOOD.replace("4111111111111111", "4111"),
    "pan is a number": GOOD.replace('"4111111111111111"', "4111111111111111"),
    "pan is null": GOOD.replace('"4111111111111111"', "null"),
    "month is true": GOOD.replace("12,", "true,"),
    "month is a text": GOOD.replace("12,", '"12",'),
    "month is a fraction": GOOD.replace("12,", "12.0,"),
    "month without year": GOOD.replace("2030", "null"),
    "year without month": GOOD.replace("12,", "null,"),
    "month of three digits": GOOD.replace("12,", "120,"),
    "year of two digits": GOOD.replace("2030", "30"),
    "name is a number": GOOD.replace('name":null', 'name":1'),
    "name not escaped": GOOD.replace('name":null', 'name":"Ü"'),
    "a list": "[]",
    "deep": "[" * 100_000,
    "padding": GOOD + "\n",
    "the other part": '{"service_code":null,"cvv":"123","track1":null,"track2":null,"emv":null}',
}


@pytest.mark.parametrize("text", REFUSED_PAN.values(), ids=REFUSED_PAN)
def test_other_bytes_are_not_a_pan_part(text):
    assert_refused(decode_pan_part, text.encode())


@pytest.mark.parametrize("text", ["", GOOD, "{}", '{"service_code":1}', "[" * 100_000])
def test_other_bytes_are_not_a_sad_part(text):
    assert_refused(decode_sad_part, text.encode())


@pytest.mark.parametrize("value", ["1", "true", "[]", "{}"])
def test_a_sad_field_is_a_text(value):
    text = f'{{"service_code":null,"cvv":{value},"track1":null,"track2":null,"emv":null}}'
    assert_refused(decode_sad_part, text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    assert_refused(decode_pan_part, data)
    assert_refused(decode_sad_part, data)


@given(pan_parts, st.data())
def test_a_changed_byte_is_refused_or_is_another_part(part, data):
    encoded = bytearray(encode_pan_part(part).reveal())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = SensitiveBytes(bytes(encoded))
    try:
        other = decode_pan_part(changed)
    except ValueError:
        return
    assert other != part
    assert encode_pan_part(other) == changed


def assert_refused(decode, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an encoded (PAN|SAD) part$") as caught:
        decode(SensitiveBytes(data))
    assert type(caught.value) is ValueError
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "4111" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("month", "year"), [(12, None), (None, 2030), (100, 2030), (-1, 2030), (12, 30), (12, 2100)]
)
def test_a_pan_part_is_valid_once_built(month, year):
    with pytest.raises(ValueError, match="an expiry is"):
        PANPart(PAN("4111111111111111"), month, year, None)


@pytest.mark.parametrize(
    "text", ["", "4" * 11, "4" * 20, "4111x11111111111", "4111111111111111\n", "٤" * 16]
)
def test_a_pan_is_valid_once_built(text):
    with pytest.raises(ValueError, match=r"^a PAN is 12 to 19 ASCII digits$"):
        PAN(text)


def test_a_pan_shows_its_ends():
    pan = PAN("4111118888881234")
    assert (pan.bin, pan.last4, pan.brand) == ("411111", "1234", "visa")
