"""The internal API: card data back to authorised workers, and the end of SAD, over mutual TLS, each attempt audited."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from payment_token.api.audited_release import (
    Attempt,
    done_on_record,
    on_record,
    released_on_record,
)
from payment_token.api.batch import Batches
from payment_token.api.released_batch import released_batch
from payment_token.api.rest.batch_models import (
    DECRYPT_LIMIT_BYTES,
    BatchResultsBody,
    DecryptBatchBody,
)
from payment_token.api.rest.batch_results import batch_response
from payment_token.api.rest.bounds import is_given_up
from payment_token.api.rest.completion_models import CompletedBody, CompletionBody
from payment_token.api.rest.decrypt_models import DecryptBody, ReleasedBody, released_document
from payment_token.api.rest.openapi import problems, request_body, request_id_parameter
from payment_token.api.rest.request_body import read_body, validated
from payment_token.api.rest.request_context import (
    check_batch_id,
    check_request_id,
    request_id_of,
)
from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.domain.complete_authorization import CompleteAuthorization, CompletionRequest
from payment_token.domain.release import Release, Released, ReleaseRequest


@dataclass(frozen=True, slots=True)
class InternalUseCases:
    release: Release
    complete_authorization: CompleteAuthorization


def internal_routes(
    use_cases: InternalUseCases, workers: WorkerCertificates, batches: Batches
) -> APIRouter:
    release = use_cases.release
    router = APIRouter(prefix="/internal/v1", tags=["release"])

    @router.post(
        "/decrypt",
        summary="Release card data to an authorised worker",
        response_model=ReleasedBody,
        responses=problems(400, 401, 403, 404, 410, 413, 415, 422, 429, 500, 503),
        openapi_extra={**request_body(DecryptBody), "parameters": [request_id_parameter()]},
    )
    async def decrypt(request: Request) -> Response:
        attempt: Attempt[ReleaseRequest] = Attempt(
            workers.worker_of(request.scope), request_id_of(request)
        )

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

    @router.post(
        "/decrypt:batch",
        summary="Release the card data of up to 500 tokens to an authorised worker",
        response_model=BatchResultsBody,
        responses=problems(400, 401, 403, 413, 415, 422, 503),
        openapi_extra={**request_body(DecryptBatchBody), "parameters": [request_id_parameter()]},
    )
    async def decrypt_batch(request: Request) -> Response:
        whole: Attempt[ReleaseRequest] = Attempt(
            workers.worker_of(request.scope), request_id_of(request)
        )

        async def read_items() -> list[Any]:
            release.admit(whole.worker)
            body = await read_body(request, DecryptBatchBody, DECRYPT_LIMIT_BYTES)
            check_batch_id(request)
            return body.items

        with batches.admitted():
            items = await on_record(release, whole, read_items)
            outcomes = await released_batch(
                release,
                batches,
                whole,
                [partial(_request_of, item) for item in items],
                lambda: is_given_up(request.scope),
            )
            return batch_response(len(items), outcomes, _result, whole.request_id, hints=False)

    @router.post(
        "/payment-tokens/{payment_token}/authorization-complete",
        summary="End the sensitive authentication data of a token",
        response_model=CompletedBody,
        responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={**request_body(CompletionBody), "parameters": [request_id_parameter()]},
    )
    async def complete_authorization(request: Request, payment_token: str) -> Response:
        attempt: Attempt[CompletionRequest] = Attempt(
            workers.worker_of(request.scope), request_id_of(request)
        )

        async def read() -> None:
            body = await read_body(request, CompletionBody)
            check_request_id(request)
            attempt.request = body.to_domain(payment_token)

        completed = await done_on_record(use_cases.complete_authorization, attempt, read)
        return Response(CompletedBody.render(completed), media_type="application/json")

    return router


def _request_of(item: object) -> ReleaseRequest:
    return validated(DecryptBody, item).to_domain()


def _result(released: Released) -> dict[str, Any]:
    return {"status": 200, "body": released_document(released)}
