import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.api.strict_json import MAX_DEPTH, check_texts, parse_json
from payment_token.domain.errors import MalformedRequestError

NOT_JSON = "The body is not well-formed JSON."
TWICE = "An object of the body has the same name twice."
TOO_DEEP = "The body nests deeper than 16 levels."
NOT_A_NUMBER = "The body holds NaN or Infinity, which are not JSON."
HAS_NUL = "A text of the body holds U+0000."
HALF_A_PAIR = "A text of the body holds half of a surrogate pair."


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def problem(body: bytes) -> str | None:
    """``None`` when the body is read. A refusal holds on to nothing that could show what was sent."""
    refusal = None
    try:
        parse_json(body)
    except MalformedRequestError as error:
        refusal = error
    if refusal is None:
        return None
    assert refusal.__context__ is None
    assert refusal.__cause__ is None
    return refusal.detail


REFUSED = {
    "nothing": (b"", NOT_JSON),
    "blanks": (b" \n\t", NOT_JSON),
    "two documents": (b"{}{}", NOT_JSON),
    "text behind": (b"{} x", NOT_JSON),
    "a trailing comma": (b"[1,]", NOT_JSON),
    "a comment": (b"{} // x", NOT_JSON),
    "single quotes": (b"{'a':1}", NOT_JSON),
    "a name without quotes": (b"{a:1}", NOT_JSON),
    "a name that is a number": (b"{1:1}", NOT_JSON),
    "an unfinished text": (b'{"a":"4111', NOT_JSON),
    "an unfinished escape": (b'"\\u00', NOT_JSON),
    "an unknown escape": (b'"\\x41"', NOT_JSON),
    "a raw line feed in a text": (b'"\n"', NOT_JSON),
    "a leading zero": (b"01", NOT_JSON),
    "a plus sign": (b"+1", NOT_JSON),
    "hexadecimal": (b"0x10", NOT_JSON),
    "invalid UTF-8": (b'"\xff"', NOT_JSON),
    "overlong UTF-8": (b'"\xc0\xaf"', NOT_JSON),
    "cut UTF-8": (b'"\xc3"', NOT_JSON),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', NOT_JSON),
    "past the last code point": (b'"\xf4\x90\x80\x80"', NOT_JSON),
    "a UTF-8 byte order mark": (b"\xef\xbb\xbf{}", NOT_JSON),
    "UTF-16": ("{}".encode("utf-16"), NOT_JSON),
    "UTF-16 without a mark": ("{}".encode("utf-16-le"), NOT_JSON),
    "UTF-32": ("{}".encode("utf-32"), NOT_JSON),
    "Latin-1": ('"é"'.encode("latin-1"), NOT_JSON),
    "an integer of 5,000 digits": (b"1" * 5_000, NOT_JSON),
    "a negative one in a list": (b"[-" + b"1" * 5_000 + b"]", NOT_JSON),
    "a name twice": (b'{"a":1,"a":1}', TWICE),
    "a name twice, apart": (b'{"a":1,"b":2,"a":3}', TWICE),
    "a name twice, once escaped": (b'{"a":1,"\\u0061":2}', TWICE),
    "a name twice, inside": (b'[{"x":{"a":1,"a":2}}]', TWICE),
    "an empty name twice": (b'{"":1,"":2}', TWICE),
    "NaN": (b'{"a":NaN}', NOT_A_NUMBER),
    "Infinity": (b"[Infinity]", NOT_A_NUMBER),
    "-Infinity": (b"-Infinity", NOT_A_NUMBER),
    "U+0000": (b'"\\u0000"', HAS_NUL),
    "U+0000 in a text": (b'{"a":["x\\u0000y"]}', HAS_NUL),
    "U+0000 in a name": (b'{"a\\u0000":1}', HAS_NUL),
    "a high surrogate": (b'"\\ud83d"', HALF_A_PAIR),
    "a low surrogate": (b'{"a":"\\ude00"}', HALF_A_PAIR),
    "a pair the wrong way round": (b'"\\ude00\\ud83d"', HALF_A_PAIR),
    "a surrogate in a name": (b'{"\\udfff":1}', HALF_A_PAIR),
    "a surrogate deep inside": (b'[{"a":[{"b":"x\\ud800"}]}]', HALF_A_PAIR),
    "17 arrays": (arrays(17), TOO_DEEP),
    "17 objects": (objects(17), TOO_DEEP),
    "17 levels of both": (b'{"a":[' * 8 + b"[]" + b"]}" * 8, TOO_DEEP),
    "20,000 arrays": (arrays(20_000), TOO_DEEP),
    "20,000 objects": (objects(20_000), TOO_DEEP),
    "20,000 arrays that never close": (b"[" * 20_000, TOO_DEEP),
}


