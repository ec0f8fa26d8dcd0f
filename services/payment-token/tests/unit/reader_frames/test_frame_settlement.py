"""Whole messages through the use case: whose container is taken, and what becomes of a MAC."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from payment_token.domain.card_data import CardChecksPolicy
from payment_token.domain.decrypt_payload import DecryptPayload
from payment_token.domain.device_keys import DeviceKeys
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
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN, initial_key, tdes
from payment_token.domain.dukpt.retail_mac import retail_mac
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    DeviceState,
)
from payment_token.domain.errors import (
    BadKSNError,
    DecryptionFailedError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
)
from payment_token.domain.identifiers import DeviceId
from payment_token.domain.payload_cipher import encrypt
from payment_token.domain.reader_frames.opened_frame import ClearParts, FrameMAC, OpenedFrame
from payment_token.domain.reader_frames.stated_payload import StatedPayload
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.settled_payload import settle_payload
from payment_token.domain.tokenise_request import TokeniseRequest
from tests.support.reader_frames import (
    KSN_TEXT,
    TRACK2,
    IDTECHSwipe,
    MagTekSwipe,
    working_key,
)
from tests.support.use_cases import BDK_KEY, MERCHANT, RULES, World

BDK = BaseDerivationKey(
    "b_1", "local:b_1", BDKAlgorithm.TDES_2KEY, is_default=True, allow_pin_variant=True
)
IDTECH = IDTECHSwipe(bdk=BDK_KEY)
MAGTEK = MagTekSwipe(bdk=BDK_KEY)
MESSAGES = {
    Container.IDTECH_MSR: IDTECH.enhanced(),
    Container.MAGTEK_SWIPE: MAGTEK.text(),
}
LENIENT = replace(RULES, card_checks=CardChecksPolicy.LENIENT)
PRODUCTION = replace(LENIENT, profile_required=True)
each_container = pytest.mark.parametrize("container", MESSAGES)


def world(profile: DeviceProfile | None = None, *, production: bool = False) -> World:
    bdk = replace(BDK, profile=profile or DeviceProfile())
    return World(rules=PRODUCTION if production else LENIENT, bdk=bdk)


def request(container: Container, frame: bytes | None = None, **stated: object) -> TokeniseRequest:
    message = ReaderFrame(container, SensitiveBytes(frame or MESSAGES[container]))
    return sent(EncryptedPayload((), frame=message, **stated))


def sent(payload: EncryptedPayload) -> TokeniseRequest:
    return TokeniseRequest(uuid.uuid4().hex, MERCHANT, DeviceId("d"), payload, None, {})


def parts() -> TokeniseRequest:
    key = working_key(KSN_TEXT, KeyVariant.DATA_REQUEST, Cipher.TDES_2KEY, BDK_KEY)
    clear = SensitiveBytes(TRACK2 + bytes(-len(TRACK2) % 8))
    ciphertext = encrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, clear)
    return sent(
        EncryptedPayload(
            (EncryptedPart(PartFormat.TRACK2, ciphertext),), ksn=KSN_TEXT, scheme=Scheme.DUKPT_TDES
        )
    )


async def refusal(of: World, of_request: TokeniseRequest) -> tuple[str, str]:
    with pytest.raises(InvalidFieldError) as refused:
        await of.tokenise(of_request)
    return refused.value.field, refused.value.detail.removeprefix(f"{refused.value.field}: ")


# --- Containers ------------------------------------------------------------------------------------------------------


@each_container
async def test_in_development_the_request_chooses(container):
    card = (await world().tokenise(request(container))).token.card
    assert (card.bin, card.last4, card.entry_mode.value) == ("411111", "1111", "swipe")


@each_container
@pytest.mark.parametrize("production", [False, True])
async def test_the_container_of_the_profile(container, production):
    profile = DeviceProfile(container=container, key_variant=None)
    if container is Container.MAGTEK_SWIPE:
        profile = replace(profile, key_variant=KeyVariant.PIN)
    token = (await world(profile, production=production).tokenise(request(container))).token
    assert token.card.last4 == "1111"


@pytest.mark.parametrize("production", [False, True])
async def test_another_container_or_parts(production):
    deployed = world(DeviceProfile(container=Container.IDTECH_MSR), production=production)
    rule = "must be one part with a frame of the device's profile: idtech-msr"

    for other in (request(Container.MAGTEK_SWIPE), parts()):
        assert await refusal(deployed, other) == ("encrypted_payload.parts", rule)


async def test_a_profile_without_a_container_takes_parts_only():
    field, rule = await refusal(world(production=True), request(Container.IDTECH_MSR))

    assert field == "encrypted_payload.parts"
    assert rule.startswith("must be parts that each have a ciphertext")
    assert (await world(production=True).tokenise(parts())).token.card.last4 == "1111"


async def test_a_message_that_states_another_variant_than_the_profile():
    deployed = world(DeviceProfile(container=Container.MAGTEK_SWIPE), production=True)
    assert await refusal(deployed, request(Container.MAGTEK_SWIPE)) == (
        "encrypted_payload.key_variant",
        "differs from the device's profile",
    )


async def test_a_key_that_does_not_allow_the_pin_variant():
    deployed = world()
    deployed.bdk = replace(BDK, allow_pin_variant=False)
    field, _ = await refusal(deployed, request(Container.MAGTEK_SWIPE))
    assert field == "encrypted_payload.key_variant"


async def test_device_aead_has_no_messages():
    deployed = world()
    deployed.bdk = BaseDerivationKey("b_1", "local:b_1", BDKAlgorithm.DEVICE_AEAD)
    deployed.device = Device(MERCHANT, DeviceId("d"), "b_1", DeviceState.ACTIVE)
    assert await refusal(deployed, request(Container.IDTECH_MSR)) == (
        "encrypted_payload.parts.frame",
        "a device-aead terminal sends parts, each with a ciphertext",
    )


async def test_a_container_that_is_not_read_yet():
    field, _ = await refusal(world(), request(Container.MIURA_TLV, b"x"))
    assert field == "encrypted_payload.parts.format"


async def test_a_ksn_that_no_terminal_sends():
    for impossible in ("62994901190000000000", "629949011900001FFFFF"):
        frame = replace(IDTECH, ksn=impossible).enhanced()
        with pytest.raises(BadKSNError):
            await world().tokenise(request(Container.IDTECH_MSR, frame))


async def test_a_key_epoch_beside_a_message():
    field, _ = await refusal(world(), request(Container.IDTECH_MSR, key_epoch=1))
    assert field == "encrypted_payload.key_epoch"


async def test_the_aes_of_id_tech():
    frame = replace(IDTECH, cipher=Cipher.AES_128).enhanced()
    assert (await world().tokenise(request(Container.IDTECH_MSR, frame))).token.card.last4 == "1111"


@each_container
async def test_a_retry(container):
    deployed, first = world(), request(container)
    token = (await deployed.tokenise(first)).token

    again = await deployed.tokenise(first)

    assert again.replayed
    assert again.token == token
    # Another swipe, even of the same card, is another request.
    other = replace(IDTECH, ksn="62994901190000000004").enhanced()
    if container is Container.MAGTEK_SWIPE:
        other = replace(MAGTEK, ksn="62994901190000000004").text()
    with pytest.raises(IdempotencyKeyReusedError):
        await deployed.tokenise(
            replace(first, payload=request(container, other).payload),
        )


# --- MACs ------------------------------------------------------------------------------------------------------------

MESSAGE = SensitiveBytes(b"all of a message but its MAC")


def as_track2(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
    return [(PartFormat.TRACK2, plaintexts[0])]


def macked(mac: FrameMAC) -> StatedPayload:
    (part,) = parts().payload.parts
    opened = OpenedFrame(KSN_TEXT, (part.ciphertext,), as_track2, mac=mac)
    frame = ReaderFrame(Container.MAGTEK_EMV, MESSAGE)
    return StatedPayload(EncryptedPayload((), ksn=KSN_TEXT, frame=frame), opened)


def right_mac(ksn: str = KSN_TEXT, mask: bytes = tdes.MAC_REQUEST_MASK) -> bytes:
    number = KSN.from_hex(ksn, Scheme.DUKPT_TDES)
    transaction = tdes.transaction_key(initial_key(BDK_KEY, number), number)
    return retail_mac(tdes.variant_key(transaction, mask), MESSAGE)


async def decrypted(mac: FrameMAC, bdk: BaseDerivationKey = BDK) -> ClearParts:
    deployed = world()
    settled = settle_payload(parts(), macked(mac), bdk, None, profile_required=False)
    keys = DeviceKeys(deployed, lambda: 0.0, lambda: 0.5)
    return await DecryptPayload(keys, deployed, deployed.cryptography)(settled)


@pytest.mark.parametrize("length", [4, 5, 8])
async def test_a_right_mac(length):
    ((part_format, clear),) = await decrypted(FrameMAC(KSN_TEXT, MESSAGE, right_mac()[:length]))
    assert (part_format, clear.reveal().rstrip(b"\0")) == (PartFormat.TRACK2, TRACK2)


async def test_a_mac_under_another_transaction_of_the_terminal():
    ksn = "62994901190000000003"
    assert await decrypted(FrameMAC(ksn, MESSAGE, right_mac(ksn)))


@pytest.mark.parametrize(
    "mac",
    [
        b"",
        right_mac()[:3],
        right_mac() + b"\0",
        right_mac()[:7] + bytes([right_mac()[7] ^ 1]),
        bytes([right_mac()[0] ^ 0x80]) + right_mac()[1:4],
        right_mac("62994901190000000003"),
        right_mac(mask=tdes.MAC_RESPONSE_MASK),
        right_mac(mask=tdes.DATA_REQUEST_MASK),
    ],
)
async def test_a_wrong_mac(mac):
    with pytest.raises(DecryptionFailedError) as refused:
        await decrypted(FrameMAC(KSN_TEXT, MESSAGE, mac))
    assert refused.value.stage == "mac"


async def test_a_mac_under_the_key_of_another_terminal():
    ksn = "62994901191000000001"
    with pytest.raises(InvalidFieldError, match="another terminal"):
        await decrypted(FrameMAC(ksn, MESSAGE, right_mac(ksn)))


async def test_a_mac_that_the_custodian_cannot_check():
    remote = replace(BDK, key_uri="arn:aws:payment-cryptography:eu-west-1:111122223333:key/abc")
    with pytest.raises(InvalidFieldError, match="has a MAC, which the custodian"):
        await decrypted(FrameMAC(KSN_TEXT, MESSAGE, right_mac()), remote)


async def test_a_mac_under_aes():
    stated = macked(FrameMAC(KSN_TEXT, MESSAGE, right_mac()))
    payload = replace(stated.payload, ksn="123456789012345600000001", cipher=Cipher.TDES_2KEY)
    aes = replace(stated, payload=payload)
    bdk = BaseDerivationKey("b_1", "local:b_1", BDKAlgorithm.AES_128)
    with pytest.raises(InvalidFieldError, match="only dukpt-tdes has"):
        settle_payload(parts(), aes, bdk, None, profile_required=False)


def test_an_empty_message_has_a_mac():
    key = SecretKey(bytes(range(16)))
    assert retail_mac(key, SensitiveBytes(b"")) == retail_mac(key, SensitiveBytes(bytes(8)))
