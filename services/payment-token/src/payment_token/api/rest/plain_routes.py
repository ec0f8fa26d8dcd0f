"""The busy endpoints, without what FastAPI does around each call of one: it would cost more than the rest of HTTP.

FastAPI describes these routes, and answers whatever is not one of them: another method, another path.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from payment_token.api.rest.encoded_slashes import keep_apart

AnswerTo = Callable[[Request, Exception], Awaitable[Response]]
"""The answer to what an endpoint raised."""


@dataclass(frozen=True, slots=True)
class _PlainRoute:
    path: str
    pattern: re.Pattern[str]
    endpoint: Callable[..., Awaitable[Response]]


class PlainRoutes:
    """ASGI application. Each endpoint of ``router`` takes the request and the parameters of its path, and returns a Response."""

    def __init__(self, router: APIRouter, otherwise: ASGIApp, answer_to: AnswerTo) -> None:
        self._otherwise = otherwise
        self._answer_to = answer_to
        self._routes: dict[str, Sequence[_PlainRoute]] = {}
        for route in router.routes:
            if isinstance(route, APIRoute):
                plain = _PlainRoute(route.path, route.path_regex, route.endpoint)
                for method in route.methods or ():
                    self._routes[method] = (*self._routes.get(method, ()), plain)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            keep_apart(scope)
            for route in self._routes.get(scope["method"], ()):
                matched = route.pattern.match(scope["path"])
                if matched is not None:
                    await self._serve(route, matched.groupdict(), scope, receive, send)
                    return
        await self._otherwise(scope, receive, send)

    async def _serve(
        self,
        route: _PlainRoute,
        parameters: dict[str, str],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request, **parameters)
        except Exception as error:  # noqa: BLE001 - nothing of an exception reaches a caller
            response = await self._answer_to(request, error)
        await response(scope, receive, send)


def together(*routers: APIRouter) -> APIRouter:
    """Their routes as those of one."""
    joined = APIRouter()
    for router in routers:
        joined.routes.extend(router.routes)
    return joined