@pytest.mark.parametrize(("body", "detail"), REFUSED.values(), ids=REFUSED)
def test_refuses(body, detail):
    assert problem(body) == detail


TAKEN = {
    "an object": (b'{"a":1}', {"a": 1}),
    "blanks around": (b' \r\n\t{"a" : [ ] }\n', {"a": []}),
    "null": (b"null", None),
    "a text": (b'"x"', "x"),
    "a number": (b"-1.5e3", -1500.0),
    "an integer of 4,000 digits": (b"1" * 4_000, int("1" * 4_000)),
    "the same name in two objects": (b'[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
    "names that differ in case": (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
    "names that differ in form": ('{"\u00e9":1,"e\u0301":2}'.encode(), {"\u00e9": 1, "e\u0301": 2}),
    "a surrogate pair": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "the character itself": ('"\U0001f600"'.encode(), "\U0001f600"),
    "a mark inside a text": ('"\ufeff"'.encode(), "\ufeff"),
    "U+0001": (b'"\\u0001"', "\x01"),
    "NaN as a text": (b'"NaN"', "NaN"),
}


@pytest.mark.parametrize(("body", "document"), TAKEN.values(), ids=TAKEN)
def test_takes(body, document):
    assert parse_json(body) == document


def test_16_levels_are_taken():
    assert MAX_DEPTH == 16
    assert json.dumps(parse_json(arrays(16))).encode() == arrays(16)
    assert problem(objects(16)) is None
    assert problem(b'{"a":[' * 8 + b"1" + b"]}" * 8) is None


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        inner,
        max_size=3,
    ),
    max_leaves=10,
)


@given(documents, st.booleans())
def test_every_ordinary_document_is_read(document, escaped):
    assert parse_json(json.dumps(document, ensure_ascii=escaped).encode()) == document


@given(st.binary(max_size=60) | st.text('[]{}":,\\u0dea1e ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    problem(body)


def depth_of(document: object) -> int:
    if isinstance(document, dict):
        document = list(document.values())
    if not isinstance(document, list):
        return 0
    return 1 + max(map(depth_of, document), default=0)


pieces = st.sampled_from(
    ['"', "\\", "\\u", "0000", "d83d", "\\ude00", "a", "1", ",", ":", "é", "\0", "[", "]", "{", "}"]
)
nested = st.integers(1, 20).map(lambda depth: "[" * depth + "]" * depth)
texts_of_pieces = st.lists(pieces, max_size=8).map(lambda some: '"' + "".join(some) + '"')
bodies = (
    st.lists(pieces | nested | texts_of_pieces, max_size=12).map("".join)
    | st.lists(nested | texts_of_pieces, max_size=4).map(lambda some: "[" + ",".join(some) + "]")
    | st.dictionaries(texts_of_pieces, nested | texts_of_pieces, max_size=4).map(
        lambda some: "{" + ",".join(f"{name}:{value}" for name, value in some.items()) + "}"
    )
)


@given(bodies.map(str.encode))
def test_what_is_looked_for_only_where_it_can_be_is_never_missed(body):
    refused = problem(body)
    if refused is None:
        document = parse_json(body)
        check_texts(document)
        assert depth_of(document) <= MAX_DEPTH
    elif refused == TOO_DEEP:
        assert depth_of(json.loads(body)) > MAX_DEPTH


@pytest.mark.parametrize("piece", [b"[]", b"{}", b"1", b'"a"', b'{"a": []}'])
def test_more_values_than_any_batch_has_are_not_read(piece: bytes):
    """Megabytes of them would keep the event loop for seconds. They are counted before it is known whether they are JSON."""
    with pytest.raises(MalformedRequestError, match="more than 250000 values"):
        parse_json(b'{"items": [' + b",".join([piece] * 2_000_000)[:7_900_000] + b"]}")


def test_the_largest_batch_is_read():
    metadata = {f"name {number}": "a, b, c" for number in range(20)}
    parts = [{"format": "track2", "ciphertext": "AAAA"}] * 8
    item = {"idempotency_key": "k", "metadata": metadata, "encrypted_payload": {"parts": parts}}
    document = {"items": [item] * 500}
    assert parse_json(json.dumps(document).encode()) == document
