import dataclasses
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import (
    Cipher,
    Container,
    EncryptedPart,
    EncryptedPayload,
    KeyVariant,
    Mode,
    PartFormat,
    ReaderFrame,
    Scheme,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.keys import NamedKey
from payment_token.domain.request_fingerprint import request_fingerprint
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.tokenise_request import TokeniseRequest

KEY = NamedKey("v1", SecretKey(bytes(range(32))))
TRACK1 = EncryptedPart(PartFormat.TRACK1, b"a" * 16)
TRACK2 = EncryptedPart(PartFormat.TRACK2, b"b" * 16)
PAYLOAD = EncryptedPayload(ksn="123456789012345600ABCDEF", parts=(TRACK1, TRACK2))
REQUEST = TokeniseRequest(
    idempotency_key="key-1",
    merchant_id=MerchantId("m_4711"),
    device_id=DeviceId("IDT-0042"),
    payload=PAYLOAD,
    ttl_seconds=86400,
    metadata={"order": "A-100", "till": "7"},
)


def frame(container: Container, message: bytes) -> dict[str, object]:
    return {"parts": (), "frame": ReaderFrame(container, SensitiveBytes(message))}


REQUEST_CHANGES = {
    "merchant": {"merchant_id": MerchantId("m_4712")},
    "device": {"device_id": DeviceId("IDT-0043")},
    "text moved from device to merchant": {
        "merchant_id": MerchantId("m_4711I"),
        "device_id": DeviceId("DT-0042"),
    },
    "life": {"ttl_seconds": 86401},
    "default life": {"ttl_seconds": None},
    "metadata value": {"metadata": {"order": "A-101", "till": "7"}},
    "metadata name": {"metadata": {"orders": "A-100", "till": "7"}},
    "metadata more": {"metadata": {"order": "A-100", "till": "7", "x": ""}},
    "metadata less": {"metadata": {"order": "A-100"}},
    "no metadata": {"metadata": {}},
    "metadata names and values exchanged": {"metadata": {"A-100": "order", "7": "till"}},
    "text moved from name to value": {"metadata": {"orde": "rA-100", "till": "7"}},
}
PAYLOAD_CHANGES = {
    "KSN": {"ksn": "123456789012345600ABCDEE"},
    "scheme": {"scheme": Scheme.DUKPT_AES},
    "key variant": {"key_variant": KeyVariant.DATA_REQUEST},
    "cipher": {"cipher": Cipher.AES_128},
    "mode": {"mode": Mode.CBC},
    "zero IV": {"iv": bytes(16)},
    "IV": {"iv": bytes(range(16))},
    "parts in another order": {"parts": (TRACK2, TRACK1)},
    "one part": {"parts": (TRACK1,)},
    "a part twice": {"parts": (TRACK1, TRACK2, TRACK2)},
    "a part's format": {"parts": (TRACK1, EncryptedPart(PartFormat.TRACK3, b"b" * 16))},
    "a part's ciphertext": {"parts": (TRACK1, EncryptedPart(PartFormat.TRACK2, b"b" * 15 + b"c"))},
    "bytes moved between parts": {
        "parts": (
            EncryptedPart(PartFormat.TRACK1, b"a" * 16 + b"b"),
            EncryptedPart(PartFormat.TRACK2, b"b" * 15),
        )
    },
    "a message": frame(Container.IDTECH_MSR, b"a" * 16),
    "a message of another reader": frame(Container.MAGTEK_SWIPE, b"a" * 16),
    "another message": frame(Container.IDTECH_MSR, b"a" * 15 + b"b"),
}


def fingerprint(request: TokeniseRequest = REQUEST, key: NamedKey = KEY) -> bytes:
    return request_fingerprint(request, key)


def of_payload(**changes: object) -> TokeniseRequest:
    return dataclasses.replace(REQUEST, payload=dataclasses.replace(PAYLOAD, **changes))


DIFFERENT = {name: dataclasses.replace(REQUEST, **c) for name, c in REQUEST_CHANGES.items()} | {
    name: of_payload(**changes) for name, changes in PAYLOAD_CHANGES.items()
}


@pytest.mark.parametrize("request_", DIFFERENT.values(), ids=DIFFERENT)
def test_another_request_has_another_fingerprint(request_):
    assert fingerprint(request_) != fingerprint()


def test_no_two_of_them_share_one():
    fingerprints = {fingerprint(request) for request in DIFFERENT.values()} | {fingerprint()}
    assert len(fingerprints) == len(DIFFERENT) + 1


SAME = {
    "the same again": dataclasses.replace(REQUEST),
    "metadata in another order": dataclasses.replace(
        REQUEST, metadata={"till": "7", "order": "A-100"}
    ),
    "a KSN in lower case": of_payload(ksn="123456789012345600abcdef"),
    "another idempotency key": dataclasses.replace(REQUEST, idempotency_key="key-2"),
}


@pytest.mark.parametrize("request_", SAME.values(), ids=SAME)
def test_the_same_request_has_the_same_fingerprint(request_):
    """The idempotency key is where the fingerprint is kept, not part of it."""
    assert fingerprint(request_) == fingerprint()


def test_it_is_keyed():
    assert fingerprint(key=NamedKey("v1", SecretKey(bytes(32)))) != fingerprint()
    assert len(fingerprint()) == 32


def test_the_name_of_the_key_is_kept_beside_it():
    assert fingerprint(key=NamedKey("v2", KEY.key)) == fingerprint()


def test_the_message_is_what_stored_fingerprints_were_made_of():
    """Fingerprints outlive a release: another message would turn every retry into a conflict."""
    fields = (
        b"payment-token/request-fingerprint/v1",
        b"m_4711",
        b"IDT-0042",
        b"86400",
        b"123456789012345600ABCDEF",
        b"None",
        b"None",
        b"None",
        b"cbc",
        b"iv" + bytes(16),
        b"2",
        b"track1",
        b"a" * 16,
        b"track2",
        b"b" * 16,
        b"order",
        b"A-100",
        b"till",
        b"7",
    )
    message = b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    expected = hmac.digest(bytes(range(32)), message, "sha256")
    assert fingerprint(of_payload(mode=Mode.CBC, iv=bytes(16))) == expected


metadata = st.dictionaries(st.text("abc\u00e9", min_size=1, max_size=3), st.text("abc", max_size=3))


@given(metadata, metadata)
def test_metadata_is_told_apart_whatever_it_holds(one, other):
    first, second = (dataclasses.replace(REQUEST, metadata=given) for given in (one, other))
    assert (fingerprint(first) == fingerprint(second)) is (one == other)
