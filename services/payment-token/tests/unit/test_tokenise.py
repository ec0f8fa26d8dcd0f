from dataclasses import replace
from datetime import timedelta

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.card_data import CardChecksPolicy
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import (
    Cipher,
    EncryptedPart,
    KeyVariant,
    Mode,
    PartFormat,
    Scheme,
)
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    DeviceState,
    RegistrationRule,
)
from payment_token.domain.errors import (
    BadKSNError,
    DecryptionFailedError,
    DeviceSuspendedError,
    EncryptionKeyOverdueError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    KeyCustodianUnavailableError,
    TokenExpiredError,
    TokenRevokedError,
    UnknownDeviceError,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing import SealedRecord
from tests.fakes.fixed_keys import FixedKeys
from tests.support.use_cases import MERCHANT, World, with_payload


@pytest.fixture
def world() -> World:
    return World()


def device(**changes: object) -> Device:
    known = Device(MERCHANT, DeviceId("d_0"), "b_1", DeviceState.ACTIVE)
    return replace(known, **changes)  # type: ignore[arg-type]


async def test_pan_and_sad_are_sealed_apart_under_their_own_keys(world: World) -> None:
    result = await world.tokenise(world.request())

    stored = await world.store.get(MERCHANT, result.token.token_id)
    assert stored is not None
    assert stored.sealed_pan is not None
    assert stored.sealed_sad is not None
    assert SealedRecord.from_bytes(stored.sealed_pan).key_name == "v1"
    assert SealedRecord.from_bytes(stored.sealed_sad).key_name == "e1"
    assert PUBLISHED_CARDS[0].pan.encode() not in stored.sealed_pan + stored.sealed_sad


async def test_times(world: World) -> None:
    by_default = (await world.tokenise(world.request())).token
    short = await world.tokenise(world.request(ttl_seconds=60))

    assert by_default.created_at == world.time
    assert by_default.expires_at == world.time + timedelta(hours=24)
    assert by_default.token_id.purge_day == (world.time + timedelta(days=2)).date()
    stored = await world.store.get(MERCHANT, short.token.token_id)
    assert stored is not None
    # SAD never outlives its token.
    assert stored.sad_deadline == short.token.expires_at


@pytest.mark.parametrize("ttl", [0, -1, 48 * 3600 + 1, 10**400])
async def test_a_life_out_of_bounds(world: World, ttl: int) -> None:
    with pytest.raises(InvalidFieldError, match="ttl_seconds: must be from 1 to 172800"):
        await world.tokenise(world.request(ttl_seconds=ttl))


async def test_a_retry_is_answered_before_device_and_custodian_are_asked(world: World) -> None:
    request = world.request()
    first = await world.tokenise(request)
    world.device = device(state=DeviceState.STOLEN)
    world.custodian_is_away = True
    calls = world.custodian_calls

    again = await world.tokenise(request)

    assert again.replayed
    assert again.token == first.token
    assert world.custodian_calls == calls


async def test_another_request_under_the_key_is_refused(world: World) -> None:
    request = world.request(key="k")
    await world.tokenise(request)

    for other in (
        world.request(key="k"),
        replace(request, metadata={}),
        replace(request, ttl_seconds=86400),
        with_payload(request, cipher=Cipher.AES_128),
    ):
        with pytest.raises(IdempotencyKeyReusedError):
            await world.tokenise(other)


async def test_a_rotated_index_key_still_recognises_a_retry(world: World) -> None:
    request = world.request()
    first = await world.tokenise(request)
    world.index_keys = FixedKeys("i1", "i2")

    assert (await world.tokenise(request)).token == first.token


async def test_a_token_that_ended_before_its_key_is_never_made_anew(world: World) -> None:
    expired, revoked = world.request(ttl_seconds=1), world.request()
    first = await world.tokenise(expired)
    second = await world.tokenise(revoked)
    await world.store.revoke(MERCHANT, second.token.token_id)
    world.time += timedelta(seconds=1)

    with pytest.raises(TokenExpiredError) as gone:
        await world.tokenise(expired)
    assert gone.value.payment_token == first.token.token_id.text
    with pytest.raises(TokenRevokedError):
        await world.tokenise(revoked)


async def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    request = world.request(key="k")
    wrong = with_payload(request, key_variant=KeyVariant.DATA_RESPONSE)
    with pytest.raises(DecryptionFailedError):
        await world.tokenise(wrong)

    assert not (await world.tokenise(request)).replayed


async def test_a_record_sealed_under_a_retired_key_is_sealed_again(world: World) -> None:
    world.service_keys = FixedKeys("v1", "v2")
    world.service_keys.seems_active = "v1"
    world.store.active_service_key = "v2"

    result = await world.tokenise(world.request())

    stored = await world.store.get(MERCHANT, result.token.token_id)
    assert stored is not None
    assert SealedRecord.from_bytes(stored.sealed_pan or b"").key_name == "v2"


async def test_without_any_active_key_it_gives_up(world: World) -> None:
    world.store.active_service_key = "v9"

    with pytest.raises(EncryptionKeyOverdueError):
        await world.tokenise(world.request())


async def test_an_unregistered_device_where_registration_is_required(world: World) -> None:
    world.rules = replace(world.rules, registration=RegistrationRule.REQUIRED)

    with pytest.raises(UnknownDeviceError):
        await world.tokenise(world.request())


@pytest.mark.parametrize("state", [DeviceState.SUSPENDED, DeviceState.STOLEN, DeviceState.RETIRED])
async def test_a_device_that_may_not_send(world: World, state: DeviceState) -> None:
    world.device = device(state=state)

    with pytest.raises(DeviceSuspendedError):
        await world.tokenise(world.request())


async def test_a_device_bound_to_another_initial_key(world: World) -> None:
    world.device = device(initial_key_ids=frozenset({b"another!"}))

    with pytest.raises(UnknownDeviceError):
        await world.tokenise(world.request())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scheme": Scheme.DUKPT_TDES}, "scheme"),
        ({"key_variant": KeyVariant.PIN}, "key_variant"),
        ({"cipher": Cipher.AES_256}, "cipher"),
        ({"iv": bytes(8)}, "iv"),
    ],
)
async def test_an_encryption_that_the_key_does_not_have(
    world: World, change: dict[str, object], field: str
) -> None:
    world.device = device()

    with pytest.raises(InvalidFieldError, match=f"encrypted_payload.{field}"):
        await world.tokenise(with_payload(world.request(), **change))


