"""AWS KMS throttled, slow, away, denied, disabled, and talking nonsense, by real boto3 over real HTTP."""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
    RecordIntegrityFailureError,
)
from payment_token.infrastructure.custody.aws import CALLS_AT_ONCE, DEADLINE_SECONDS, AWSService
from payment_token.infrastructure.custody.aws_kms import AWSKMS
from payment_token.infrastructure.logging import JSONFormatter, configure_logging
from tests.support.aws import KMS
from tests.support.kms_proxy import kms_proxy
from tests.support.loopback_server import HANG_UP, Answer, LoopbackServer

CONTEXT = {"purpose": "service"}
ATTEMPTS = 2
THROTTLED = Answer.of_error(400, "ThrottlingException")

# The rest is for a busy machine.
BOUND_SECONDS = DEADLINE_SECONDS + 2


@pytest.fixture
def proxy(kms: KMS) -> Iterator[LoopbackServer]:
    with kms_proxy(kms.endpoint).serving() as server:
        yield server


@pytest.fixture
async def custodian(proxy: LoopbackServer) -> AsyncIterator[AWSKMS]:
    service = AWSService("kms", proxy.url)
    yield AWSKMS(service)
    service.close()


@pytest.fixture
def bdk(kms: KMS) -> BaseDerivationKey:
    return BaseDerivationKey("b", kms.hmac_key(), BDKAlgorithm.AES_128)


def ksn(device: int) -> KSN:
    return KSN.from_hex(f"{device:016X}00000001", Scheme.DUKPT_AES)


async def wait_until_back(custodian: AWSKMS, bdk: BaseDerivationKey) -> float:
    """Seconds until a key is given again."""
    started = time.monotonic()
    while time.monotonic() - started < 30:
        try:
            await custodian.initial_key(bdk, ksn(1))
        except KeyCustodianUnavailableError:
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - started
    raise AssertionError("it does not come back")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (THROTTLED, KeyCustodianThrottledError),
        (Answer.of_error(400, "LimitExceededException"), KeyCustodianThrottledError),
        (Answer.of_error(429, "Other"), KeyCustodianThrottledError),
        (Answer.of_error(500, "KMSInternalException"), KeyCustodianUnavailableError),
        (Answer.of_error(500, "KeyUnavailableException"), KeyCustodianUnavailableError),
        (Answer.of_error(503, "DependencyTimeoutException"), KeyCustodianUnavailableError),
        (Answer(502, b"<html>Bad Gateway</html>"), KeyCustodianUnavailableError),
        (Answer(503, b""), KeyCustodianUnavailableError),
        (HANG_UP, KeyCustodianUnavailableError),
        (Answer.of_error(400, "AccessDeniedException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "DisabledException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "KMSInvalidStateException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "NotFoundException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "InvalidKeyUsageException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "UnrecognizedClientException"), KeyCustodianRefusedError),
        (Answer.of_error(400, "ExpiredTokenException"), KeyCustodianRefusedError),
    ],
    ids=str,
)
async def test_every_failure_has_its_error(
    proxy: LoopbackServer,
    custodian: AWSKMS,
    bdk: BaseDerivationKey,
    answer: Answer,
    error: type[PaymentTokenError],
) -> None:
    started = time.monotonic()
    with proxy.failing(answer), pytest.raises(error) as failed:
        await custodian.initial_key(bdk, ksn(1))

    assert type(failed.value) is error
    assert failed.value.__context__ is None
    assert proxy.calls <= ATTEMPTS
    assert time.monotonic() - started < BOUND_SECONDS
    if isinstance(failed.value, KeyCustodianRefusedError):
        assert "generate_mac" in failed.value.advice
        assert proxy.calls == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"<xml/>",
        b"{}",
        b'{"Mac": null}',
        b'{"Mac": 7}',
        b'{"Mac": "not base64!"}',
        b'{"Mac": ""}',
        b'{"Mac": "' + base64.b64encode(bytes(31)) + b'"}',
        b'{"Mac": "' + base64.b64encode(bytes(33)) + b'"}',
        b'{"Mac": ["x"]}',
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_outage_and_no_key(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey, body: bytes
) -> None:
    with proxy.failing(Answer(200, body)), pytest.raises(KeyCustodianUnavailableError) as failed:
        await custodian.initial_key(bdk, ksn(1))
    assert failed.value.__context__ is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"Plaintext": base64.b64encode(bytes(32)).decode()},
        {"CiphertextBlob": base64.b64encode(bytes(64)).decode()},
        {"Plaintext": base64.b64encode(bytes(16)).decode(), "CiphertextBlob": "AAAA"},
        {"Plaintext": base64.b64encode(bytes(32)).decode(), "CiphertextBlob": ""},
    ],
    ids=str,
)
async def test_half_a_wrapped_key_is_none(
    proxy: LoopbackServer, custodian: AWSKMS, kms: KMS, content: dict[str, object]
) -> None:
    kek = kms.kek()
    with proxy.failing(Answer.of_json(content)), pytest.raises(KeyCustodianUnavailableError):
        await custodian.generate_key(kek, CONTEXT)


@pytest.mark.parametrize("content", [{}, {"Plaintext": "AAAA"}, {"Plaintext": ""}], ids=str)
async def test_half_a_key_is_none(
    proxy: LoopbackServer, custodian: AWSKMS, kms: KMS, content: dict[str, object]
) -> None:
    kek = kms.kek()
    with proxy.failing(Answer.of_json(content)), pytest.raises(KeyCustodianUnavailableError):
        await custodian.unwrap_key(kek, bytes(64), CONTEXT)


