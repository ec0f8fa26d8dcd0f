import dataclasses
import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing import Binding, Purpose, SealedRecord, open_record, seal
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.token_id import TokenId
from tests.vectors.make_sealed_record_vector import FILE, binding_of, document, key_of

RECORDS = json.loads(FILE.read_text("ascii"))["records"]
PLAINTEXT = SensitiveBytes(b'{"pan":"4111111111111111"}')
KEY = NamedKey("v1", SecretKey(bytes(range(32))))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS_AT = datetime(2026, 7, 2, 12, 0, 0, 123456, tzinfo=UTC)
TOKEN_ID = TokenId.new(bytes(16), ENDS_AT)
BINDING = Binding(Purpose.PAN, MerchantId("m_4711"), TOKEN_ID, "production", ENDS_AT)

every_record = pytest.mark.parametrize("record", RECORDS, ids=[r["id"] for r in RECORDS])


def opened(raw: bytes, key: NamedKey = KEY, binding: Binding = BINDING) -> SensitiveBytes:
    return open_record(SealedRecord.from_bytes(raw), key, binding)


def refusal(raw: bytes, key: NamedKey = KEY, binding: Binding = BINDING) -> str | None:
    """``None`` when the record opens. A refusal shows nothing, and holds on to nothing that does."""
    error = None
    try:
        opened(raw, key, binding)
    except RecordIntegrityFailureError as raised:
        error = raised
    if error is None:
        return None
    assert error.__context__ is None
    assert error.__cause__ is None
    assert error.args == (RecordIntegrityFailureError.default_detail,)
    return error.code


def sealed(binding: Binding = BINDING, key: NamedKey = KEY) -> bytes:
    return seal(PLAINTEXT, key, binding, os.urandom)


# --- The format, made a second time from its description alone ------------------------------------------------------


def of_length(*fields: bytes) -> bytes:
    return b"".join(bytes(divmod(len(field), 256)) + field for field in fields)


def independently_sealed(record: dict[str, str]) -> bytes:
    value = {name: bytes.fromhex(record[name]) for name in ("key", "dek", "salt", "plaintext")}
    wrap_nonce = bytes.fromhex(record["wrap_nonce"])
    payload_nonce = bytes.fromhex(record["payload_nonce"])
    purpose, key_name = record["purpose"].encode(), record["key_name"].encode()
    since_1970 = datetime.fromisoformat(record["ends_at"]) - EPOCH
    microseconds = (
        since_1970.days * 86400 + since_1970.seconds
    ) * 1_000_000 + since_1970.microseconds
    row = (
        purpose,
        record["merchant_id"].encode(),
        record["token_id"].encode(),
        record["environment"].encode(),
        microseconds.to_bytes(8, "big"),
    )
    label = b"payment-token/sealed-record/v1"
    wrapping_key = HKDFExpand(SHA256(), 32, value["salt"] + purpose).derive(value["key"])
    return b"".join(
        (
            b"\x01",
            {b"pan": b"\x01", b"sad": b"\x02"}[purpose],
            bytes([len(key_name)]),
            key_name,
            value["salt"],
            wrap_nonce,
            AESGCM(wrapping_key).encrypt(
                wrap_nonce, value["dek"], of_length(label, b"wrap", *row, key_name)
            ),
            payload_nonce,
            AESGCM(value["dek"]).encrypt(
                payload_nonce, value["plaintext"], of_length(label, b"payload", *row)
            ),
        )
    )


@every_record
def test_two_implementations_seal_the_same_bytes(record):
    assert independently_sealed(record).hex() == record["sealed"]


def test_the_script_writes_the_vector_file():
    assert document()["records"] == RECORDS


@every_record
def test_a_record_of_the_vector_file_opens(record):
    plaintext = opened(bytes.fromhex(record["sealed"]), key_of(record), binding_of(record))
    assert plaintext.reveal().hex() == record["plaintext"]


