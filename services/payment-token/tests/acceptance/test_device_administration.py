"""Devices as administrators have them through the API: registered, looked at, stopped and brought back."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAN, PAYLOAD, check_problem

BDK = "default-aes-128"


@pytest.fixture(scope="module")
def admin(deployment: Deployment, service: RunningService) -> Iterator[httpx.Client]:
    made = deployment.run_here("api-keys", "create", "--merchant", MERCHANT, "--scope", "admin")
    with service.public(headers={"Authorization": f"Bearer {made.stdout.strip()}"}) as client:
        yield client


def new_id() -> str:
    return f"d-{uuid.uuid4().hex[:12]}"


def registered(admin: httpx.Client, device_id: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"device_id": device_id or new_id(), "bdk_id": BDK} | more
    answer = admin.post("/v1/devices", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def path(device_id: str, change: str = "") -> str:
    return f"/v1/devices/{quote(device_id, safe='')}" + (f"/{change}" if change else "")


def change(admin: httpx.Client, device_id: str, name: str, **body: Any) -> httpx.Response:
    return admin.post(path(device_id, name), json=body)


def records(deployment: Deployment, device_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        return database.execute(
            "SELECT event, identity, record::jsonb -> 'details' FROM audit_records"
            " WHERE record::jsonb -> 'details' ->> 'device_id' = %s ORDER BY recorded_at, sequence",
            (device_id,),
        ).fetchall()


def test_a_device_from_its_registration_to_its_end(
    deployment: Deployment, service: RunningService, pos: httpx.Client, admin: httpx.Client
) -> None:
    device_id = new_id()
    body = deployment.body() | {"device_id": device_id}
    ksn = body[PAYLOAD]["ksn"]

    device = registered(
        admin,
        device_id,
        ksns=[ksn],
        serial="706T1",
        make="ID TECH",
        model="VP3300",
        firmware="1.0",
        profile="generic-aes",
    )
    assert (device["state"], device["profile"], device["tokens"]) == (
        "registered",
        "generic-aes",
        0,
    )
    assert device["encryption"]["scheme"] == "dukpt-aes"
    assert [key["initial_key_id"] for key in device["initial_keys"]] == [ksn[:16].upper()]

    suspended = change(admin, device_id, "suspend", reason="till 7 is missing").json()
    assert (suspended["state"], suspended["state_reason"]) == ("suspended", "till 7 is missing")
    assert service.create(pos, body).json()["code"] == "device_suspended"
    assert change(admin, device_id, "reactivate").json()["state"] == "registered"
    assert service.create(pos, body).status_code == 201
    active = admin.get(path(device_id)).json()
    assert (active["state"], active["tokens"]) == ("active", 1)
    assert active["first_seen_at"] == active["last_seen_at"]
    assert active["initial_keys"][0]["newest_counter"] == int(ksn[16:], 16)
    assert service.create(pos, body).json()["code"] == "ksn_replayed"

    reset = change(admin, device_id, "reset-counter", initial_key_id=ksn[:16], reason="repaired")
    assert reset.json()["initial_keys"][0]["newest_counter"] is None
    assert service.create(pos, body).status_code == 201
    assert change(admin, device_id, "report-stolen").json()["state"] == "stolen"
    assert service.create(pos, body).json()["code"] == "device_suspended"
    unexplained = change(admin, device_id, "reactivate")
    assert (unexplained.status_code, unexplained.json()["code"]) == (422, "invalid_field")
    assert change(admin, device_id, "reactivate", reason="found").json()["state"] == "active"
    assert change(admin, device_id, "retire").json()["state"] == "retired"
    assert service.create(pos, body).json()["code"] == "device_suspended"

    events = records(deployment, device_id)
    assert [event for event, _, _ in events] == [
        "device_registered",
        "device_state_changed",
        "device_state_changed",
        "device_counter_reset",
        "device_state_changed",
        "device_state_changed",
        "device_state_changed",
    ]
    assert all(identity.startswith("api-key:") for _, identity, _ in events)
    assert events[1][2] == {
        "device_id": device_id,
        "change": "suspend",
        "from": "registered",
        "to": "suspended",
        "reason": "till 7 is missing",
    }
    deadline = time.monotonic() + 10
    noted = ""
    while "counter_reset" not in noted:  # it is written a moment later
        assert time.monotonic() < deadline, noted
        noted = admin.get("/v1/device-events", params={"device_id": device_id}).text
    assert events[3][2]["high_water"] == int(ksn[16:], 16)


def test_what_a_state_does_not_allow(deployment: Deployment, admin: httpx.Client) -> None:
    device_id = registered(admin)["device_id"]
    change(admin, device_id, "retire")
    before = records(deployment, device_id)

    for name in ("suspend", "reactivate", "report-stolen", "retire", "reset-counter"):
        answer = change(admin, device_id, name, reason="why not")
        assert (answer.status_code, answer.json()["code"]) == (409, "device_state_conflict"), name
        check_problem(answer)

    assert records(deployment, device_id) == before


@pytest.mark.parametrize(
    "device_id",
    [
        "till/7",
        "a/suspend",
        "suspend",
        "/",
        "//",
        "a/../b",
        "100%",
        "%2F",
        "a%2fb",
        "?x=1&y#z",
        "a+b;c=d,e",
        "[red]",
        "\"'<>\\^`{|}~",
        "...",
    ],
)
def test_any_visible_character_in_an_id(admin: httpx.Client, device_id: str) -> None:
    name = f"{device_id}{uuid.uuid4().hex[:6]}" if device_id != "..." else device_id

    assert registered(admin, name)["device_id"] == name
    assert admin.get(path(name)).json()["device_id"] == name
    assert change(admin, name, "suspend", reason="x").json()["device_id"] == name
    assert change(admin, name, "reset-counter").json()["state"] == "suspended"
    listed = admin.get("/v1/devices", params={"state": "suspended", "limit": 500}).json()
    assert name in [device["device_id"] for device in listed["devices"]]


def test_a_slash_in_an_id_is_no_step_of_a_path(admin: httpx.Client) -> None:
    short = registered(admin)["device_id"]

    posted = admin.post(f"/v1/devices/{short}%2Fsuspend", json={"reason": "x"})
    assert (posted.status_code, posted.json()["code"]) == (405, "method_not_allowed")
    assert posted.headers["Allow"] == "GET"
    for steps in (f"{short}/", f"{short}/suspend/", f"{short}/suspend/x", "", "a//suspend"):
        answer = admin.post(f"/v1/devices/{steps}", json={"reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found"), steps
    assert admin.get(path(short)).json()["state"] == "registered"


@pytest.mark.parametrize(
    "name", ["nobody", "d" * 65, "%00", "%C3%BC", "%FF", "a%20b", "%ED%B0%AF", "%ED%B0%AFa%2F"]
)
def test_what_is_no_device_of_this_merchant(admin: httpx.Client, name: str) -> None:
    for answer in (
        admin.get(f"/v1/devices/{name}"),
        admin.post(f"/v1/devices/{name}/suspend", json={"reason": "x"}),
        admin.post(f"/v1/devices/{name}/reset-counter", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "device_not_found")
        check_problem(answer)


@pytest.mark.parametrize(
    ("field", "value", "code", "named"),
    [
        ("device_id", "", "invalid_field", "device_id"),
        ("device_id", "..", "invalid_field", "device_id"),
        ("device_id", "two words", "invalid_field", "device_id"),
        ("device_id", PAN, "cleartext_card_data", "device_id"),
        ("bdk_id", "nobodys", "invalid_field", "bdk_id"),
        ("bdk_id", None, "invalid_field", "bdk_id"),
        ("ksns", ["zz"], "invalid_field", "ksns"),
        ("ksns", "1" * 24, "invalid_field", "ksns"),
        ("ksns", ["FFFF9876543210E00000"], "invalid_field", "ksns"),
        ("serial", PAN, "cleartext_card_data", "serial"),
        ("serial", "a b", "invalid_field", "serial"),
        ("make", "a\nb", "invalid_field", "make"),
        ("make", 7, "invalid_field", "make"),
        ("model", f"VP {PAN}", "cleartext_card_data", "model"),
        ("profile", "nothing", "invalid_field", "profile"),
        ("profile", "magtek-swipe", "invalid_field", "profile: does not fit"),
        ("state", "active", "invalid_field", "does not know"),
    ],
)
def test_what_is_no_registration(
    deployment: Deployment, admin: httpx.Client, field: str, value: Any, code: str, named: str
) -> None:
    body = {"device_id": new_id(), "bdk_id": BDK} | {field: value}
    answer = admin.post("/v1/devices", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert named in answer.json()["detail"]
    check_problem(answer)
    if field != "device_id":
        assert admin.get(path(body["device_id"])).status_code == 404
        assert records(deployment, body["device_id"]) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"device_id": "a", "device_id": "b"}', b'{"reason": "\\u0000"}']
)
def test_json_is_strict(admin: httpx.Client, body: bytes) -> None:
    device_id = registered(admin)["device_id"]
    headers = {"Content-Type": "application/json"}
    for place in ("/v1/devices", path(device_id, "suspend"), path(device_id, "reset-counter")):
        answer = admin.post(place, content=body, headers=headers)
        assert answer.status_code in (400, 422)
        check_problem(answer)
    assert admin.get(path(device_id)).json()["state"] == "registered"


def test_a_reason_with_a_card_number_is_neither_stored_nor_recorded(
    deployment: Deployment, service: RunningService, admin: httpx.Client
) -> None:
    device_id = registered(admin)["device_id"]
    for name in ("suspend", "retire", "reset-counter"):
        answer = change(admin, device_id, name, reason=f"card {PAN}")
        assert (answer.status_code, answer.json()["code"]) == (422, "cleartext_card_data")
        check_problem(answer)
    assert len(records(deployment, device_id)) == 1
    assert PAN not in "".join(service.log_lines)


def test_registering_again(deployment: Deployment, admin: httpx.Client) -> None:
    body = {"device_id": new_id(), "bdk_id": BDK, "make": "Own", "ksns": ["1" * 20 + "0000"]}
    first = admin.post("/v1/devices", json=body)
    again = admin.post("/v1/devices", json=body)
    other = admin.post("/v1/devices", json=body | {"make": "Other"})
    taken = admin.post("/v1/devices", json=body | {"device_id": new_id()})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    for answer in (other, taken):
        assert (answer.status_code, answer.json()["code"]) == (409, "device_exists")
        check_problem(answer)
    assert len(records(deployment, str(body["device_id"]))) == 1


def test_the_list_goes_by_pages(deployment: Deployment, service: RunningService) -> None:
    merchant = f"m_{uuid.uuid4().hex[:8]}"
    made = deployment.run_here("api-keys", "create", "--merchant", merchant, "--scope", "admin")
    names = [f"d/{number:02}" for number in range(7)]
    with service.public(headers={"Authorization": f"Bearer {made.stdout.strip()}"}) as admin:
        for name in names:
            registered(admin, name)
        change(admin, names[3], "suspend", reason="x")
        found, after = [], None
        while True:
            query = {"limit": "3"} | ({"after": after} if after else {})
            page = admin.get("/v1/devices", params=query).json()
            assert len(page["devices"]) <= 3
            found += [device["device_id"] for device in page["devices"]]
            after = page["next_after"]
            if after is None:
                break
        assert found == names
        (only,) = admin.get("/v1/devices", params={"state": "suspended"}).json()["devices"]
        assert only["device_id"] == names[3]
        for query in (
            {"limit": "0"},
            {"limit": "501"},
            {"limit": "x"},
            {"limit": "\u0663"},
            {"state": "gone"},
            {"after": "two words"},
            {"after": ""},
            [("limit", "1"), ("limit", "2")],
        ):
            answer = admin.get("/v1/devices", params=query)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), query


def test_the_document_is_the_one_of_the_command_line(
    deployment: Deployment, admin: httpx.Client
) -> None:
    device_id = registered(admin, make="Own", profile="generic-aes")["device_id"]
    shown = deployment.run_here("devices", "show", device_id, "--merchant", MERCHANT, "--json")

    assert json.loads(shown.stdout) == admin.get(path(device_id)).json()
