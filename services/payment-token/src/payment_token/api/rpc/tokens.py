"""``payment_token.v1.TokenService``: what ``api/rest/public.py`` is in REST."""

from google.protobuf.message import Message

from payment_token.api.caller_rules import authenticated, idempotency_key, merchant_of
from payment_token.api.rest.public import PublicUseCases
from payment_token.api.rpc.call import Call
from payment_token.api.rpc.generated import token_service_pb2 as pb
from payment_token.api.rpc.methods import Operations
from payment_token.api.rpc.token_messages import create_body, token_message
from payment_token.api.strict_json import check_texts
from payment_token.domain.api_key import APIKey, Scope
from payment_token.domain.audit import Actor
from payment_token.domain.identifiers import MerchantId

SERVICE = pb.DESCRIPTOR.services_by_name["TokenService"]


def token_operations(use_cases: PublicUseCases) -> Operations:
    async def create(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_WRITE)
        message = call.read(pb.CreateTokenRequest)
        call.take_request_id(message.request_id)
        body = create_body(message)
        call.check_request_id()
        request = body.to_domain(idempotency_key({message.idempotency_key}, "idempotency_key"))
        api_key.acting_for(request.merchant_id)
        result = await use_cases.tokenise(request)
        return pb.CreateTokenResponse(token=token_message(result.token), replayed=result.replayed)

    async def view(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_READ)
        message = call.read(pb.GetTokenRequest)
        merchant_id = _merchant(call, message, api_key)
        token = await use_cases.view_token(merchant_id, message.payment_token)
        return pb.GetTokenResponse(token=token_message(token))

    async def revoke(call: Call) -> Message:
        api_key = await _authenticated(call, use_cases, Scope.TOKENS_WRITE)
        message = call.read(pb.DeleteTokenRequest)
        merchant_id = _merchant(call, message, api_key)
        caller = Actor(f"api-key:{api_key.key_id}", call.source)
        await use_cases.revoke_token(caller, call.request_id, merchant_id, message.payment_token)
        return pb.DeleteTokenResponse()

    return {"CreateToken": create, "GetToken": view, "DeleteToken": revoke}


async def _authenticated(call: Call, use_cases: PublicUseCases, scope: Scope) -> APIKey:
    given = call.values("authorization")
    return await authenticated(given, use_cases.api_keys, scope, use_cases.permits)


def _merchant(
    call: Call, message: pb.GetTokenRequest | pb.DeleteTokenRequest, api_key: APIKey
) -> MerchantId:
    call.take_request_id(message.request_id)
    check_texts([message.payment_token, message.merchant_id])
    call.check_request_id()
    return merchant_of(api_key, [message.merchant_id] if message.merchant_id else [])
