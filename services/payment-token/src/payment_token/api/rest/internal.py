"""The internal API: card data back to authorised workers, over mutual TLS, each attempt audited."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from payment_token.api.rest.decrypt_models import DecryptBody, ReleasedBody
from payment_token.api.rest.openapi import problems, request_body, request_id_parameter
from payment_token.api.rest.request_body import read_body
from payment_token.api.rest.request_context import check_request_id, request_id_of
from payment_token.api.worker_certificate import worker_of
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Release, ReleaseRequest
from payment_token.domain.worker_policy import Worker


@dataclass(slots=True)
class _Attempt:
    """What an audit record can say of a request that ends early: ``request`` once it was readable."""

    worker: Worker
    request_id: RequestId
    request: ReleaseRequest | None = None


def internal_routes(release: Release) -> APIRouter:
    router = APIRouter(prefix="/internal/v1", tags=["release"])

    @router.post(
        "/decrypt",
        summary="Release card data to an authorised worker",
        response_model=ReleasedBody,
        responses=problems(400, 401, 403, 404, 410, 413, 415, 422, 500, 503),
        openapi_extra={**request_body(DecryptBody), "parameters": [request_id_parameter()]},
    )
    async def decrypt(request: Request) -> Response:
        worker = worker_of(request.scope)
        async with _refusal_recorded(release, _Attempt(worker, request_id_of(request))) as attempt:
            release.admit(worker)
            body = await read_body(request, DecryptBody)
            check_request_id(request)
            attempt.request = body.to_domain()
            released = await release(worker, attempt.request_id, attempt.request)
        return Response(
            ReleasedBody.of(released).model_dump_json(),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return router


@asynccontextmanager
async def _refusal_recorded(release: Release, attempt: _Attempt) -> AsyncIterator[_Attempt]:
    """Every decrypt, allowed or refused, is a durable record before its answer leaves."""
    refusal: PaymentTokenError | None = None
    try:
        yield attempt
    except AuditUnavailableError:
        raise
    except PaymentTokenError as error:
        refusal = error
    if refusal is not None:
        await release.record_refusal(attempt.worker, attempt.request_id, attempt.request, refusal)
        raise refusal
