"""The internal API: card data back to authorised workers, over mutual TLS, each attempt audited."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from payment_token.api.rest.bounds import is_given_up
from payment_token.api.rest.decrypt_models import DecryptBody, ReleasedBody
from payment_token.api.rest.openapi import problems, request_body, request_id_parameter
from payment_token.api.rest.request_body import read_body
from payment_token.api.rest.request_context import check_request_id, request_id_of
from payment_token.api.worker_certificate import worker_of
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Release, Released, ReleaseRequest
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
        attempt = _Attempt(worker_of(request.scope), request_id_of(request))
        refusal = None
        try:
            released = await _released(release, attempt, request)
        except AuditUnavailableError:
            raise
        except PaymentTokenError as error:
            refusal = error
        if refusal is not None:
            # Every decrypt, allowed or refused, is a durable record before its answer leaves.
            await release.record_refusal(
                attempt.worker, attempt.request_id, attempt.request, refusal
            )
            raise refusal
        if is_given_up(request.scope):
            release.take_back(released)
            raise AuditUnavailableError
        return Response(
            ReleasedBody.render(released),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return router


async def _released(release: Release, attempt: _Attempt, request: Request) -> Released:
    release.admit(attempt.worker)
    body = await read_body(request, DecryptBody)
    check_request_id(request)
    attempt.request = body.to_domain()
    return await release(attempt.worker, attempt.request_id, attempt.request)
