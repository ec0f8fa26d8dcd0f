"""An answer of the service: a result, or which error it is."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from payment_token_client.errors import ERRORS, ClientError, ServiceError, UnexpectedAnswerError


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` may be card data in clear, so it is in no text of this. Names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def document(self) -> dict[str, Any]:
        """Raises ValueError unless the body is a JSON object."""
        document = json.loads(self.body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return document


def failure_of(answer: Answer, now: datetime) -> ClientError | None:
    """The error that an answer is, None for a success. ``now`` is for a Retry-After that is a date."""
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own numbers
        return None
    failure = failure_in(
        _problem(answer), answer.status, retry_after_seconds(answer.header("Retry-After"), now)
    )
    failure.request_id = failure.request_id or answer.header("X-Request-ID")
    return failure


def failure_in(problem: Mapping[str, Any], status: int, retry_after: float | None) -> ServiceError:
    """The error of a problem document: of an answer, or of an item of a batch."""
    code = _text(problem, "code") or f"http_{status}"
    failure = ERRORS.get(code, ServiceError)(
        _text(problem, "detail") or "The answer was not one of the service's own.",
        status=status,
        request_id=_text(problem, "request_id"),
        retry_after=retry_after,
        payment_token=_text(problem, "payment_token"),
    )
    failure.code = code
    return failure


def unexpected(answer: Answer) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(
        "The answer is not of the contract.",
        status=answer.status,
        request_id=answer.header("X-Request-ID"),
    )


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Of a Retry-After header (RFC 9110, 10.2.3): seconds or a date. None where it says nothing, or nonsense.

    >>> now = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
    >>> retry_after_seconds("3", now)
    3.0
    >>> retry_after_seconds("Fri, 27 Nov 2026 12:00:09 GMT", now)
    9.0
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _problem(answer: Answer) -> dict[str, Any]:
    """The problem document (RFC 9457), empty where it is none: a proxy's page says nothing that we would show."""
    media_type = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != "application/problem+json":
        return {}
    try:
        return answer.document()
    except (ValueError, RecursionError):
        return {}


def _text(problem: Mapping[str, Any], name: str) -> str | None:
    value = problem.get(name)
    return value if isinstance(value, str) else None
