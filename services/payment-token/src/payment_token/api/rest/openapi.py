"""What OpenAPI says of bodies that the routes read themselves, because FastAPI's own reading is not strict enough."""

from collections.abc import Collection, Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from payment_token.api.errors import ANSWERS
from payment_token.api.rest.token_models import ProblemBody
from payment_token.domain.identifiers import IDEMPOTENCY_KEY, MERCHANT_ID

_REF = "#/components/schemas/{model}"


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """One response for each status, with the codes that it may carry."""
    return {
        status: {
            "description": ", ".join(
                error.code for error, answer in ANSWERS.items() if answer.status == status
            ),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": _REF.format(model=ProblemBody.__name__)}
                }
            },
        }
        for status in statuses
    }


def merchant_parameter() -> dict[str, Any]:
    return {
        "name": "merchant_id",
        "in": "query",
        "required": False,
        "description": "May be left out where the API key acts for exactly one merchant.",
        "schema": {"type": "string", "pattern": f"^{MERCHANT_ID.pattern}$"},
    }


def request_id_parameter() -> dict[str, Any]:
    return {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "description": "Stands in the audit record; made up and returned if absent. At most 120 characters for a batch,"
        " whose items are named after it; none may be named like an item.",
        "schema": {"type": "string", "pattern": "^(?!.*:item[0-9]+$)[A-Za-z0-9._:-]{1,128}$"},
    }


def token_headers() -> list[dict[str, Any]]:
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "1 to 255 visible ASCII characters. X-Idempotency-Key is an alias.",
            "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
        }
    ]


def public_paths(routers: Iterable[APIRouter]) -> list[str]:
    """Of health and metrics, which ask for no API key."""
    return [
        route.path for router in routers for route in router.routes if isinstance(route, APIRoute)
    ]


def describe(
    app: FastAPI,
    models: tuple[type[BaseModel], ...],
    security: dict[str, Any],
    open_paths: Collection[str] = (),
) -> None:
    """Adds the models that routes only refer to, and how callers prove who they are: on ``open_paths`` not at all."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            described: tuple[type[BaseModel], ...] = (*models, ProblemBody)
            _, definitions = models_json_schema(
                [(model, "validation") for model in described], ref_template=_REF
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
            if security:
                components["securitySchemes"] = security
                document["security"] = [{scheme: [] for scheme in security}]
            for path in open_paths:
                for operation in document["paths"].get(path, {}).values():
                    operation["security"] = []
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
