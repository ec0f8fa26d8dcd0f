from hypothesis import example, given
from hypothesis import strategies as st

from payment_token.domain.length_prefixed import length_prefixed

fields = st.lists(st.binary(max_size=300), max_size=6)


def parsed(joined: bytes) -> list[bytes]:
    found = []
    while joined:
        length, joined = int.from_bytes(joined[:2], "big"), joined[2:]
        found.append(joined[:length])
        joined = joined[length:]
    return found


def test_each_field_has_its_length_before_it():
    assert length_prefixed(b"ab", b"", b"c" * 256) == b"\0\2ab" + b"\0\0" + b"\1\0" + b"c" * 256
    assert length_prefixed() == b""


@given(fields)
@example([b"x" * 65_535])
def test_the_fields_can_be_told_apart_again(given_fields):
    assert parsed(length_prefixed(*given_fields)) == given_fields


@given(fields, fields)
@example([b"ab", b"c"], [b"a", b"bc"])
@example([b"a"], [b"a", b""])
def test_only_the_same_fields_give_the_same_bytes(one, other):
    assert (length_prefixed(*one) == length_prefixed(*other)) is (one == other)
