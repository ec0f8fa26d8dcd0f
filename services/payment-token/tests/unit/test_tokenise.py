from dataclasses import replace
from datetime import timedelta

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.card_data import CardChecksPolicy
from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.enrolment import Device, DeviceState, RegistrationRule
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
from payment_token.domain.identifiers import DeviceId
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
    tokenise = world.tokenise
    request = world.request()
    await tokenise(request)
    world.custodian_is_away = True

    retry = replace(request, idempotency_key="another")
    assert not (await tokenise(retry)).replayed
    with pytest.raises(KeyCustodianUnavailableError):
        await tokenise(world.request())
