"""Terminals that may not send, or not so."""

import httpx
import psycopg

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAYLOAD, check_problem


def test_devices(deployment: Deployment, service: RunningService, pos: httpx.Client) -> None:
    terminal = deployment.terminal()
    body = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
    assert service.create(pos, body).status_code == 201

    stolen = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2) | {
        "device_id": "somebody-else"
    }
    answer = service.create(pos, stolen)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")

    deployment.run_here(
        *(
            "devices",
            "register",
            "--device-id",
            "till-9",
            "--merchant",
            MERCHANT,
            "--bdk",
            "default-aes-128",
        ),
        *("--mode", "cbc"),
    )
    differs = deployment.body(device_id="till-9")
    differs[PAYLOAD]["mode"] = "ecb"
    answer = service.create(pos, differs)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert "differs from the device's profile" in answer.json()["detail"]

    other_scheme = deployment.body(device_id="till-9")
    other_scheme[PAYLOAD]["scheme"] = "dukpt-tdes"
    answer = service.create(pos, other_scheme)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")

    for state in ("suspended", "stolen", "retired"):
        with psycopg.connect(deployment_url(deployment.settings)) as database:
            database.execute("UPDATE devices SET state = %s WHERE device_id = 'till-9'", (state,))
        answer = service.create(pos, deployment.body(device_id="till-9"))
        assert (answer.status_code, answer.json()["code"]) == (422, "device_suspended")


def test_an_initial_key_that_was_bound_at_registration_serves_nobody_else(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body = deployment.body(device_id="till-10")
    deployment.run_here(
        *(
            "devices",
            "register",
            "--device-id",
            "till-10",
            "--merchant",
            MERCHANT,
            "--bdk",
            "default-aes-128",
        ),
        *("--ksn", body[PAYLOAD]["ksn"]),
    )

    stolen = service.create(pos, body | {"device_id": "till-11"})
    other_key = service.create(pos, deployment.body(device_id="till-10"))
    own = service.create(pos, body)

    assert stolen.json()["code"] == "unknown_device"
    assert other_key.json()["code"] == "unknown_device"
    assert own.status_code == 201


def test_the_initial_key_of_another_merchants_device(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    terminal = deployment.terminal()
    own = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
    theirs = terminal.create_body("m_other", PUBLISHED_CARDS[0], PartFormat.TRACK2)
    secret = deployment.run("api-keys", "create", "--merchant", "m_other").stdout.strip()

    assert service.create(pos, own).status_code == 201
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as other:
        answer = service.create(other, theirs)

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")
    check_problem(answer)


def test_an_unregistered_device_where_registration_is_required(
    deployment: Deployment, service: RunningService
) -> None:
    with deployment.serving(DEVICE_REGISTRATION="required") as running, running.public() as pos:
        answer = running.create(pos, deployment.body())

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")
