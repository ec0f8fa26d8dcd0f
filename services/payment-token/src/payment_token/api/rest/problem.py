"""Errors as RFC 9457 problem documents."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from payment_token.api.alarms import log_alarm
from payment_token.api.errors import Answer, answer_to
from payment_token.api.rest.request_context import request_id_of
from payment_token.domain.errors import (
    DecryptionFailedError,
    PaymentTokenError,
    TokenGoneError,
    UnauthenticatedError,
)

MEDIA_TYPE = "application/problem+json"


def problem_response(request: Request, error: PaymentTokenError, *, hints: bool) -> Response:
    """``hints`` adds the stage of a failed decryption: in development only, because a finer answer is an oracle."""
    answer, document = problem_of(error, request_id_of(request), hints=hints)
    headers = {"Cache-Control": "no-store"}
    if answer.retry_after_seconds is not None:
        headers["Retry-After"] = str(answer.retry_after_seconds)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(document), answer.status, headers, media_type=MEDIA_TYPE)


def defect_response(request: Request) -> Response:
    return Response(
        json.dumps(_defect_document(request_id_of(request))), 500, media_type=MEDIA_TYPE
    )


def problem_of(
    error: PaymentTokenError, request_id: str, *, hints: bool
) -> tuple[Answer, dict[str, Any]]:
    """The row of the error table, and the document."""
    answer = answer_to(error)
    document: dict[str, Any] = {
        "type": f"urn:payment-token:error:{error.code}",
        "title": answer.title,
        "status": answer.status,
        "code": error.code,
        "detail": error.detail,
        "request_id": request_id,
    }
    if isinstance(error, TokenGoneError):
        document["payment_token"] = error.payment_token
    if hints and isinstance(error, DecryptionFailedError):
        document["hint"] = error.stage
    return answer, document


def result_of(error: Exception, request_id: str, *, hints: bool) -> dict[str, Any]:
    """The result of a batch's item that ended with this error: a header cannot say when to send it again."""
    log_alarm(error, request_id)
    if not isinstance(error, PaymentTokenError):
        return {"status": 500, "problem": _defect_document(request_id)}
    answer, document = problem_of(error, request_id, hints=hints)
    if answer.retry_after_seconds is not None:
        document["retry_after_seconds"] = answer.retry_after_seconds
    return {"status": answer.status, "problem": document}


def _defect_document(request_id: str) -> dict[str, Any]:
    """Not a deliberate answer. It must at least not carry the exception's text."""
    return {
        "type": "urn:payment-token:error:internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "A defect of the service. Operators can find it by the request id.",
        "request_id": request_id,
    }
