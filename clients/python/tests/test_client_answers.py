"""How answers are read: the service's, and hostile ones."""

import json
from datetime import UTC, datetime

import pytest

from payment_token_client.answers import Answer, failure_of, retry_after_seconds
from payment_token_client.errors import ERRORS, InvalidFieldError, ServiceError

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
PROBLEM = {"content-type": "application/problem+json"}


def problem(status: int, headers: dict[str, str] = PROBLEM, **members: object) -> Answer:
    return Answer(status, headers, json.dumps(members).encode())


def failure(answer: Answer) -> ServiceError:
    found = failure_of(answer, NOW)
    assert isinstance(found, ServiceError)
    return found


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_each_code_has_a_class_of_its_own(code: str) -> None:
    found = failure(problem(422, code=code, detail="why", request_id="r-1"))
    assert type(found) is ERRORS[code]
    assert (found.code, found.status, found.detail, found.request_id) == (code, 422, "why", "r-1")
    assert str(found) == f"{code} (422): why [request r-1]"


def test_a_code_of_a_newer_service_is_the_general_error_under_its_own_name() -> None:
    found = failure(problem(422, code="new_code", detail="why"))
    assert type(found) is ServiceError
    assert found.code == "new_code"
    assert ServiceError.code == "client_error"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(502, {"content-type": "text/html"}, b"<html>4111111111111111</html>"),
        Answer(502, PROBLEM, b"{not json"),
        Answer(502, PROBLEM, b"[1]"),
        Answer(502, PROBLEM, b"\xff"),
        Answer(502, PROBLEM, b"[" * 100_000),
        problem(502, code=17, detail=["4111111111111111"]),
        Answer(502, {}, b""),
    ],
)
def test_an_answer_that_is_no_problem_document_is_not_shown(answer: Answer) -> None:
    found = failure(answer)
    assert type(found) is ServiceError
    assert found.code == "http_502"
    assert "4111" not in str(found) + repr(found)


def test_a_redirect_is_an_error() -> None:
    assert failure(Answer(302, {"location": "https://elsewhere.example/"}, b"")).code == "http_302"


def test_retry_after_reaches_the_error() -> None:
    found = failure(problem(503, PROBLEM | {"retry-after": "60"}, code="overloaded"))
    assert found.retry_after == 60.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Fri, 27 Nov 2026 12:01:00 GMT", 60.0),
        ("Fri, 27 Nov 2026 11:00:00 GMT", 0.0),
        ("Friday, 27-Nov-26 12:00:30 GMT", 30.0),
        ("Fri, 27 Nov 2026 12:00:10 -0000", 10.0),
        ("-5", None),
        ("1.5", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 400, None),
        ("Fri, 99 Nov 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_else_nothing(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after_seconds(value, NOW) == seconds


def test_the_detail_names_the_field() -> None:
    found = failure(problem(422, code="invalid_field", detail="ttl_seconds: must be at least 60"))
    assert isinstance(found, InvalidFieldError)
    assert "ttl_seconds" in found.detail
