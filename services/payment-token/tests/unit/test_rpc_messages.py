"""Whatever comes in as a message is read as REST reads the same in JSON, or refused as REST refuses it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.api.rest.decrypt_models import DecryptBody
from payment_token.api.rest.request_body import validated
from payment_token.api.rest.token_models import CreateTokenBody
from payment_token.api.rpc.call import Call
from payment_token.api.rpc.decrypt_messages import decrypt_body
from payment_token.api.rpc.generated.decryption_service_pb2 import DecryptRequest
from payment_token.api.rpc.generated.token_service_pb2 import CreateTokenRequest
from payment_token.api.rpc.token_messages import create_body
from payment_token.api.strict_json import parse_json
from payment_token.domain.errors import (
    CleartextCardDataError,
    InvalidFieldError,
    PaymentTokenError,
)
from tests.support.rpc import UNKNOWN_FIELD, create_message, decrypt_message

# Proto3 does not tell an empty text from none; that is a difference which the .proto files speak of.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70)
names = st.sampled_from(["m_4711", "T-1", "m\n", "4111111111111111"]) | texts
numbers = st.integers(-(2**63), 2**63 - 1)
formats = {"format": st.sampled_from(["track1", "card-json", "emv-tlv", "track9", "idtech-msr"])}
ciphertexts = {"ciphertext": st.sampled_from(["", "AA==", "AAAAAAAAAAA="])}
frames = {"frame": st.sampled_from(["AA==", "AjAyMDA=", "MDI="])}
parts = st.lists(
    st.fixed_dictionaries(ciphertexts, optional=formats)
    | st.fixed_dictionaries(frames, optional=formats)
    | st.fixed_dictionaries(frames | {"ciphertext": st.just("AA==")}, optional=formats),
    max_size=9,
)
payloads = st.fixed_dictionaries(
    {"parts": parts},
    optional={
        "scheme": st.sampled_from(["dukpt-tdes", "dukpt-aes", "device-aead", "rot13"]),
        "ksn": texts,
        "key_epoch": numbers,
        "key_variant": st.sampled_from(["data-request", "pin", "mac"]),
        "cipher": st.sampled_from(["tdes-2key", "aes-256", "des"]),
        "mode": st.sampled_from(["cbc", "gcm"]),
        "iv": st.sampled_from(["00" * 8, "fF" * 16, "0", "g" * 16]),
    },
)
creates = st.fixed_dictionaries(
    {},
    optional={
        "merchant_id": names,
        "device_id": names,
        "encrypted_payload": payloads,
        "ttl_seconds": numbers,
        "metadata": st.dictionaries(texts, texts | st.just(""), max_size=22),
    },
)
decrypts = st.fixed_dictionaries(
    {},
    optional={
        "payment_token": texts,
        "merchant_id": names,
        "purpose": st.sampled_from(["capture", "Capture"]) | texts,
        "fields": st.lists(
            st.sampled_from(["pan", "expiry", "sad", "pin"]), min_size=1, max_size=5
        ),
    },
)


def outcome(read):
    """What came of it: a request of the domain, or the error's code and text."""
    try:
        return read()
    except PaymentTokenError as error:
        return error.code, str(error)


def json_create(document):
    return validated(CreateTokenBody, parse_json(json.dumps(document).encode()))


def json_decrypt(document):
    return validated(DecryptBody, parse_json(json.dumps(document).encode()))


@given(creates)
def test_a_create_is_read_as_rest_reads_it(document):
    over_grpc = outcome(lambda: create_body(create_message(document)).to_domain("k", ""))
    assert over_grpc == outcome(lambda: json_create(document).to_domain("k", ""))


@given(decrypts)
def test_a_release_is_read_as_rest_reads_it(document):
    over_grpc = outcome(lambda: decrypt_body(decrypt_message(document)).to_domain())
    assert over_grpc == outcome(lambda: json_decrypt(document).to_domain())


