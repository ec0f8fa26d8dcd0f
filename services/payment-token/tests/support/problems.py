"""What every refusal looks like, and the pieces that bad requests are made of."""

import base64
from typing import Any

import httpx
import pytest

from tests.support.deployment import RunningService
from tests.support.requests import Attempt, setting

PAN = "4111111111111111"
PAYLOAD = "encrypted_payload"
PART = f"{PAYLOAD}.parts.0"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def case(name: str, status: int, code: str, attempt: Attempt) -> Any:
    return pytest.param(attempt, status, code, id=name)


def field(name: str, path: str, value: Any) -> Any:
    return case(name, 422, "invalid_field", Attempt(setting(path, value)))


def tdes(name: str, path: str, value: Any, code: str = "invalid_field") -> Any:
    return case(name, 422, code, Attempt(setting(path, value), bdk_id="default-tdes-2key"))


def raw(name: str, body: bytes, status: int = 400, code: str = "malformed_request") -> Any:
    return case(name, status, code, Attempt(raw=body))


def check_problem(answer: httpx.Response) -> None:
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "code", "detail", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert PAN not in answer.text
    waits = answer.status_code in (429, 503) or problem["code"] == "idempotency_in_progress"
    assert ("Retry-After" in answer.headers) == waits


def check_nothing_was_a_defect(service: RunningService) -> None:
    """No answer was a 5xx, no exception was logged, and the card number stands in no line."""
    counts = httpx.get(service.urls["metrics"] + "/metrics").text.splitlines()
    requests = [line for line in counts if line.startswith("payment_token_requests_total{")]
    assert requests
    defects = [
        line
        for line in service.log_lines
        if "internal_error" in line or '"exception"' in line or PAN in line
    ]
    assert defects == []
    assert [line for line in requests if 'status="5' in line] == []
