"""Puts routes, error answers and observation together into the application of a listener."""

import logging
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

import payment_token
from payment_token.api.rest.bounds import Bounded
from payment_token.api.rest.observation import Observed, RequestMetrics, note_error_code
from payment_token.api.rest.openapi import describe
from payment_token.api.rest.plain_routes import AnswerTo, PlainRoutes
from payment_token.api.rest.problem import MEDIA_TYPE, problem_response
from payment_token.api.rest.request_context import request_id_of
from payment_token.domain.errors import (
    MalformedRequestError,
    MethodNotAllowedError,
    PaymentTokenError,
    RecordIntegrityFailureError,
    RouteNotFoundError,
)

logger = logging.getLogger(__name__)

BEARER = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "payment-token api-keys create"}
}
MUTUAL_TLS = {"clientCertificate": {"type": "mutualTLS"}}


def application(
    listener: str,
    routers: tuple[APIRouter, ...],
    metrics: RequestMetrics,
    *,
    plain: APIRouter | None = None,
    models: tuple[type[BaseModel], ...] = (),
    security: dict[str, Any] | None = None,
    documented: bool,
    hints: bool,
) -> ASGIApp:
    """``plain`` are the routes that FastAPI only describes.

    ``documented`` serves OpenAPI; ``hints`` adds the stage of a failed decryption: both outside production only.
    """
    app = FastAPI(
        title=f"Payment Token Service, {listener} API",
        version=payment_token.__version__,
        openapi_url="/openapi.json" if documented else None,
        redoc_url=None,
        docs_url="/docs" if documented else None,
        redirect_slashes=False,
    )
    answer_to = _answering(hints=hints)
    for router in routers if plain is None else (plain, *routers):
        app.include_router(router)
    app.add_exception_handler(PaymentTokenError, answer_to)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(Exception, answer_to)
    describe(app, models, security or {})
    served: ASGIApp = app if plain is None else PlainRoutes(plain, app, answer_to)
    return Observed(Bounded(served), listener, metrics)


def _answering(*, hints: bool) -> AnswerTo:
    async def answer_to(request: Request, error: Exception) -> Response:
        if not isinstance(error, PaymentTokenError):
            return _defect(request, error)
        note_error_code(request.scope, error.code)
        if isinstance(error, RecordIntegrityFailureError):
            logger.critical(
                "record integrity failure", extra={"request_id": request_id_of(request)}
            )
        return problem_response(request, error, hints=hints)

    return answer_to


async def _not_routed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    ours = {404: RouteNotFoundError, 405: MethodNotAllowedError}.get(
        status, MalformedRequestError
    )()
    note_error_code(request.scope, ours.code)
    response = problem_response(request, ours, hints=False)
    if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _defect(request: Request, error: Exception) -> Response:
    # Not a deliberate answer but a defect of the service. It must at least not carry the exception's text.
    logger.error(
        "defect",
        exc_info=error,
        extra={"request_id": request_id_of(request)},
    )
    note_error_code(request.scope, "internal_error")
    return JSONResponse(
        {
            "type": "urn:payment-token:error:internal_error",
            "title": "Internal error",
            "status": 500,
            "code": "internal_error",
            "detail": "A defect of the service. Operators can find it by the request id.",
            "request_id": request_id_of(request),
        },
        500,
        media_type=MEDIA_TYPE,
    )