async def test_a_truncated_answer_is_an_outage(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey
) -> None:
    cut = Answer(200, b'{"Mac": "AAA', {"Content-Length": "500"})
    started = time.monotonic()

    with proxy.failing(cut), pytest.raises(KeyCustodianUnavailableError):
        await custodian.initial_key(bdk, ksn(1))
    assert time.monotonic() - started < BOUND_SECONDS


async def test_a_service_that_hangs_is_given_up_at_the_deadline(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey
) -> None:
    started = time.monotonic()

    with proxy.failing(proxy.hang), pytest.raises(KeyCustodianUnavailableError):
        await custodian.initial_key(bdk, ksn(1))

    assert time.monotonic() - started < BOUND_SECONDS


async def test_nobody_listening_is_an_outage(bdk: BaseDerivationKey) -> None:
    service = AWSService("kms", "http://127.0.0.1:1")

    with pytest.raises(KeyCustodianUnavailableError) as failed:
        await AWSKMS(service).initial_key(bdk, ksn(1))

    assert type(failed.value) is KeyCustodianUnavailableError
    service.close()


@pytest.mark.parametrize(
    "outage",
    [Answer.of_error(500, "KMSInternalException"), THROTTLED, HANG_UP, "hang"],
    ids=str,
)
async def test_an_outage_with_many_callers_is_no_storm(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey, outage: Answer | str
) -> None:
    """Two hundred callers that go on asking: the server sees one round of them, and then one now and then."""
    callers, seconds = 200, 3.0
    await custodian.initial_key(bdk, ksn(0))
    before = proxy.calls
    errors: set[type] = set()

    async def insist(device: int) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                await custodian.initial_key(bdk, ksn(device))
            except PaymentTokenError as error:
                errors.add(type(error))
            await asyncio.sleep(0.01)

    with proxy.failing(proxy.hang if outage == "hang" else outage):  # type: ignore[arg-type]
        await asyncio.gather(*(insist(device) for device in range(callers)))
        seen = proxy.calls - before

    assert errors <= {KeyCustodianUnavailableError, KeyCustodianThrottledError}
    assert seen <= (CALLS_AT_ONCE + 12) * ATTEMPTS
    assert await wait_until_back(custodian, bdk) < BOUND_SECONDS


async def test_throttling_of_one_key_is_not_the_other_keys_affair(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey, kms: KMS
) -> None:
    other = BaseDerivationKey("o", kms.hmac_key(), BDKAlgorithm.AES_128)
    with proxy.failing(THROTTLED), pytest.raises(KeyCustodianThrottledError):
        await custodian.initial_key(bdk, ksn(1))

    assert await custodian.initial_key(other, ksn(1))
    with pytest.raises(KeyCustodianUnavailableError):
        await custodian.initial_key(bdk, ksn(1))
    await wait_until_back(custodian, bdk)


async def test_it_waits_longer_with_each_failure_and_comes_back_when_the_service_does(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey
) -> None:
    with proxy.failing(THROTTLED):
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            with pytest.raises(KeyCustodianUnavailableError):
                await custodian.initial_key(bdk, ksn(1))
            await asyncio.sleep(0.005)
        seen = proxy.calls

    assert seen <= 8 * ATTEMPTS
    await wait_until_back(custodian, bdk)


async def test_a_refusal_does_not_keep_others_of_the_key_waiting(
    proxy: LoopbackServer, custodian: AWSKMS, kms: KMS
) -> None:
    """A stored key that was tampered with says nothing about the KEK."""
    kek = kms.kek()
    key, wrapped = await custodian.generate_key(kek, CONTEXT)

    for _ in range(5):
        with pytest.raises(RecordIntegrityFailureError):
            await custodian.unwrap_key(kek, wrapped[:-1] + b"x", CONTEXT)
        assert await custodian.unwrap_key(kek, wrapped, CONTEXT) == key


async def test_a_caller_that_goes_away_takes_nothing_with_it(
    proxy: LoopbackServer, custodian: AWSKMS, bdk: BaseDerivationKey
) -> None:
    await custodian.initial_key(bdk, ksn(1))
    with proxy.failing(proxy.hang):
        asked = [
            asyncio.ensure_future(custodian.initial_key(bdk, ksn(device)))
            for device in range(CALLS_AT_ONCE * 2)
        ]
        await asyncio.sleep(0.2)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    assert await wait_until_back(custodian, bdk) < 2 * BOUND_SECONDS


async def test_no_credentials_are_a_matter_of_configuration(
    bdk: BaseDerivationKey, proxy: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    service = AWSService("kms", proxy.url)

    with pytest.raises(KeyCustodianRefusedError) as refused:
        await AWSKMS(service).initial_key(bdk, ksn(1))
    assert "NoCredentialsError" in refused.value.advice

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert await AWSKMS(service).initial_key(bdk, ksn(1))
    service.close()


async def test_an_endpoint_that_is_none_is_no_traceback(bdk: BaseDerivationKey) -> None:
    service = AWSService("kms", "no url")

    with pytest.raises(KeyCustodianUnavailableError):
        await AWSKMS(service).initial_key(bdk, ksn(1))
    service.close()


async def test_nothing_that_the_custodian_says_is_logged_even_when_debugging(
    custodian: AWSKMS, kms: KMS, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging(debug=True)
    try:
        assert isinstance(root.handlers[0].formatter, JSONFormatter)
        key, _ = await custodian.generate_key(kms.kek(), CONTEXT)
    finally:
        root.handlers, root.level = handlers, level

    assert base64.b64encode(key.reveal()).decode() not in capfd.readouterr().err