@pytest.mark.parametrize(
    ("kind", "body"), [(CreateTokenRequest, create_body), (DecryptRequest, decrypt_body)]
)
@given(raw=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(kind, body, raw):
    found = outcome(lambda: body(Call(raw).read(kind)))
    assert not isinstance(found, tuple) or found[0] in ("malformed_request", "invalid_field")


@given(creates, st.integers(0, 10_000), st.integers(0, 255))
def test_a_message_with_one_byte_changed_is_read_or_refused(document, at, byte):
    raw = bytearray(create_message(document).SerializeToString() or b"\0")
    raw[at % len(raw)] = byte
    found = outcome(
        lambda: create_body(Call(bytes(raw)).read(CreateTokenRequest)).to_domain("k", "")
    )
    codes = ("malformed_request", "invalid_field", "cleartext_card_data")
    assert not isinstance(found, tuple) or found[0] in codes


def nested(field):
    """A create request with ``UNKNOWN_FIELD`` in its payload, or in the first part of that."""
    part = b"\x08\x02\x12\x01a" + (UNKNOWN_FIELD if field == "part" else b"")
    payload = b"\x42" + bytes([len(part)]) + part
    payload += UNKNOWN_FIELD if field == "payload" else b""
    return b"\x2a" + bytes([len(payload)]) + payload


@pytest.mark.parametrize("raw", [UNKNOWN_FIELD, nested("payload"), nested("part")])
def test_a_field_that_nobody_knows_is_refused_wherever_it_is(raw):
    with pytest.raises(InvalidFieldError, match="does not know") as refused:
        Call(raw).read(CreateTokenRequest)
    assert "4111" not in str(refused.value)


def test_what_nests_nothing_unknown_is_read():
    assert Call(nested("nothing")).read(CreateTokenRequest).encrypted_payload.parts


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ("worker-1", None),
        ("", None),
        ("a b", InvalidFieldError),
        ("4111111111111111", CleartextCardDataError),
    ],
)
def test_a_request_id_is_the_caller_s_if_it_is_one(given, refusal):
    call = Call(b"")
    made_up = call.request_id
    call.take_request_id(given)
    assert call.request_id == (given if given and refusal is None else made_up)
    if refusal is None:
        call.check_request_id()
    else:
        with pytest.raises(refusal):
            call.check_request_id()


def refusal_of(read):
    with pytest.raises(InvalidFieldError) as refused:
        read()
    return str(refused.value)


def test_thousands_of_parts_are_refused_as_one_too_many_is():
    """Each takes two bytes. To look at all that a batch may hold would take half a minute."""

    def create(parts):
        document = {"merchant_id": "m_1", "device_id": "T-1", "encrypted_payload": {"parts": parts}}
        return lambda: create_body(create_message(document))

    part = {"format": "track2", "ciphertext": "AAAAAAAAAAA="}
    assert refusal_of(create([part] * 30_000)) == refusal_of(create([part] * 9))


def test_thousands_of_fields_are_refused_as_one_too_many_is():
    def decrypt(fields):
        document = {"payment_token": "pt_1", "merchant_id": "m_1", "purpose": "x", "fields": fields}
        return lambda: decrypt_body(decrypt_message(document))

    assert refusal_of(decrypt(["pan"] * 60_000)) == refusal_of(decrypt(["pan"] * 5))


def test_binary_metadata_is_no_text():
    call = Call(b"", metadata=(("authorization", b"Bearer x"), ("authorization", "Bearer y")))
    assert call.values("authorization") == ["", "Bearer y"]


@pytest.mark.parametrize(("left", "seconds"), [(3.0, 2.5), (1.2, 1.0), (0.0, 0.0), (-1.0, 0.0)])
def test_a_batch_works_for_a_part_of_the_time_that_is_left(left, seconds):
    call = Call(b"", ends_at=time.monotonic() + left)
    assert call.seconds_for_items() == pytest.approx(seconds, abs=0.05)
