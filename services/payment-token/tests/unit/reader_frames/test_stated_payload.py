"""What a reader's message states, and what the request beside it may say."""

from dataclasses import replace

import pytest

from payment_token.domain.device_payload import (
    Cipher,
    Container,
    EncryptedPart,
    EncryptedPayload,
    KeyVariant,
    PartFormat,
    ReaderFrame,
    Scheme,
)
from payment_token.domain.errors import CleartextCardDataError, InvalidFieldError
from payment_token.domain.reader_frames.stated_payload import stated_payload
from payment_token.domain.sensitive import SensitiveBytes
from tests.support.reader_frames import TRACK1, IDTECHSwipe, MagTekSwipe, published

MAGTEK = "magtek-kb-string-08"
KSN = "FFFF9876543210E00008"


def payload(container=Container.MAGTEK_SWIPE, frame=None, **stated) -> EncryptedPayload:
    if frame is None:
        frame, _ = published(MAGTEK)
    return EncryptedPayload((), frame=ReaderFrame(container, SensitiveBytes(frame)), **stated)


def refused_field(sent: EncryptedPayload) -> tuple[str, str]:
    with pytest.raises(InvalidFieldError) as refusal:
        stated_payload(sent)
    return refusal.value.field, refusal.value.detail.removeprefix(f"{refusal.value.field}: ")


def test_parts_state_what_the_request_says():
    parts = EncryptedPayload((EncryptedPart(PartFormat.TRACK2, bytes(40)),), ksn=KSN)
    stated = stated_payload(parts)
    assert (stated.payload, stated.frame) == (parts, None)


def test_a_message_states_its_ksn_and_how_it_is_encrypted():
    found = stated_payload(payload()).payload

    assert found.ksn == KSN
    assert found.scheme is Scheme.DUKPT_TDES
    assert (found.cipher, found.key_variant) == (Cipher.TDES_2KEY, KeyVariant.PIN)
    assert (found.mode, found.iv) == (None, None)


@pytest.mark.parametrize("ksn", [KSN, KSN.lower(), KSN.removeprefix("FFFF")])
def test_a_request_that_agrees(ksn):
    sent = payload(
        ksn=ksn,
        scheme=Scheme.DUKPT_TDES,
        cipher=Cipher.TDES_2KEY,
        key_variant=KeyVariant.PIN,
    )
    assert stated_payload(sent).payload.ksn == KSN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ksn", "FFFF9876543210E00009"),
        ("ksn", "FFFF9876543210E0000"),
        ("ksn", ""),
        ("ksn", "4111111111111111"),
        ("scheme", Scheme.DUKPT_AES),
        ("scheme", Scheme.DEVICE_AEAD),
        ("cipher", Cipher.AES_128),
        ("key_variant", KeyVariant.DATA_REQUEST),
    ],
)
def test_a_request_that_differs(name, value):
    assert refused_field(payload(**{name: value})) == (
        f"encrypted_payload.{name}",
        "differs from what the frame states",
    )


def test_what_a_message_does_not_state_is_the_request_s():
    # The original layout of ID TECH names neither cipher nor variant.
    frame, _ = published("idtech-original-01")
    sent = payload(Container.IDTECH_MSR, frame, cipher=Cipher.AES_128, key_variant=KeyVariant.PIN)
    found = stated_payload(sent).payload
    assert (found.cipher, found.key_variant) == (Cipher.AES_128, KeyVariant.PIN)


@pytest.mark.parametrize(
    ("container", "frame"),
    [
        (Container.IDTECH_MSR, published(MAGTEK)[0]),
        (Container.MAGTEK_SWIPE, published("idtech-enhanced-03")[0]),
        (Container.MAGTEK_SWIPE, published("idtech-enhanced-03")[0].hex().encode()),
    ],
)
def test_a_message_of_another_container(container, frame):
    field, _ = refused_field(payload(container, frame))
    assert field == "encrypted_payload.parts.frame"


class Unencrypted(IDTECHSwipe):
    def _encrypted(self, clear: bytes) -> bytes:
        return clear + bytes(-len(clear) % 8)


@pytest.mark.parametrize(
    ("container", "frame"),
    [
        (Container.IDTECH_MSR, Unencrypted().original()),
        (Container.IDTECH_MSR, Unencrypted().enhanced()),
        (
            Container.MAGTEK_SWIPE,
            replace(MagTekSwipe(), crc="")
            .text()
            .replace(
                MagTekSwipe().encrypted(TRACK1).encode(),
                (TRACK1 + bytes(-len(TRACK1) % 8)).hex().upper().encode(),
            ),
        ),
    ],
)
def test_a_reader_that_says_that_it_encrypts_and_does_not(container, frame):
    with pytest.raises(CleartextCardDataError):
        stated_payload(payload(container, frame))
