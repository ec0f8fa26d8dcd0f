"""Which refusals of a create are news of the terminal, and what an operator is told."""

from dataclasses import replace

import pytest

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.device_payload import KeyVariant
from payment_token.domain.enrolment import Device, DeviceState, RegistrationRule
from payment_token.domain.errors import (
    DecryptionFailedError,
    DeviceSuspendedError,
    InvalidFieldError,
    PaymentTokenError,
    UnknownDeviceError,
)
from tests.support.use_cases import MERCHANT, World, with_payload


@pytest.fixture
def world() -> World:
    return World()


async def refused(world: World, error: type[PaymentTokenError], **changes: object) -> DeviceEvent:
    request = replace(with_payload(world.request(), **changes), api_key_id="key-1")
    with pytest.raises(error):
        await world.tokenise(request)
    (event,) = world.device_events.noted
    assert event.merchant_id == MERCHANT
    assert event.device_id == request.device_id
    assert event.api_key_id == "key-1"
    assert event.ksn == request.payload.ksn
    return event


@pytest.mark.parametrize("state", [DeviceState.SUSPENDED, DeviceState.STOLEN, DeviceState.RETIRED])
async def test_a_stopped_terminal_is_told_by_its_state(world: World, state: DeviceState) -> None:
    world.device = Device(MERCHANT, world.request().device_id, "b_1", state)

    event = await refused(world, DeviceSuspendedError)

    assert (event.kind, event.detail) == (DeviceEventKind.DEVICE_NOT_ACTIVE, state)


async def test_an_unknown_terminal(world: World) -> None:
    world.rules = replace(world.rules, registration=RegistrationRule.REQUIRED)

    event = await refused(world, UnknownDeviceError)

    assert (event.kind, event.detail) == (DeviceEventKind.UNKNOWN_DEVICE, "")


async def test_a_failed_decryption_is_told_with_its_stage(world: World) -> None:
    event = await refused(world, DecryptionFailedError, key_variant=KeyVariant.DATA_RESPONSE)

    assert event.kind is DeviceEventKind.DECRYPTION_FAILED
    assert event.detail


async def test_a_field_that_is_not_valid_is_no_news(world: World) -> None:
    with pytest.raises(InvalidFieldError):
        await world.tokenise(world.request(ttl_seconds=0))
    await world.tokenise(world.request())

    assert world.device_events.noted == []
