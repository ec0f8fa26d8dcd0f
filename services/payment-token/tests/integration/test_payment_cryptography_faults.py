"""AWS Payment Cryptography refusing, throttled, away, and talking nonsense, by real boto3 over real HTTP."""

import time
from collections.abc import AsyncIterator

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import Encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import (
    DecryptionFailedError,
    KeyCustodianRefusedError,
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
)
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.infrastructure.custody.aws import DEADLINE_SECONDS, AWSService
from payment_token.infrastructure.custody.payment_cryptography import AWSPaymentCryptography
from tests.support.loopback_server import HANG_UP, Answer, LoopbackServer
from tests.support.payment_cryptography_double import (
    PaymentCryptography,
    serving_payment_cryptography,
)

ENCRYPTION = Encryption(Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, Cipher.AES_128, Mode.CBC, None)
SERIAL = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)
CIPHERTEXT = bytes(32)


class World:
    def __init__(self, double: PaymentCryptography, custodian: AWSPaymentCryptography) -> None:
        self.server: LoopbackServer = double.server
        self.custodian = custodian
        key = SecretKey(bytes(range(16)))
        uri = double.import_bdk(BDKAlgorithm.AES_128, key)
        self.bdk = BaseDerivationKey("b", uri, BDKAlgorithm.AES_128)

    async def decrypt(self, ciphertext: bytes = CIPHERTEXT) -> SensitiveBytes:
        return await self.custodian.decrypt(self.bdk, SERIAL, ENCRYPTION, ciphertext)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with serving_payment_cryptography() as double:
        service = AWSService("payment-cryptography-data", double.server.url)
        yield World(double, AWSPaymentCryptography(service))
        service.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer.of_error(400, "ValidationException"), DecryptionFailedError),
        (Answer.of_error(403, "AccessDeniedException"), KeyCustodianRefusedError),
        (Answer.of_error(404, "ResourceNotFoundException"), KeyCustodianRefusedError),
        (Answer.of_error(429, "ThrottlingException"), KeyCustodianThrottledError),
        (Answer.of_error(500, "InternalServerException"), KeyCustodianUnavailableError),
        (HANG_UP, KeyCustodianUnavailableError),
        (Answer(200, b""), KeyCustodianUnavailableError),
        (Answer(200, b"[]"), KeyCustodianUnavailableError),
        (Answer.of_json({}), KeyCustodianUnavailableError),
        (Answer.of_json({"PlainText": ""}), KeyCustodianUnavailableError),
        (Answer.of_json({"PlainText": "00" * 31}), KeyCustodianUnavailableError),
        (Answer.of_json({"PlainText": "zz" * 32}), KeyCustodianUnavailableError),
        (Answer.of_json({"PlainText": 7}), KeyCustodianUnavailableError),
        (Answer.of_json({"PlainText": None}), KeyCustodianUnavailableError),
    ],
    ids=str,
)
async def test_every_failure_has_its_error(
    world: World, answer: Answer, error: type[PaymentTokenError]
) -> None:
    with world.server.failing(answer), pytest.raises(error) as failed:
        await world.decrypt()

    assert type(failed.value) is error
    assert failed.value.__context__ is None


@pytest.mark.parametrize("content", [{}, {"KeyCheckValue": ""}, {"KeyCheckValue": "no"}], ids=str)
async def test_a_check_value_that_is_none_is_an_outage(
    world: World, content: dict[str, object]
) -> None:
    answer = Answer.of_json(content)
    with world.server.failing(answer), pytest.raises(KeyCustodianUnavailableError):
        await world.custodian.check_value(world.bdk)


async def test_a_hanging_service_is_given_up_at_the_deadline(world: World) -> None:
    started = time.monotonic()

    with world.server.failing(world.server.hang), pytest.raises(KeyCustodianUnavailableError):
        await world.decrypt()

    assert time.monotonic() - started < DEADLINE_SECONDS + 2


async def test_a_terminal_that_sends_nonsense_keeps_no_other_terminal_waiting(world: World) -> None:
    for _ in range(5):
        with pytest.raises(DecryptionFailedError):
            await world.decrypt(bytes(2128))
        assert await world.decrypt()


async def test_a_part_is_one_call(world: World) -> None:
    await world.decrypt()
    before = world.server.calls

    for _ in range(3):
        await world.decrypt()

    assert world.server.calls == before + 3
