"""``payment_token.v1.TokenService``: what ``api/rest/public.py`` is in REST."""

from functools import partial

from google.protobuf.message import Message

from payment_token.api.batch import Batches
from payment_token.api.caller_rules import authenticated, idempotency_key, merchant_of
from payment_token.api.noted_cleartext import CleartextNoted
from payment_token.api.rest.batch_models import CREATE_LIMIT_BYTES, CreateBatchBody
from payment_token.api.rest.public import PublicUseCases
from payment_token.api.rpc.batch_messages import items_of, results_of
from payment_token.api.rpc.call import Call, message_of
from payment_token.api.rpc.generated import token_service_pb2 as pb
from payment_token.api.rpc.methods import Operations
from payment_token.api.rpc.token_messages import create_body, token_message
from payment_token.api.strict_json import check_texts
from payment_token.api.tokenised_batch import tokenised_batch
from payment_token.domain.api_key import APIKey, Scope
from payment_token.domain.audit import Actor
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.tokenise import Tokenised
from payment_token.domain.tokenise_request import TokeniseRequest

SERVICE = pb.DESCRIPTOR.services_by_name["TokenService"]


def token_operations(use_cases: PublicUseCases, batches: Batches, *, hints: bool) -> Operations:
    """``hints``: in the results of a batch, as in other answers of development."""

    async def create(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_WRITE)
        message = call.read(pb.CreateTokenRequest)
        call.take_request_id(message.request_id)
        body = create_body(message)
        async with CleartextNoted(use_cases.device_events, api_key):
            call.check_request_id()
            key = idempotency_key({message.idempotency_key}, "idempotency_key")
            request = body.to_domain(key, api_key.key_id)
        api_key.acting_for(request.merchant_id)
        return _created(await use_cases.tokenise(request))

    async def create_batch(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_WRITE)
        with batches.admitted():
            async with CleartextNoted(use_cases.device_events, api_key):
                items = items_of(
                    call, pb.BatchCreateTokensRequest, CreateBatchBody, CREATE_LIMIT_BYTES
                )
            outcomes = await tokenised_batch(
                use_cases.tokenise,
                use_cases.device_events,
                partial(use_cases.permits.take, api_key.key_id, api_key.rate),
                batches,
                api_key,
                [partial(_request_of, item, api_key.key_id) for item in items],
                call.seconds_for_items(),
            )
            results = results_of(
                len(items),
                outcomes,
                lambda tokenised: pb.CreateTokenResult(response=_created(tokenised)),
                lambda status: pb.CreateTokenResult(error=status),
                call.request_id,
                hints=hints,
            )
            return pb.BatchCreateTokensResponse(results=results)

    async def view(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_READ)
        message = call.read(pb.GetTokenRequest)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _merchant(call, message, api_key)
        token = await use_cases.view_token(merchant_id, message.payment_token)
        return pb.GetTokenResponse(token=token_message(token))

    async def revoke(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_WRITE)
        message = call.read(pb.DeleteTokenRequest)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _merchant(call, message, api_key)
        caller = Actor(f"api-key:{api_key.key_id}", call.source)
        await use_cases.revoke_token(caller, call.request_id, merchant_id, message.payment_token)
        return pb.DeleteTokenResponse()

    return {
        "CreateToken": create,
        "BatchCreateTokens": create_batch,
        "GetToken": view,
        "DeleteToken": revoke,
    }


async def _authenticated(call: Call, use_cases: PublicUseCases, scope: Scope) -> APIKey:
    given = call.values("authorization")
    return await authenticated(given, use_cases.api_keys, scope, use_cases.permits)


def _created(tokenised: Tokenised) -> pb.CreateTokenResponse:
    return pb.CreateTokenResponse(token=token_message(tokenised.token), replayed=tokenised.replayed)


def _request_of(item: bytes, api_key_id: str) -> TokeniseRequest:
    message = message_of(pb.CreateTokenItem, item)
    body = create_body(message)
    key = idempotency_key({message.idempotency_key}, "idempotency_key")
    return body.to_domain(key, api_key_id)


def _merchant(
    call: Call, message: pb.GetTokenRequest | pb.DeleteTokenRequest, api_key: APIKey
) -> MerchantId:
    call.take_request_id(message.request_id)
    check_texts([message.payment_token, message.merchant_id])
    call.check_request_id()
    return merchant_of(api_key, [message.merchant_id] if message.merchant_id else [])