@every_record
def test_each_field_stands_where_the_table_says(record):
    raw, n = bytes.fromhex(record["sealed"]), len(record["key_name"])
    assert raw[0] == 0x01
    assert raw[1] == {"pan": 0x01, "sad": 0x02}[record["purpose"]]
    assert raw[2] == n
    assert raw[3 : 3 + n] == record["key_name"].encode("ascii")
    rest = raw[3 + n :]
    assert rest[:16].hex() == record["salt"]
    assert rest[16:28].hex() == record["wrap_nonce"]
    assert len(rest[28:76]) == len(bytes.fromhex(record["dek"])) + 16
    assert rest[76:88].hex() == record["payload_nonce"]
    assert len(rest[88:]) == len(bytes.fromhex(record["plaintext"])) + 16


@every_record
def test_a_record_is_parsed_into_the_bytes_that_it_came_from(record):
    raw = bytes.fromhex(record["sealed"])
    assert SealedRecord.from_bytes(raw).to_bytes() == raw


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_refused(raw):
    try:
        record = SealedRecord.from_bytes(raw)
    except RecordIntegrityFailureError:
        return
    assert record.to_bytes() == raw


# --- Sealing and opening --------------------------------------------------------------------------------------------

names = st.text(st.characters(min_codepoint=0, max_codepoint=127), min_size=1, max_size=64)
times = st.timedeltas(timedelta(0), timedelta(days=65_000)).map(EPOCH.__add__)
bindings = st.builds(
    Binding,
    purpose=st.sampled_from(Purpose),
    merchant_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True),
    token_id=st.builds(TokenId.new, st.binary(min_size=16, max_size=16), times),
    environment=st.sampled_from(["development", "production"]),
    ends_at=times,
)
secret_keys = st.binary(min_size=32, max_size=32).map(SecretKey)


@given(st.binary(max_size=3000).map(SensitiveBytes), names, secret_keys, bindings)
def test_what_is_sealed_opens(plaintext, name, secret, binding):
    key = NamedKey(name, secret)
    assert opened(seal(plaintext, key, binding, os.urandom), key, binding) == plaintext


def test_two_records_of_one_plaintext_have_nothing_in_common():
    one, other = SealedRecord.from_bytes(sealed()), SealedRecord.from_bytes(sealed())
    for field in ("salt", "wrap_nonce", "wrapped_dek", "payload_nonce", "payload"):
        assert getattr(one, field) != getattr(other, field)


def test_a_record_shows_nothing_of_its_plaintext():
    raw = sealed()
    assert b"4111" not in raw
    assert "4111" not in repr(SealedRecord.from_bytes(raw))
    assert "4111" not in repr(opened(raw))


def test_the_same_instant_in_another_zone_opens():
    elsewhere = ENDS_AT.astimezone(timezone(timedelta(hours=-7)))
    assert opened(sealed(), binding=dataclasses.replace(BINDING, ends_at=elsewhere)) == PLAINTEXT


# --- Nothing else opens ---------------------------------------------------------------------------------------------

CODE = "record_integrity_failure"


@every_record
def test_any_flipped_bit_fails(record):
    raw, key, binding = bytes.fromhex(record["sealed"]), key_of(record), binding_of(record)
    for place in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        assert refusal(bytes(flipped), key, binding) == CODE


@every_record
def test_truncated_at_any_length_fails(record):
    raw, key, binding = bytes.fromhex(record["sealed"]), key_of(record), binding_of(record)
    for length in range(len(raw)):
        assert refusal(raw[:length], key, binding) == CODE


@every_record
def test_anything_behind_it_fails(record):
    raw, key, binding = bytes.fromhex(record["sealed"]), key_of(record), binding_of(record)
    assert refusal(raw + b"\0", key, binding) == CODE