async def test_in_production_a_request_may_only_agree_with_the_profile(world: World) -> None:
    world.rules = replace(world.rules, profile_required=True)
    request = world.request()

    with pytest.raises(InvalidFieldError, match="differs from the device's profile"):
        await world.tokenise(with_payload(request, key_variant=KeyVariant.DATA_BOTH))
    world.bdk = replace(world.bdk, profile=DeviceProfile(key_variant=KeyVariant.DATA_BOTH))
    with pytest.raises(DecryptionFailedError):
        await world.tokenise(with_payload(request, key_variant=KeyVariant.DATA_BOTH))


async def test_an_impossible_ksn(world: World) -> None:
    with pytest.raises(BadKSNError):
        await world.tokenise(with_payload(world.request(), ksn="1234567890123456FFFFFFFF"))


async def test_luhn_by_policy(world: World) -> None:
    card = replace(PUBLISHED_CARDS[0], pan="4111111111111112")
    with pytest.raises(DecryptionFailedError):
        await world.tokenise(world.request(card))

    world.rules = replace(world.rules, card_checks=CardChecksPolicy.LENIENT)
    assert not (await world.tokenise(world.request(card))).token.card.checks.luhn


async def test_a_warm_device_outlives_its_custodian_and_a_cold_one_does_not(world: World) -> None:
    tokenise, terminal = world.tokenise, world.terminal()
    await tokenise(world.request(terminal=terminal))
    world.custodian_is_away = True

    assert not (await tokenise(world.request(terminal=terminal))).replayed
    with pytest.raises(KeyCustodianUnavailableError):
        await tokenise(world.request())


# --- device-aead ----------------------------------------------------------------------------------------------------

AEAD_BDK = BaseDerivationKey("b_2", "local:b_2", BDKAlgorithm.DEVICE_AEAD, is_default=True)


@pytest.fixture
def aead(world: World) -> World:
    world.bdk = AEAD_BDK
    return world


