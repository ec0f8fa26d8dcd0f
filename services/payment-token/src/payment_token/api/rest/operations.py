"""Is it alive, is it ready, what does it count: routes that need no key."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Readiness = Callable[[], Awaitable[dict[str, str]]]
"""Gives what is not ready, by name, with a reason that holds no value. Empty when all is."""


def health_routes(readiness: Readiness) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/readyz",
        summary="Database, partitions, custodian, clock and audit are usable",
        responses={503: {}},
    )
    async def readyz() -> Response:
        failing = await readiness()
        if failing:
            return JSONResponse(
                {"status": "not ready", "failing": failing}, 503, {"Retry-After": "1"}
            )
        return JSONResponse({"status": "ready"})

    return router


def metrics_route(registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
