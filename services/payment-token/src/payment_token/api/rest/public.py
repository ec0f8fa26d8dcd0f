"""The public API: terminals' payloads in, tokens out. Card data never leaves on this side."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from payment_token.api.batch import Batches
from payment_token.api.caller_rules import (
    APIKeys,
    authenticated,
    idempotency_key,
    merchant_of,
)
from payment_token.api.noted_cleartext import CleartextNoted
from payment_token.api.rest.batch_models import (
    CREATE_LIMIT_BYTES,
    BatchResultsBody,
    CreateBatchBody,
    CreateItemBody,
)
from payment_token.api.rest.batch_results import batch_response
from payment_token.api.rest.device_event_models import (
    DeviceEventsBody,
    event_parameters,
    event_query,
)
from payment_token.api.rest.openapi import merchant_parameter, problems, request_body, token_headers
from payment_token.api.rest.request_body import read_body, validated
from payment_token.api.rest.request_context import (
    caller_of,
    check_batch_id,
    check_request_id,
    header_values,
    request_id_of,
)
from payment_token.api.rest.token_models import CreateTokenBody, TokenBody, token_document
from payment_token.api.tokenised_batch import tokenised_batch
from payment_token.domain.api_key import APIKey, Scope
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Permits
from payment_token.domain.recorded_events import RecordedEvents
from payment_token.domain.revoke_token import RevokeToken
from payment_token.domain.token import Token
from payment_token.domain.tokenise import Tokenise, Tokenised
from payment_token.domain.tokenise_request import TokeniseRequest
from payment_token.domain.view_token import ViewToken

_IDEMPOTENCY_HEADERS = (b"idempotency-key", b"x-idempotency-key")


@dataclass(frozen=True, slots=True)
class PublicUseCases:
    tokenise: Tokenise
    view_token: ViewToken
    revoke_token: RevokeToken
    api_keys: APIKeys
    permits: Permits
    device_events: DeviceEvents
    recorded_events: RecordedEvents


def public_routes(use_cases: PublicUseCases, batches: Batches, *, hints: bool) -> APIRouter:
    """``hints``: in the results of a batch, as in other answers of development."""
    router = APIRouter(prefix="/v1", tags=["payment tokens"])

    @router.post(
        "/payment-tokens",
        summary="Tokenise a card read",
        status_code=201,
        response_model=TokenBody,
        responses={
            200: {"model": TokenBody, "description": "Replay of an earlier request under this key"},
            **problems(400, 401, 403, 409, 410, 413, 415, 422, 429, 503),
        },
        openapi_extra={**request_body(CreateTokenBody), "parameters": token_headers()},
    )
    async def create(request: Request) -> Response:
        api_key = await _authenticated(request, use_cases, Scope.TOKENS_WRITE)
        body = await read_body(request, CreateTokenBody)
        async with CleartextNoted(use_cases.device_events, api_key):
            check_request_id(request)
            tokenise_request = body.to_domain(_idempotency_key(request), api_key.key_id)
        api_key.acting_for(tokenise_request.merchant_id)
        result = await use_cases.tokenise(tokenise_request)
        return _json(
            result.token,
            status=200 if result.replayed else 201,
            headers={"Idempotency-Replayed": "true"} if result.replayed else {},
        )

    @router.post(
        "/payment-tokens:batch",
        summary="Tokenise up to 500 card reads",
        response_model=BatchResultsBody,
        responses=problems(400, 401, 403, 413, 415, 422, 429, 503),
        openapi_extra=request_body(CreateBatchBody),
    )
    async def create_batch(request: Request) -> Response:
        api_key = await _authenticated(request, use_cases, Scope.TOKENS_WRITE)
        with batches.admitted():
            items = (await read_body(request, CreateBatchBody, CREATE_LIMIT_BYTES)).items
            async with CleartextNoted(use_cases.device_events, api_key):
                check_batch_id(request)
            if any(header_values(request, name) for name in _IDEMPOTENCY_HEADERS):
                raise InvalidFieldError(
                    "Idempotency-Key", "each item of a batch has one of its own"
                )
            outcomes = await tokenised_batch(
                use_cases.tokenise,
                use_cases.device_events,
                partial(use_cases.permits.take, api_key.key_id, api_key.rate),
                batches,
                api_key,
                [partial(_request_of, item, api_key.key_id) for item in items],
            )
            return batch_response(
                len(items), outcomes, _result, request_id_of(request), hints=hints
            )

    @router.get(
        "/payment-tokens/{payment_token}",
        summary="The masked view of a token",
        response_model=TokenBody,
        responses=problems(401, 403, 404, 410, 422, 429, 503),
        openapi_extra={"parameters": [merchant_parameter()]},
    )
    async def view(request: Request, payment_token: str) -> Response:
        api_key = await _authenticated(request, use_cases, Scope.TOKENS_READ)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _merchant(request, api_key)
        return _json(await use_cases.view_token(merchant_id, payment_token))

    @router.delete(
        "/payment-tokens/{payment_token}",
        summary="Revoke a token and shred its card data",
        status_code=204,
        responses=problems(401, 403, 404, 422, 429, 503),
        openapi_extra={"parameters": [merchant_parameter()]},
    )
    async def revoke(request: Request, payment_token: str) -> Response:
        api_key = await _authenticated(request, use_cases, Scope.TOKENS_WRITE)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _merchant(request, api_key)
        await use_cases.revoke_token(
            caller_of(request, api_key), request_id_of(request), merchant_id, payment_token
        )
        return Response(status_code=204)

    @router.get(
        "/device-events",
        summary="What terminals did that an operator should hear of (scope admin)",
        response_model=DeviceEventsBody,
        responses=problems(401, 403, 422, 429, 503),
        openapi_extra={"parameters": event_parameters()},
        tags=["administration"],
    )
    async def list_device_events(request: Request) -> Response:
        api_key = await _authenticated(request, use_cases, Scope.ADMIN)
        async with CleartextNoted(use_cases.device_events, api_key):
            check_request_id(request)
            query, limit = event_query(request, api_key)
        found = await use_cases.recorded_events.find(query, limit)
        return Response(
            DeviceEventsBody.render(found, limit),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return router


async def _authenticated(request: Request, use_cases: PublicUseCases, scope: Scope) -> APIKey:
    given = header_values(request, b"authorization")
    return await authenticated(given, use_cases.api_keys, scope, use_cases.permits)


def _request_of(item: object, api_key_id: str) -> TokeniseRequest:
    body = validated(CreateItemBody, item)
    return body.to_domain(idempotency_key({body.given_key()}, "idempotency_key"), api_key_id)


def _result(tokenised: Tokenised) -> dict[str, Any]:
    body = token_document(tokenised.token)
    if tokenised.replayed:
        return {"status": 200, "idempotency_replayed": True, "body": body}
    return {"status": 201, "body": body}


def _idempotency_key(request: Request) -> str:
    given = {value for name in _IDEMPOTENCY_HEADERS for value in header_values(request, name)}
    return idempotency_key(given, "Idempotency-Key")


def _merchant(request: Request, api_key: APIKey) -> MerchantId:
    check_request_id(request)
    return merchant_of(api_key, request.query_params.getlist("merchant_id"))


def _json(token: Token, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        TokenBody.render(token),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
