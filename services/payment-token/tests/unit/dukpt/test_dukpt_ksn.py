import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.errors import BadKSNError
from tests.unit.dukpt.dukpt_vectors import DOCUMENT, name_of

TDES, AES = Scheme.DUKPT_TDES, Scheme.DUKPT_AES
SCHEMES = {"tdes-dukpt": TDES, "aes-dukpt": AES}
DIGITS = {TDES: (16, 20), AES: (24,)}
COUNTER_BITS = {TDES: 21, AES: 32}
MOST_ONE_BITS = {TDES: 10, AES: 16}

schemes = st.sampled_from((TDES, AES))


def refused(text: str, scheme: Scheme) -> bool:
    """Also looks that the refusal says nothing of what was sent."""
    refusal = None
    try:
        KSN.from_hex(text, scheme)
    except BadKSNError as error:
        refusal = error
    if refusal is None:
        return False
    assert refusal.detail == BadKSNError.default_detail
    assert refusal.__context__ is None
    assert refusal.__cause__ is None
    return True


@pytest.mark.parametrize("rule", DOCUMENT["ksn_rules"], ids=name_of)
def test_the_rule_on_counters(rule):
    scheme = SCHEMES[rule["scheme"]]
    ksn = KSN.of_any_counter(rule["ksn"], scheme)

    assert ksn.counter == rule["counter"]
    assert ksn.counter.bit_count() == rule["one_bits"]
    assert refused(rule["ksn"], scheme) is not rule["valid"]


@given(schemes, st.integers(0, 2**32 - 1))
def test_a_terminal_s_counter_has_some_one_bits_but_not_many(scheme, number):
    counter = number & (1 << COUNTER_BITS[scheme]) - 1
    text = f"{counter:020X}" if scheme is TDES else f"{0x1234567890123456:016X}{counter:08X}"
    valid = 1 <= counter.bit_count() <= MOST_ONE_BITS[scheme]
    assert refused(text, scheme) is not valid


@pytest.mark.parametrize("scheme", Scheme)  # device-aead has no KSN, so none of any length
@pytest.mark.parametrize("length", range(41))
def test_only_the_scheme_s_lengths_are_taken(scheme, length):
    text = "1".rjust(length, "0")[:length]
    assert refused(text, scheme) is (length not in DIGITS.get(scheme, ()))


WRONG = {
    "a letter past F": "G",
    "the x of a 0x prefix": "x",
    "a blank": " ",
    "a tab": "\t",
    "a line feed": "\n",
    "a no-break space": "\u00a0",
    "a sign": "+",
    "an underscore": "_",
    "a NUL": "\0",
    "a full-width digit": "\uff11",
    "an Arabic digit": "\u0661",
    "a superscript": "\u00b9",
    "a Greek letter": "\u0391",
    "half of a surrogate pair": "\ud800",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("scheme", DIGITS)
def test_anything_but_hexadecimal_digits_is_refused_anywhere(wrong, scheme):
    for length in DIGITS[scheme]:
        good = "1".rjust(length, "0")
        assert not refused(good, scheme)
        for place in range(length):
            assert refused(good[:place] + wrong + good[place + 1 :], scheme)
            assert refused(good[:place] + wrong + good[place:], scheme)


@pytest.mark.parametrize("scheme", DIGITS)
def test_blanks_between_bytes_and_prefixes_are_refused(scheme):
    """Each is of a length that the scheme has; bytes.fromhex alone would skip the blanks."""
    for length in DIGITS[scheme]:
        assert refused(("01 " * length)[:length], scheme)
        assert refused("  " + "1".rjust(length - 2, "0"), scheme)
        assert refused("1".rjust(length - 2, "0") + "\r\n", scheme)
        assert refused("0x" + "1".rjust(length - 2, "0"), scheme)


@given(schemes, st.text(max_size=40))
def test_any_text_is_read_or_refused(scheme, text):
    refused(text, scheme)


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=12, max_size=12))
def test_text_goes_in_and_comes_out(tdes, aes):
    for value, scheme in ((tdes, TDES), (aes, AES)):
        upper = KSN.of_any_counter(value.hex().upper(), scheme)
        assert str(upper) == value.hex().upper()
        assert upper.value == value
        assert KSN.of_any_counter(value.hex(), scheme) == upper


@given(st.binary(min_size=10, max_size=10))
def test_a_tdes_ksn_is_an_initial_key_id_and_21_bits(value):
    ksn = KSN.of_any_counter(value.hex(), TDES)
    number = int.from_bytes(ksn.initial_key_id, "big")
    assert number | ksn.counter == int.from_bytes(value, "big")
    assert number & 0x1FFFFF == 0
    assert 0 <= ksn.counter <= 0x1FFFFF
    assert len(ksn.initial_key_id) == 10


@given(st.binary(min_size=12, max_size=12))
def test_an_aes_ksn_is_an_initial_key_id_and_4_bytes(value):
    ksn = KSN.of_any_counter(value.hex(), AES)
    assert ksn.initial_key_id + ksn.counter.to_bytes(4, "big") == value


def test_an_8_byte_ksn_gets_its_leading_ffff_back():
    short = KSN.from_hex("9876543210E00001", TDES)
    assert short == KSN.from_hex("FFFF9876543210E00001", TDES)
    assert short.initial_key_id.hex().upper() == "FFFF9876543210E00000"
    assert str(short) == "FFFF9876543210E00001"


def test_a_10_byte_ksn_keeps_its_leading_zeros():
    ksn = KSN.from_hex("00009876543210E00001", TDES)
    assert ksn != KSN.from_hex("9876543210E00001", TDES)
    assert ksn.initial_key_id.hex().upper() == "00009876543210E00000"
