import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.card_data.ber_tlv import read_tlv
from tests.unit.card_data.card_reads import refusal


def elements(text: str) -> list[tuple[str, str]]:
    return [(e.tag.hex().upper(), e.value.reveal().hex().upper()) for e in read(text).elements]


def read(text: str):
    return read_tlv(bytes.fromhex(text))


TWO = [("5A", "AA"), ("9F26", "BBBB")]
SHAPES = {
    "one after the other": "5A01AA 9F2602BBBB",
    "zeros before, between, after": "0000 5A01AA 00 9F2602BBBB 000000",
    "FF before, between, after": "FFFF 5A01AA FFFF 9F2602BBBB FF",
    "zeros and FF": "FF00 5A01AA 00FFFF 9F2602BBBB 00FF",
    "in a template": "70 08 5A01AA9F2602BBBB",
    "in templates": "7005 E103 5A01AA 770A A508 9F2602BBBB 000000",
    "padding in a template": "70 0C 00 5A01AA 0000 9F2602BBBB 00",
    "constructed private tag": "FF8105 08 5A01AA9F2602BBBB",
    "long form of one byte": "5A8101AA 9F268102BBBB",
    "long form of four bytes": "5A8400000001AA 9F26830000 02BBBB",
    "PKCS#7 of one byte": "5A01AA 9F2602BBBB 01",
    "PKCS#7 of eight bytes": "5A01AA 9F2602BBBB" + "08" * 8,
    "PKCS#7 of a whole block": "5A01AA 9F2602BBBB" + "10" * 16,
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_two_elements(text):
    assert elements(text) == TWO


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("5A01AA00000000", "5A01AA"),
        ("5A01AAFFFF", "5A01AA"),
        ("5A01AA0202", "5A01AA"),
        ("005A01AA00", "005A01AA"),
        ("5A02000000", "5A020000"),
        ("70055A01AA000000", "70055A01AA0000"),
        ("0000", ""),
        ("", ""),
    ],
)
def test_the_content_ends_with_the_last_element(text, content):
    assert read(text).content.reveal().hex().upper() == content


def test_elements_may_be_empty_and_repeat():
    assert elements("5A00 5A00 9F2600") == [("5A", ""), ("5A", ""), ("9F26", "")]


def test_a_tag_may_have_four_bytes():
    assert elements("DF81820101AA") == [("DF818201", "AA")]


def nested(depth: int) -> bytes:
    data = bytes.fromhex("5A01AA")
    for _ in range(depth):
        data = b"\x70" + bytes([0x81, len(data)]) + data
    return data


def test_templates_nest_eight_deep():
    assert len(read_tlv(nested(8)).elements) == 1


REFUSED = {
    "tag without length": ("5A", "tlv-truncated"),
    "tag without its second byte": ("9F", "tlv-truncated"),
    "tag without its third byte": ("5A00DF81", "tlv-truncated"),
    "value too short": ("5A02AA", "tlv-truncated"),
    "length without its bytes": ("5A8201", "tlv-truncated"),
    "huge length": ("5A84FFFFFFFF", "tlv-truncated"),
    "indefinite length": ("7080 5A01AA 0000", "tlv-length"),
    "length of five bytes": ("5A850000000001AA", "tlv-length"),
    "tag of five bytes": ("DF8182830101AA", "tlv-tag"),
    "element past the end of its template": ("70035A02AA BB", "tlv-truncated"),
    "attribute byte of ID TECH": ("57A11254 13CC", "tlv-length"),
    "wrong PKCS#7": ("5A01AA0303", "tlv-truncated"),
    "private tag misread as padding": ("FF5A01AA", "tlv-truncated"),
    "text": (b"%B4111111111111111^".hex(), "tlv-truncated"),
}


@pytest.mark.parametrize(("text", "stage"), REFUSED.values(), ids=REFUSED)
def test_is_refused(text, stage):
    assert refusal(read, text) == stage


def test_too_deep_is_refused():
    assert refusal(read_tlv, nested(9)) == "tlv-depth"


def test_too_many_elements_are_refused():
    assert len(read_tlv(bytes.fromhex("5A00") * 256).elements) == 256
    assert refusal(read_tlv, bytes.fromhex("5A00") * 257) == "tlv-count"
    assert refusal(read_tlv, bytes.fromhex("7000") * 257) == "tlv-count"


def test_too_many_bytes_are_refused():
    assert read_tlv(bytes(4096)).elements == ()
    assert refusal(read_tlv, bytes(4097)) == "tlv-size"


primitives = st.lists(
    st.tuples(st.sampled_from(["57", "5A", "9F26", "5F20", "DF8101"]), st.binary(max_size=200)),
    max_size=10,
)


@given(primitives, st.sampled_from(["", "00", "0000", "FFFF", "04040404"]))
def test_what_was_written_is_read(written, padding):
    data = b"".join(
        bytes.fromhex(tag)
        + (bytes([0x81]) if len(value) > 127 else b"")
        + bytes([len(value)])
        + value
        for tag, value in written
    )

    message = read_tlv(data + bytes.fromhex(padding))

    assert [(e.tag.hex().upper(), e.value.reveal()) for e in message.elements] == written
    assert message.content.reveal() == data


@given(primitives.filter(bool), st.data())
def test_what_was_cut_is_refused(written, data):
    """Unless it was cut between two elements."""
    whole = b"".join(
        bytes.fromhex(tag) + bytes([0x82, 0, len(value)]) + value for tag, value in written
    )
    boundaries = [0]
    for tag, value in written:
        boundaries.append(boundaries[-1] + len(tag) // 2 + 3 + len(value))
    cut = data.draw(st.integers(1, len(whole) - 1).filter(lambda at: at not in boundaries))

    assert refusal(read_tlv, whole[:cut]) == "tlv-truncated"
