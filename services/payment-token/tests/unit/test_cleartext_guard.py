import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.cleartext_guard import find_card_number

FOUND = {
    "visa": "4111111111111111",
    "visa of 13": "4222222222222",
    "visa of 19": "4000000000000000006",
    "mastercard": "5555555555554444",
    "mastercard 2 series": "2223003122003222",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "diners": "30569309025904",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
    "maestro": "6759649826438453",
    "groups with blanks": "4111 1111 1111 1111",
    "groups with hyphens": "4111-1111-1111-1111",
    "groups with underscores": "4111_1111_1111_1111",
    "groups with no-break spaces": "4111\u00a01111\u00a01111\u00a01111",
    "full-width digits": "".join(chr(ord(digit) + 0xFEE0) for digit in "4111111111111111"),
    "groups of 19 digits": "4000 0000 0000 0000 006",
    "groups of 4-4-4-7": "4000 0000 0000 0000006",
    "groups of 4-4-4-1": "4222 2222 2222 2",
    "groups of amex": "3782 822463 10005",
    "groups of diners": "3056 930902 5904",
    "groups after a year": "2030 4111 1111 1111 1111",
    "in a sentence": "card 4111111111111111, please",
    "between letters": "order4111111111111111x",
    "in JSON": '{"note":"4111111111111111"}',
    "on a second line": "first\n4111111111111111\n",
    "beside a UUID": "123e4567-e89b-12d3-a456-426614174000 4111111111111111",
    "after another number": "1234567890123456 4111111111111111",
    "track 1": "%B5452300551227189^HOGAN/PAUL^0804",
    "track 1 of a bad check digit": "%B1234567890123^A",
    "track 2": ";5452300551227189=0804321",
    "track 2 in a text": "data: ;1234567890123=0804321?",
}


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_finds(text):
    assert find_card_number(text)


PASSED = {
    "nothing": "",
    "words": "two coffees to go",
    "wrong check digit": "4111111111111112",
    "no brand": "9999999999999995",
    "brand of another length": "411111111111116",
    "twelve digits": "501800000009",
    "twenty digits": "41111111111111111111",
    "part of a longer run": "004111111111111111100000",
    "masked": "411111******1111",
    "time in milliseconds": "1767225600000",
    "time in nanoseconds": "1767225600000000000",
    "groups with two blanks": "4111  1111  1111  1111",
    "groups with dots": "4111.1111.1111.1111",
    "groups of another size": "41111 11111 11111 1",
    "groups in a longer run": "94111 1111 1111 1111",
    "phone number": "+49 170 1234567",
    "a date and time": "2026-07-01 12:00:00",
    "UUID whose digits pass": "00000000-3782-8224-6310-005abcdefabc",
    "UUID of digits": "00000000-4111-1111-1111-111111111111",
    "UUID without hyphens": "4222222222222aaa8bcdefabcdefabcd",
    "payment token": "pt_7h2kd93mzq4vx8c1n5b6",
    "masked track 2": ";5452********7189=0804",
    "short track": ";12345=6",
}


@pytest.mark.parametrize("text", PASSED.values(), ids=PASSED)
def test_lets_pass(text):
    assert not find_card_number(text)


def test_a_packed_track_of_a_uuid_s_length_is_found():
    assert find_card_number("4111111111111111d301220100000000")


@given(st.uuids())
def test_a_uuid_is_no_card_number(identifier):
    assert not find_card_number(str(identifier))
    assert not find_card_number(f"order/{identifier}/1")


@given(st.uuids(version=4))
def test_a_uuid_without_hyphens_is_no_card_number(identifier):
    assert not find_card_number(identifier.hex)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_number_that_stands_alone_is_found_anywhere(before, after):
    assert find_card_number(f"{before}\n4111111111111111\n{after}")


@pytest.mark.parametrize(
    "piece",
    ["4", "4111 ", "4111-1111-", ";4111", "%B4", "a4-", "4111111111111112 ", "0" * 19 + "-"],
)
def test_time_is_linear(piece):
    """A megabyte of the worst pieces; a quadratic search would take minutes."""
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    find_card_number(text)
    assert time.process_time() - start < 10
