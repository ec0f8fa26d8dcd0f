"""No way of showing a value by accident shows it."""

import copy
import dataclasses
import hmac
import io
import json
import logging
import marshal
import pickle
import pprint
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payment_token.domain.sensitive import SecretKey, Sensitive, SensitiveBytes, SensitiveText

SECRET = "4111111111111111"
VALUES = [SensitiveText(SECRET), SensitiveBytes(SECRET.encode()), SecretKey(SECRET.encode())]

every_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@dataclasses.dataclass(frozen=True)
class Holder:
    name: str
    value: Sensitive


def hides(text: str) -> bool:
    return "4111" not in text and SECRET.encode().hex() not in text and "16" not in text


TEXTS = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "format with a specification": lambda value: format(value, ">40s"),
    "format with a precision": lambda value: f"{value:.8}",
    "f-string": lambda value: f"{value}",
    "f-string of its repr": lambda value: f"{value!r}",
    "f-string that names it": lambda value: f"{value=}",
    "str.format": "{}".format,
    "%s": lambda value: "%s" % value,  # noqa: UP031
    "%r": lambda value: "%r" % value,  # noqa: UP031
    "pprint": pprint.pformat,
    "in a list": lambda value: str([value]),
    "in a dict": lambda value: str({"pan": value}),
    "in a dataclass": lambda value: repr(Holder("name", value)),
    "as an exception's argument": lambda value: repr(ValueError(value)),
    "as an exception's text": lambda value: str(ValueError(value)),
    "JSON with default=str": lambda value: json.dumps({"pan": value}, default=str),
    "JSON with default=repr": lambda value: json.dumps({"pan": value}, default=repr),
}


@every_value
@pytest.mark.parametrize("show", TEXTS.values(), ids=TEXTS)
def test_no_text_shows_content_or_length(value, show):
    assert hides(show(value))
    assert "hidden" in show(value)


@every_value
def test_the_text_is_the_same_for_every_value(value):
    assert repr(value) == repr(type(value)(value.reveal() * 3))


@every_value
def test_no_log_line_shows_it(value):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    record = logging.LogRecord("x", logging.INFO, "x", 1, "got %s and %r", (value, value), None)
    handler.handle(record)
    assert hides(stream.getvalue().replace("got", ""))
    assert stream.getvalue().count("hidden") == 2


@every_value
def test_no_traceback_with_locals_shows_it(value):
    def fails(secret: Sensitive) -> None:
        holder = Holder("name", secret)
        raise ValueError(holder)

    with pytest.raises(ValueError, match="hidden") as failure:
        fails(value)
    shown = "".join(
        traceback.TracebackException.from_exception(failure.value, capture_locals=True).format()
    )
    assert "secret = <" in shown
    assert "4111" not in shown
    assert SECRET.encode().hex() not in shown


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a holder": lambda value: copy.deepcopy(Holder("name", value)),
    "deepcopy of a list": lambda value: copy.deepcopy([value]),
    "dataclasses.asdict": lambda value: dataclasses.asdict(Holder("name", value)),
    "dataclasses.astuple": lambda value: dataclasses.astuple(Holder("name", value)),
    "pickle of a holder": lambda value: pickle.dumps(Holder("name", value)),
    "JSON": json.dumps,
    "JSON of a dict": lambda value: json.dumps({"pan": value}),
    "hash": hash,
    "a set": lambda value: {value},
    "a dict's key": lambda value: {value: 1},
    "hash of a holder": lambda value: hash(Holder("name", value)),
    "vars": vars,
    "dict": dict,
    "len": len,
    "iteration": list,
    "index": lambda value: value[0],
    "concatenation": lambda value: value + value,
    "order": lambda value: value < value,  # noqa: PLR0124
    "membership": lambda value: "4" in value,
    "bytes": bytes,
    "int": int,
    "buffer": memoryview,
    "join": lambda value: "".join(iter([value])),
}


@every_value
@pytest.mark.parametrize("take", COPIES.values(), ids=COPIES)
def test_nothing_copies_or_reads_it_by_accident(value, take):
    with pytest.raises(TypeError) as refusal:
        take(value)
    assert hides(str(refusal.value))


@every_value
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_pickles_it(value, protocol):
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(value, protocol)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps({"pan": [value]}, protocol)


@every_value
def test_marshal_refuses_it(value):
    with pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(value)


@every_value
def test_it_has_no_dict_to_look_into(value):
    assert not hasattr(value, "__dict__")
    with pytest.raises(AttributeError):
        value.note = "x"


@every_value
def test_reveal_is_the_way(value):
    assert value.reveal() in (SECRET, SECRET.encode())


@given(st.binary(), st.binary())
@example(b"", b"\0")
def test_bytes_are_equal_when_their_values_are(one, other):
    assert (SensitiveBytes(one) == SensitiveBytes(other)) is (one == other)
    assert (SensitiveBytes(one) != SensitiveBytes(other)) is (one != other)
    assert SensitiveBytes(one) == SensitiveBytes(bytes(bytearray(one)))


@given(st.text(), st.text())
@example("\ud800", "\ud801")
@example("\u00e9", "e\u0301")
def test_texts_are_equal_when_their_values_are(one, other):
    assert (SensitiveText(one) == SensitiveText(other)) is (one == other)
    assert SensitiveText(one) == SensitiveText("".join(list(one)))


@every_value
def test_it_equals_nothing_of_another_type(value):
    others = [SECRET, SECRET.encode(), None, 0, *(v for v in VALUES if type(v) is not type(value))]
    for other in others:
        assert value != other
        assert other != value


def test_equality_compares_in_constant_time(monkeypatch):
    compared = []
    digest = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda *given: compared.append(given) or digest(*given)
    )
    assert SecretKey(b"a" * 16) != SecretKey(b"a" * 15 + b"b")
    assert compared == [(b"a" * 16, b"a" * 15 + b"b")]


# --- Keys that are wiped --------------------------------------------------------------------------------------------


def test_a_wiped_key_holds_zeros_and_gives_none():
    """Zeros must never be taken for a key."""
    key = SecretKey(b"\xa5" * 32)
    held = key._value
    key.wipe()
    assert held == bytes(32)
    with pytest.raises(ValueError, match="this key was wiped"):
        key.reveal()
    key.wipe()
    assert hides(repr(key))


def test_wiping_reaches_neither_the_bytes_that_made_it_nor_what_was_revealed():
    """They are copies, which is why nobody may promise that a key is gone from memory."""
    made_of = b"\xa5" * 32
    key = SecretKey(made_of)
    revealed = key.reveal()
    key.wipe()
    assert made_of == revealed == b"\xa5" * 32


def test_a_key_is_not_changed_through_what_it_was_made_of_or_gave():
    source = bytearray(b"\xa5" * 16)
    key = SecretKey(bytes(source))
    source[0] = 0
    assert key.reveal() == b"\xa5" * 16
    assert isinstance(key.reveal(), bytes)


def test_wiped_keys_of_other_lengths_still_differ_and_of_one_length_are_alike():
    one, other, longer = SecretKey(b"a" * 16), SecretKey(b"b" * 16), SecretKey(b"a" * 32)
    assert one != other
    for key in (one, other, longer):
        key.wipe()
    assert one == other
    assert one != longer