@pytest.mark.parametrize("key_epoch", [0, 1, 2**32 - 1])
async def test_a_device_aead_read_becomes_a_token_bound_to_its_name(
    aead: World, key_epoch: int
) -> None:
    request = aead.aead_request(key_epoch=key_epoch)
    result = await aead.tokenise(request)

    assert result.token.card.last4 == PUBLISHED_CARDS[0].pan[-4:]
    name = AEADKeyName(MERCHANT, request.device_id, key_epoch)
    assert aead.store._owners == {
        ("b_2", name.initial_key_id): (MERCHANT, request.device_id),
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ksn": "123456789012345600000001"}, "ksn"),
        ({"ksn": ""}, "ksn"),
        ({"key_variant": KeyVariant.DATA_REQUEST}, "key_variant"),
        ({"cipher": Cipher.AES_256}, "cipher"),
        ({"mode": Mode.CBC}, "mode"),
        ({"iv": bytes(16)}, "iv"),
        ({"key_epoch": None}, "key_epoch"),
        ({"key_epoch": -1}, "key_epoch"),
        ({"key_epoch": 2**32}, "key_epoch"),
        ({"parts": (EncryptedPart(PartFormat.TRACK2, bytes(28)),)}, "parts.ciphertext"),
        ({"scheme": Scheme.DUKPT_AES}, "scheme"),
        ({"scheme": Scheme.DUKPT_TDES}, "scheme"),
    ],
    ids=str,
)
@pytest.mark.parametrize("profile_required", [False, True])
async def test_a_device_aead_payload_that_says_what_it_must_not(
    aead: World, change: dict[str, object], field: str, *, profile_required: bool
) -> None:
    aead.rules = replace(aead.rules, profile_required=profile_required)
    aead.device = replace(device(), bdk_id="b_2")
    with pytest.raises(InvalidFieldError) as refused:
        await aead.tokenise(with_payload(aead.aead_request(), **change))
    assert refused.value.field == f"encrypted_payload.{field}"
    assert aead.custodian_calls == 0


async def test_a_registered_device_aead_terminal_needs_no_scheme(aead: World) -> None:
    aead.rules = replace(aead.rules, profile_required=True)
    aead.device = replace(device(), bdk_id="b_2")
    assert not (await aead.tokenise(with_payload(aead.aead_request(), scheme=None))).replayed


async def test_another_device_or_epoch_than_the_one_that_sealed(aead: World) -> None:
    request = aead.aead_request()
    for other in (
        replace(request, device_id=DeviceId("d_other")),
        replace(request, merchant_id=MerchantId("m_2")),
        with_payload(request, key_epoch=2),
    ):
        with pytest.raises(DecryptionFailedError) as refused:
            await aead.tokenise(other)
        assert refused.value.stage == "tag"
    assert not (await aead.tokenise(request)).replayed


async def test_a_dukpt_terminal_sends_no_epoch_and_needs_its_ksn(world: World) -> None:
    for change, field in (({"key_epoch": 1}, "key_epoch"), ({"ksn": None}, "ksn")):
        with pytest.raises(InvalidFieldError, match=f"encrypted_payload.{field}"):
            await world.tokenise(with_payload(world.request(), **change))


async def test_a_device_aead_terminal_outlives_its_custodian_while_it_is_warm(aead: World) -> None:
    tokenise, request = aead.tokenise, aead.aead_request()
    await tokenise(request)
    aead.custodian_is_away = True
    next_read = aead.aead_request(device_id=request.device_id, counter=2)
    assert not (await tokenise(next_read)).replayed
    with pytest.raises(KeyCustodianUnavailableError):
        await tokenise(aead.aead_request())


# --- Keys that ended ------------------------------------------------------------------------------------------------


async def test_a_retired_bdk_serves_nobody_but_retries(world: World) -> None:
    request = world.request()
    first = await world.tokenise(request)
    world.bdk_is_retired = True

    for registered in (None, device()):
        world.device = registered
        with pytest.raises(UnknownDeviceError):
            await world.tokenise(world.request())
    assert (await world.tokenise(request)).token == first.token


async def test_a_store_that_refuses_the_key_is_asked_three_times_and_no_more(world: World) -> None:
    """Each time the active key is found out anew; a rotation between two attempts is no failure."""
    world.store.active_service_key = "v9"
    keys = CountingKeys("v1")
    world.service_keys = keys

    with pytest.raises(EncryptionKeyOverdueError):
        await world.tokenise(world.request())

    assert (keys.asked, keys.forgotten) == (3, 3)
    assert not world.store._tokens
    assert not world.store._claims


async def test_a_rotation_at_the_last_attempt_is_no_failure(world: World) -> None:
    keys = CountingKeys("v1", "v2")
    keys.seems_active, keys.forgets_after = "v1", 2
    world.service_keys = keys
    world.store.active_service_key = "v2"

    result = await world.tokenise(world.request())

    assert keys.asked == 3
    stored = await world.store.get(MERCHANT, result.token.token_id)
    assert stored is not None
    assert SealedRecord.from_bytes(stored.sealed_pan or b"").key_name == "v2"


class CountingKeys(FixedKeys):
    """Goes on taking the wrong version for the active one until it was told so often enough."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.asked = self.forgotten = 0
        self.forgets_after = 1

    async def active(self) -> NamedKey:
        self.asked += 1
        return await super().active()

    def forget_active(self) -> None:
        self.forgotten += 1
        if self.forgotten >= self.forgets_after:
            super().forget_active()
