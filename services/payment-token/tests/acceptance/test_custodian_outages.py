"""A custodian that is away, or is not configured: what goes on, what waits, and what is said."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import VirtualTerminal
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.enrolment import BDKAlgorithm
from tests.support.aws import KMS
from tests.support.custody_deployments import CustodyDeployment, kms_deployment
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.kms_proxy import kms_proxy
from tests.support.loopback_server import HANG_UP, Answer, LoopbackServer

# A request is answered within three seconds; the rest is for a busy machine.
BOUND_SECONDS = 6
CARD = PUBLISHED_CARDS[0]


@pytest.fixture(scope="module")
def proxy(kms: KMS) -> Iterator[LoopbackServer]:
    with kms_proxy(kms.endpoint).serving() as server:
        yield server


@pytest.fixture(scope="module")
def custody(
    kms: KMS, proxy: LoopbackServer, new_deployment: Callable[[], Deployment]
) -> CustodyDeployment:
    return kms_deployment(new_deployment(), kms, proxy.url)


@pytest.fixture(scope="module")
def service(custody: CustodyDeployment) -> Iterator[RunningService]:
    with custody.deployment.serving() as running:
        yield running


@pytest.fixture(scope="module")
def unserved(kms: KMS, new_deployment: Callable[[], Deployment]) -> CustodyDeployment:
    """One that has no first keys yet."""
    return kms_deployment(new_deployment(), kms)


@pytest.fixture
def pos(service: RunningService) -> Iterator[httpx.Client]:
    with service.public() as client:
        yield client


def read(service: RunningService, pos: httpx.Client, terminal: VirtualTerminal) -> httpx.Response:
    return service.create(pos, terminal.create_body(MERCHANT, CARD, PartFormat.TRACK2))


def check_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "key_custodian_unavailable"
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(HANG_UP, id="down"),
        pytest.param("hang", id="hanging"),
        pytest.param(Answer.of_error(400, "ThrottlingException"), id="throttled"),
        pytest.param(Answer.of_error(400, "AccessDeniedException"), id="denied"),
        pytest.param(Answer(200, b"<html>"), id="garbage"),
    ],
)
def test_warm_terminals_go_on_cold_ones_wait_and_come_back(
    custody: CustodyDeployment,
    service: RunningService,
    pos: httpx.Client,
    proxy: LoopbackServer,
    outage: Answer | str,
) -> None:
    algorithms = BDKAlgorithm.AES_128, BDKAlgorithm.TDES_2KEY
    warm = [custody.terminal(algorithm) for algorithm in algorithms]
    cold = [custody.terminal(algorithm) for algorithm in algorithms]
    for terminal in warm:
        assert read(service, pos, terminal).status_code == 201

    with proxy.failing(proxy.hang if isinstance(outage, str) else outage):
        for terminal in cold:
            started = time.monotonic()
            check_unavailable(read(service, pos, terminal))
            assert time.monotonic() - started < BOUND_SECONDS
        for terminal in warm:
            created = read(service, pos, terminal)
            assert created.status_code == 201, created.text
        with service.worker() as worker:
            released = service.release(worker, created.json()["payment_token"])
        assert released.json()["payment_data"]["pan"] == CARD.pan

    for terminal in cold:
        deadline = time.monotonic() + 30
        while (answer := read(service, pos, terminal)).status_code != 201:
            check_unavailable(answer)
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "internal_error" not in "".join(service.log_lines)


def test_a_service_that_starts_in_an_outage_says_so_and_recovers_by_itself(
    custody: CustodyDeployment, service: RunningService, proxy: LoopbackServer
) -> None:
    proxy.fault = lambda _: HANG_UP
    try:
        with custody.deployment.serving() as started:
            ready = httpx.get(started.urls["public"] + "/readyz", timeout=BOUND_SECONDS)
            assert ready.status_code == 503
            assert "key_custodian_unavailable" in ready.text
            proxy.fault = None
            deadline = time.monotonic() + 30
            while httpx.get(started.urls["public"] + "/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        proxy.fault = None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "AccessDeniedException"),
        ("DisabledException", "DisabledException"),
        ("NotFoundException", "NotFoundException"),
    ],
)
def test_doctor_tells_what_the_custodian_refuses(
    custody: CustodyDeployment, service: RunningService, proxy: LoopbackServer, code: str, said: str
) -> None:
    with proxy.failing(Answer.of_error(400, code)):
        checked = custody.deployment.run_here("doctor", check=False)

    assert checked.returncode == 1
    assert said in " ".join(checked.stdout.split())


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SERVICE_KMS_KEY_ID": "pkcs11:token=t;object=o"}, "PKCS11_MODULE is required"),
        (
            {
                "SERVICE_KMS_KEY_ID": "pkcs11:token=t;object=o",
                "PKCS11_MODULE": "/no/such.so",
                "PKCS11_PIN": "1234",
            },
            "PKCS11_MODULE /no/such.so cannot be loaded",
        ),
        (
            {"SERVICE_KMS_KEY_ID": "pkcs11:token=t;object=o", "PKCS11_MODULE": "/no/such.so"},
            "PKCS11_PIN_FILE or PKCS11_PIN is required",
        ),
        (
            {"SERVICE_KMS_KEY_ID": "arn:aws:kms:eu-central-1:123456789012:alias/kek"},
            "an alias can be pointed at another key",
        ),
        (
            {"SERVICE_KMS_KEY_ID": "arn:aws:payment-cryptography:us-east-1:123456789012:key/abc"},
            "does not wrap keys",
        ),
        ({"KMS_ENDPOINT_URL": "http://kms.example.com"}, "would travel in clear"),
        ({"KMS_ENDPOINT_URL": "kms.example.com"}, "must be a URL"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "NoCredentialsError"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_work_is_one_clear_line(
    unserved: CustodyDeployment, environment: dict[str, str], said: str
) -> None:
    refused = unserved.deployment.run("serve", check=False, **environment)

    assert refused.returncode == 1
    errors = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert len(errors) == 1, refused.stderr
    assert errors[0].startswith("Error: ")
    assert said in errors[0]
    assert "Traceback" not in refused.stderr