CHANGES = {
    "purpose": {"purpose": Purpose.SAD},
    "merchant": {"merchant_id": MerchantId("m_4712")},
    "token": {"token_id": TokenId.new(bytes(15) + b"\1", ENDS_AT)},
    "environment": {"environment": "development"},
    "a microsecond later": {"ends_at": ENDS_AT + timedelta(microseconds=1)},
    "a microsecond earlier": {"ends_at": ENDS_AT - timedelta(microseconds=1)},
    "text moved between merchant and token": {
        "merchant_id": MerchantId("m_4711p"),
        "token_id": dataclasses.replace(TOKEN_ID, text=TOKEN_ID.text[1:]),
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_of_another_row_fails(change):
    raw = sealed()
    assert refusal(raw) is None
    assert refusal(raw, binding=dataclasses.replace(BINDING, **change)) == CODE


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - {"purpose"}))
def test_each_layer_is_bound_to_the_row_on_its_own(name):
    """A DEK wrapped for one row, with the payload of another, opens neither: whoever swaps one layer gains nothing."""
    moved = dataclasses.replace(BINDING, **CHANGES[name])
    one = SealedRecord.from_bytes(seal(PLAINTEXT, KEY, BINDING, bytes))
    other = SealedRecord.from_bytes(seal(PLAINTEXT, KEY, moved, bytes))
    assert one.wrapped_dek != other.wrapped_dek
    assert one.payload != other.payload
    mixed = dataclasses.replace(one, payload=other.payload).to_bytes()
    for binding in (BINDING, moved):
        assert refusal(mixed, binding=binding) == CODE


def test_another_key_of_the_same_name_fails():
    assert refusal(sealed(), NamedKey("v1", SecretKey(bytes(32)))) == CODE


def test_the_same_key_under_another_name_fails():
    assert refusal(sealed(), NamedKey("v2", KEY.key)) == CODE


def test_a_renamed_record_fails_even_with_the_same_key():
    record = dataclasses.replace(SealedRecord.from_bytes(sealed()), key_name="v2")
    assert refusal(record.to_bytes(), NamedKey("v2", KEY.key)) == CODE


def test_a_payload_keeps_its_associated_data_when_its_dek_is_wrapped_anew():
    """The payload names no key, so that a new wrap under another version leaves it as it is."""
    records = [
        SealedRecord.from_bytes(seal(PLAINTEXT, key, BINDING, bytes))
        for key in (KEY, NamedKey("v2", SecretKey(bytes(32))))
    ]
    assert records[0].payload == records[1].payload
    assert records[0].wrapped_dek != records[1].wrapped_dek


def test_a_pan_key_does_not_open_a_sad_record():
    of_sad = dataclasses.replace(BINDING, purpose=Purpose.SAD)
    raw = sealed(of_sad)
    relabelled = dataclasses.replace(SealedRecord.from_bytes(raw), purpose=Purpose.PAN).to_bytes()
    epoch_key = NamedKey("v1", SecretKey(os.urandom(32)))

    assert refusal(raw) == CODE
    assert refusal(relabelled) == CODE
    assert refusal(sealed(of_sad, epoch_key), KEY, of_sad) == CODE
    assert refusal(sealed(), KEY, of_sad) == CODE


def test_the_purpose_picks_the_wrapping_key():
    """The same key, salt and nonce wrap a DEK under unrelated keys: GCM's key stream tells them apart."""
    wraps = []
    for purpose in Purpose:
        binding = dataclasses.replace(BINDING, purpose=purpose)
        record = SealedRecord.from_bytes(seal(PLAINTEXT, KEY, binding, bytes))
        wraps.append(record.wrapped_dek[:32])
    assert wraps[0] != wraps[1]


MALFORMED = {
    "nothing": "",
    "version 0": "00 01 02 7631" + "00" * 120,
    "version 2": "02 01 02 7631" + "00" * 120,
    "purpose 0": "01 00 02 7631" + "00" * 120,
    "purpose 3": "01 03 02 7631" + "00" * 120,
    "no key name": "01 01 00" + "00" * 120,
    "key name of 65": "01 01 41" + "76" * 65 + "00" * 120,
    "key name of 255": "01 01 FF" + "76" * 255 + "00" * 120,
    "key name not ASCII": "01 01 02 76C3" + "00" * 120,
    "payload shorter than its tag": "01 01 02 7631" + "00" * (16 + 12 + 48 + 12 + 15),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_this_service_did_not_write_is_refused_unopened(text):
    with pytest.raises(RecordIntegrityFailureError):
        SealedRecord.from_bytes(bytes.fromhex(text))
    assert refusal(bytes.fromhex(text)) == CODE


def test_the_shortest_record_is_one_of_an_empty_plaintext():
    text = "01 01 02 7631" + "00" * (16 + 12 + 48 + 12 + 16)
    assert SealedRecord.from_bytes(bytes.fromhex(text)).payload == bytes(16)
