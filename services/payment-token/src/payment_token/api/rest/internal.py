"""The internal API: card data back to authorised workers, over mutual TLS, each attempt audited."""

from fastapi import APIRouter, Request, Response

from payment_token.api.audited_release import Attempt, released_on_record
from payment_token.api.rest.bounds import is_given_up
from payment_token.api.rest.decrypt_models import DecryptBody, ReleasedBody
from payment_token.api.rest.openapi import problems, request_body, request_id_parameter
from payment_token.api.rest.request_body import read_body
from payment_token.api.rest.request_context import check_request_id, request_id_of
from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.domain.release import Release


def internal_routes(release: Release, workers: WorkerCertificates) -> APIRouter:
    router = APIRouter(prefix="/internal/v1", tags=["release"])

    @router.post(
        "/decrypt",
        summary="Release card data to an authorised worker",
        response_model=ReleasedBody,
        responses=problems(400, 401, 403, 404, 410, 413, 415, 422, 500, 503),
        openapi_extra={**request_body(DecryptBody), "parameters": [request_id_parameter()]},
    )
    async def decrypt(request: Request) -> Response:
        attempt = Attempt(workers.worker_of(request.scope), request_id_of(request))

        async def read() -> None:
            body = await read_body(request, DecryptBody)
            check_request_id(request)
            attempt.request = body.to_domain()

        released = await released_on_record(
            release, attempt, read, lambda: is_given_up(request.scope)
        )
        return Response(
            ReleasedBody.render(released),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return router
