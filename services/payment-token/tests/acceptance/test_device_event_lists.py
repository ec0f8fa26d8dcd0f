"""Events of terminals as operators and administrators read them; a terminal that is suspended by itself."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.domain.device_events import DeviceEventKind
from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import check_nothing_was_a_defect

LISTED = {
    "event_id",
    "kind",
    "merchant_id",
    "device_id",
    "ksn",
    "api_key_id",
    "detail",
    "count",
    "occurred_at",
    "last_at",
}


@pytest.fixture(scope="module")
def own(new_deployment: Callable[[], Deployment]) -> Deployment:
    return new_deployment()


@pytest.fixture(scope="module")
def required(own: Deployment) -> Iterator[RunningService]:
    """A service whose terminals must be registered, and are suspended after three failures."""
    with own.serving(DEVICE_REGISTRATION="required", DEVICE_SUSPEND_FAILURES="3") as service:
        yield service
        check_nothing_was_a_defect(service)


@pytest.fixture(scope="module")
def administrator(own: Deployment, required: RunningService) -> Iterator[httpx.Client]:
    secret = own.run_here("api-keys", "create", "--merchant", MERCHANT, "--scope", "admin").stdout
    headers = {"Authorization": f"Bearer {secret.strip()}"}
    with httpx.Client(base_url=required.urls["public"], headers=headers, timeout=20) as client:
        yield client


def listed(deployment: Deployment, *options: str) -> list[dict[str, Any]]:
    lines = deployment.run_here("devices", "events", "--json", *options).stdout.splitlines()
    return [json.loads(line) for line in lines]


def until(found: Callable[[], list[dict[str, Any]]], number: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 10
    while len(events := found()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return events


def unknown(deployment: Deployment, service: RunningService, device: str) -> str:
    """A request of a terminal that nobody has registered. Returns its KSN."""
    body = deployment.body(device_id=device)
    with service.public() as pos:
        assert service.create(pos, body).json()["code"] == "unknown_device"
    ksn: str = body["encrypted_payload"]["ksn"]
    return ksn


def test_an_operator_sees_what_happened_a_second_later(
    own: Deployment, required: RunningService
) -> None:
    ksn = unknown(own, required, "till-[1]")
    (event,) = until(lambda: listed(own, "--device", "till-[1]"), 1)

    assert event.keys() == LISTED
    assert event["kind"] == "unknown_device"
    assert event["merchant_id"] == MERCHANT
    assert event["ksn"] == ksn
    assert event["api_key_id"] == own.api_key.split("_")[1]
    assert event["count"] == 1
    table = own.run_here("devices", "events", "--kind", "unknown_device").stdout
    assert "till-[1]" in table
    assert "began (UTC)" in table
    assert listed(own, "--device", "till-[1]", "--kind", "ksn_replayed") == []
    assert listed(own, "--device", "till-[1]", "--merchant", "m_other") == []
    assert len(listed(own, "--device", "till-[1]", "--since", "1h")) == 1
    assert listed(own, "--since", "2100-01-01") == []
    assert "No event." in own.run_here("devices", "events", "--merchant", "m_other").stdout
    limited = own.run_here("devices", "events", "--limit", "1")
    assert "There may be more: --limit is 1." in limited.stderr


def test_an_administrator_reads_them_page_by_page(
    own: Deployment, required: RunningService, administrator: httpx.Client
) -> None:
    for number in range(5):
        unknown(own, required, f"page-{number}")
    until(lambda: [event for event in listed(own) if event["device_id"].startswith("page-")], 5)
    seen: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    while True:
        answer = administrator.get("/v1/device-events", params={"limit": 2} | before)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        page = answer.json()
        seen += page["events"]
        if page["next_before"] is None:
            break
        before = {"before": page["next_before"]}

    ids = [event["event_id"] for event in seen]
    assert ids == sorted(set(ids), reverse=True)
    assert {f"page-{number}" for number in range(5)} <= {event["device_id"] for event in seen}
    assert all(event.keys() == LISTED and event["merchant_id"] == MERCHANT for event in seen)
    found = administrator.get(
        "/v1/device-events",
        params={
            "merchant_id": MERCHANT,
            "device_id": "page-3",
            "kind": "unknown_device",
            "since": seen[-1]["occurred_at"],
            "limit": 500,
        },
    ).json()
    assert [event["device_id"] for event in found["events"]] == ["page-3"]
    assert found["next_before"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("x=1", "query"),
        ("merchant=m_demo", "query"),
        ("limit=1&limit=2", "limit"),
        ("merchant_id=m_demo&merchant_id=m_demo", "merchant_id"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1e2", "limit"),
        ("before=0", "before"),
        ("before=-1", "before"),
        ("before=9223372036854775808", "before"),
        (f"before={'9' * 500}", "before"),
        ("kind=everything", "kind"),
        ("kind=", "kind"),
        ("since=yesterday", "since"),
        ("since=2026-01-31T12:00:00", "since"),
        ("since=", "since"),
        ("device_id=", "device_id"),
        ("device_id=a%20b", "device_id"),
        ("device_id=%00", "device_id"),
        ("merchant_id=%00", "merchant_id"),
    ],
)
def test_a_query_is_strict(administrator: httpx.Client, query: str, field: str) -> None:
    answer = administrator.get(f"/v1/device-events?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["detail"].startswith(f"{field}: ")


def test_it_is_for_administrators_of_the_merchant(
    required: RunningService, administrator: httpx.Client
) -> None:
    with required.public() as pos:
        assert pos.get("/v1/device-events").json()["code"] == "forbidden"
    other = administrator.get("/v1/device-events", params={"merchant_id": "m_other"})
    assert other.json()["code"] == "forbidden"
    without = httpx.get(f"{required.urls['public']}/v1/device-events")
    assert without.json()["code"] == "unauthenticated"


def test_every_kind_can_be_asked_for(administrator: httpx.Client) -> None:
    for kind in DeviceEventKind:
        answer = administrator.get("/v1/device-events", params={"kind": kind.value})
        assert answer.status_code == 200


def test_a_terminal_that_keeps_failing_is_suspended_and_says_why(
    own: Deployment, required: RunningService
) -> None:
    terminal = own.terminal()
    own.run_here(
        "devices", "register", "--device-id", terminal.device_id, "--merchant", MERCHANT, "--bdk", "default-aes-128"
    )  # fmt: skip
    with required.public() as pos:
        for _ in range(3):
            body = own.body(device_id=terminal.device_id)
            # Of the right length, and of no terminal's.
            body["encrypted_payload"]["parts"][0]["ciphertext"] = "A" * 64
            assert required.create(pos, body).json()["code"] == "decryption_failed"
        events = until(
            lambda: listed(
                own, "--device", terminal.device_id, "--kind", "suspended_automatically"
            ),
            1,
        )
        refused = required.create(pos, own.body(device_id=terminal.device_id))

    assert events[0]["detail"] == "3 failures to decrypt within 300 seconds"
    assert refused.json()["code"] == "device_suspended"
    stopped = until(
        lambda: listed(own, "--device", terminal.device_id, "--kind", "device_not_active"), 1
    )
    assert stopped[0]["detail"] == "suspended"
    with psycopg.connect(deployment_url(own.settings)) as database:
        found = database.execute(
            "SELECT identity LIKE 'service:%' FROM audit_records WHERE event = 'device_state_changed'"
        ).fetchall()
    assert found == [(True,)]


def test_what_cannot_be_written_changes_no_answer(
    own: Deployment, required: RunningService
) -> None:
    with psycopg.connect(deployment_url(own.settings)) as database:
        database.execute("LOCK TABLE device_events IN ACCESS EXCLUSIVE MODE")
        for number in range(20):
            unknown(own, required, f"locked-{number}")
        deadline = time.monotonic() + 10
        while not any('"device events are lost"' in line for line in required.log_lines):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        database.rollback()
    metrics = httpx.get(f"{required.urls['metrics']}/metrics").text
    assert 'payment_token_device_events_lost_total{reason="database"}' in metrics
    unknown(own, required, "unlocked")
    assert until(lambda: listed(own, "--device", "unlocked"), 1)
