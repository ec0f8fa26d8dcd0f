"""The road with each custodian, by configuration alone: keys there, terminals here, cards back to a worker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.custody import CAPABILITIES, Custodian, Gives
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.enrolment import BDKAlgorithm
from tests.support.custody_deployments import (
    CustodyDeployment,
    kms_deployment,
    local_deployment,
    payment_cryptography_deployment,
    pkcs11_deployment,
)
from tests.support.deployment import MERCHANT, RunningService
from tests.support.problems import check_nothing_was_a_defect
from tests.support.softhsm import new_token

SERVED = [
    pytest.param(custodian, algorithm, id=f"{custodian}-{algorithm}")
    for custodian in Custodian
    for algorithm in BDKAlgorithm
    if algorithm in CAPABILITIES[custodian].algorithms
]


@contextmanager
def deployed(
    custodian: Custodian, folder: Path, request: pytest.FixtureRequest
) -> Iterator[CustodyDeployment]:
    """A new deployment of this custodian; ``folder`` is for its token."""
    new = request.getfixturevalue("new_deployment")()
    with ExitStack() as stack:
        if custodian is Custodian.LOCAL:
            yield local_deployment(new)
        elif custodian is Custodian.PKCS11:
            (token,) = stack.enter_context(new_token(folder, "pt-road"))
            yield pkcs11_deployment(new, token)
        elif custodian is Custodian.AWS_KMS:
            yield kms_deployment(new, request.getfixturevalue("kms"))
        else:
            doubles = [request.getfixturevalue(name) for name in ("kms", "payment_cryptography")]
            yield payment_cryptography_deployment(new, *doubles)


Deployments = Callable[[Custodian], tuple[CustodyDeployment, RunningService]]


@pytest.fixture(scope="module")
def deployments(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployments]:
    """Each made and served when it is first asked for, and kept: to make one takes seconds."""
    made: dict[Custodian, tuple[CustodyDeployment, RunningService]] = {}
    with ExitStack() as stack:

        def of(custodian: Custodian) -> tuple[CustodyDeployment, RunningService]:
            if custodian not in made:
                folder = tmp_path_factory.mktemp(str(custodian))
                custody = stack.enter_context(deployed(custodian, folder, request))
                made[custodian] = custody, stack.enter_context(custody.deployment.serving())
            return made[custodian]

        yield of
        for _, running in made.values():
            check_nothing_was_a_defect(running)


@pytest.fixture(params=list(Custodian))
def custodian(request: pytest.FixtureRequest) -> Custodian:
    chosen: Custodian = request.param
    return chosen


@pytest.fixture
def custody(custodian: Custodian, deployments: Deployments) -> CustodyDeployment:
    return deployments(custodian)[0]


@pytest.fixture
def service(custodian: Custodian, deployments: Deployments) -> RunningService:
    return deployments(custodian)[1]


@pytest.mark.parametrize(("custodian", "algorithm"), SERVED)
def test_reads_become_tokens_and_come_back(
    custody: CustodyDeployment, service: RunningService, algorithm: BDKAlgorithm
) -> None:
    terminal = custody.terminal(algorithm)
    with service.public() as pos, service.worker() as worker:
        for card in PUBLISHED_CARDS[:3]:
            body = terminal.create_body(MERCHANT, card, PartFormat.TRACK2)
            created = service.create(pos, body)
            assert created.status_code == 201, created.text
            token = created.json()["payment_token"]
            assert created.json()["card"]["last4"] == card.pan[-4:]

            released = service.release(worker, token, fields=["pan", "expiry", "sad"])

            assert released.status_code == 200, released.text
            assert released.json()["payment_data"]["pan"] == card.pan
            assert released.json()["payment_data"]["sad"]["track2"] == card.track2


def test_a_read_under_another_key_is_refused(
    custody: CustodyDeployment, service: RunningService
) -> None:
    """Its KSN is of this fleet, its key is not."""
    terminal = custody.terminal(BDKAlgorithm.AES_128)
    body = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
    ksn = body["encrypted_payload"]["ksn"]
    body["encrypted_payload"]["ksn"] = f"{ksn[:8]}{int(ksn[8:16], 16) ^ 1:08X}{ksn[16:]}"

    with service.public() as pos:
        refused = service.create(pos, body)

    assert (refused.status_code, refused.json()["code"]) == (422, "decryption_failed")


def test_the_service_is_ready(custody: CustodyDeployment, service: RunningService) -> None:
    assert httpx.get(service.urls["public"] + "/readyz").status_code == 200


def test_doctor_finds_the_keys_where_they_are(custody: CustodyDeployment) -> None:
    checked = custody.deployment.run_here("doctor", check=False)

    assert "refused" not in checked.stdout, checked.stdout
    assert "audit are usable" in checked.stdout
    for bdk in custody.bdks.values():
        assert bdk.bdk_id in checked.stdout


def test_bdk_show_asks_the_custodian(custody: CustodyDeployment) -> None:
    for bdk in custody.bdks.values():
        assert "has it" in custody.deployment.run_here("bdk", "show", bdk.bdk_id).stdout


def test_terminals_are_simulated_where_the_custodian_gives_initial_keys(
    custody: CustodyDeployment, service: RunningService
) -> None:
    sent = custody.deployment.run_here(
        *("simulate", "terminal", "--bdk", "fleet-aes-256", "--count", "3"),
        *("--url", service.urls["public"]),
        check=False,
    )

    if CAPABILITIES[custody.custodian].gives is Gives.INITIAL_KEY:
        assert "3 x 201" in sent.stdout, sent.stderr
    else:
        assert "gives no keys" in sent.stderr


REFUSED_AT_REGISTRATION = [
    (
        Custodian.AWS_PAYMENT_CRYPTOGRAPHY,
        ("--algorithm", "device-aead"),
        "does not derive device-aead keys",
    ),
    (
        Custodian.AWS_PAYMENT_CRYPTOGRAPHY,
        ("--algorithm", "tdes-2key", "--allow-pin-variant"),
        "PIN variant",
    ),
    (
        Custodian.AWS_PAYMENT_CRYPTOGRAPHY,
        ("--algorithm", "tdes-2key", "--profile", "cipher=aes-128"),
        "does not decrypt aes-128 under a TDES key",
    ),
    (
        Custodian.AWS_PAYMENT_CRYPTOGRAPHY,
        ("--algorithm", "aes-128", "--profile", "mode=ofb"),
        "does not decrypt in mode ofb",
    ),
    (Custodian.PKCS11, ("--algorithm", "aes-192"), "is not aes-192"),
    (Custodian.PKCS11, ("--algorithm", "tdes-2key"), "no key of this name"),
    (Custodian.LOCAL, ("--algorithm", "aes-192"), "is for aes-256, not for aes-192"),
]


@pytest.mark.parametrize(("custodian", "options", "reason"), REFUSED_AT_REGISTRATION)
def test_what_a_custodian_cannot_do_is_refused_at_registration(
    custody: CustodyDeployment, options: tuple[str, ...], reason: str
) -> None:
    key = custody.bdks[BDKAlgorithm.AES_256].key_uri

    refused = custody.deployment.run_here(
        "bdk", "register", "--id", "other", "--key", key, *options, check=False
    )

    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "other" not in custody.deployment.run_here("bdk", "list").stdout


def test_a_key_that_its_custodian_does_not_have_is_refused_at_registration(
    custody: CustodyDeployment,
) -> None:
    there = custody.bdks[BDKAlgorithm.AES_128].key_uri
    absent = there[:-3] + "999"

    refused = custody.deployment.run_here(
        *("bdk", "register", "--id", "absent", "--key", absent, "--algorithm", "aes-128"),
        check=False,
    )

    assert refused.returncode == 1
    assert "Error: " in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 2
    assert "absent" not in custody.deployment.run_here("bdk", "list").stdout
