"""Puts routes, error answers and observation together into the application of a listener."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import payment_token
from payment_token.api.alarms import log_alarm
from payment_token.api.rest.bounds import Bounded
from payment_token.api.rest.observation import Observed, RequestMetrics, note_error_code
from payment_token.api.rest.openapi import describe, public_paths
from payment_token.api.rest.plain_routes import AnswerTo, PlainRoutes
from payment_token.api.rest.problem import defect_response, problem_response
from payment_token.api.rest.request_context import request_id_of
from payment_token.domain.errors import (
    MalformedRequestError,
    MethodNotAllowedError,
    PaymentTokenError,
    RouteNotFoundError,
)

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
    served_routers = routers if plain is None else (plain, *routers)
    for router in served_routers:
        app.include_router(router)
    app.add_exception_handler(PaymentTokenError, answer_to)
    app.add_exception_handler(HTTPException, _not_routed(served_routers))
    app.add_exception_handler(Exception, answer_to)
    describe(app, models, security or {}, public_paths(routers) if security is BEARER else ())
    served: ASGIApp = app if plain is None else PlainRoutes(plain, app, answer_to)
    return Observed(Bounded(served), listener, metrics)


def _answering(*, hints: bool) -> AnswerTo:
    async def answer_to(request: Request, error: Exception) -> Response:
        log_alarm(error, request_id_of(request))
        if not isinstance(error, PaymentTokenError):
            note_error_code(request.scope, "internal_error")
            return defect_response(request)
        note_error_code(request.scope, error.code)
        return problem_response(request, error, hints=hints)

    return answer_to


def _not_routed(routers: tuple[APIRouter, ...]) -> AnswerTo:
    async def answer_to(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        ours = {404: RouteNotFoundError, 405: MethodNotAllowedError}.get(
            status, MalformedRequestError
        )()
        note_error_code(request.scope, ours.code)
        response = problem_response(request, ours, hints=False)
        if isinstance(ours, MethodNotAllowedError):
            response.headers["Allow"] = ", ".join(sorted(_methods_of(request, routers)))
        return response

    return answer_to


def _methods_of(request: Request, routers: tuple[APIRouter, ...]) -> set[str]:
    """All that the path takes (RFC 9110 §15.5.6): the framework names those of the first route alone, and its own list of routes none."""
    return {
        method
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(request.scope["path"])
        for method in route.methods or ()
    }
