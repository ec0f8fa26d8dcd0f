"""Errors as RFC 9457 problem documents."""

import json

from starlette.requests import Request
from starlette.responses import Response

from payment_token.api.errors import answer_to
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
    answer = answer_to(error)
    document: dict[str, object] = {
        "type": f"urn:payment-token:error:{error.code}",
        "title": answer.title,
        "status": answer.status,
        "code": error.code,
        "detail": error.detail,
        "request_id": request_id_of(request),
    }
    if isinstance(error, TokenGoneError):
        document["payment_token"] = error.payment_token
    if hints and isinstance(error, DecryptionFailedError):
        document["hint"] = error.stage
    headers = {"Cache-Control": "no-store"}
    if answer.retry_after_seconds is not None:
        headers["Retry-After"] = str(answer.retry_after_seconds)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(document), answer.status, headers, media_type=MEDIA_TYPE)
