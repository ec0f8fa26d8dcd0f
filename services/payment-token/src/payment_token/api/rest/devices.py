"""The administrative routes of devices: for API keys with the scope ``admin``, and the devices of their merchants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from payment_token.api.caller_rules import APIKeys, authenticated, merchant_of
from payment_token.api.noted_cleartext import CleartextNoted
from payment_token.api.rest.device_models import (
    DeviceBody,
    DeviceListBody,
    RegisterDeviceBody,
    ResetCounterBody,
    StateChangeBody,
)
from payment_token.api.rest.encoded_slashes import segment
from payment_token.api.rest.openapi import merchant_parameter, problems, request_body
from payment_token.api.rest.request_body import read_body
from payment_token.api.rest.request_context import (
    caller_of,
    check_request_id,
    header_values,
    request_id_of,
)
from payment_token.domain.administer_devices import AdministerDevices, Caller
from payment_token.domain.api_key import APIKey, Scope
from payment_token.domain.change_devices import Registered
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.device_states import StateChange
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.identifiers import DEVICE_ID, MerchantId
from payment_token.domain.permits import Permits

MODELS = (RegisterDeviceBody, StateChangeBody, ResetCounterBody)

MOST_LISTED = 500
_LISTED = 100

DeviceIdInPath = Annotated[
    str,
    Path(
        pattern=rf"^{DEVICE_ID.pattern}$",
        description="Percent-encoded, slashes as well: /v1/devices/till%2F7.",
    ),
]

_SUMMARIES = {
    StateChange.SUSPEND: "Refuse what a device sends, until it is reactivated",
    StateChange.REACTIVATE: "Let a suspended or stolen device send again",
    StateChange.REPORT_STOLEN: "Refuse what a device sends: it is in the wrong hands",
    StateChange.RETIRE: "End a device for good",
}


@dataclass(frozen=True, slots=True)
class DeviceUseCases:
    administer: AdministerDevices
    api_keys: APIKeys
    permits: Permits
    device_events: DeviceEvents


def device_routes(use_cases: DeviceUseCases) -> APIRouter:
    router = APIRouter(prefix="/v1/devices", tags=["devices"])
    administer = use_cases.administer

    @router.post(
        "",
        summary="Register a device",
        status_code=201,
        response_model=DeviceBody,
        responses={
            200: {"model": DeviceBody, "description": "It is registered so already"},
            **problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
        },
        openapi_extra=request_body(RegisterDeviceBody),
    )
    async def register(request: Request) -> Response:
        api_key = await _administrator(request, use_cases)
        body = await read_body(request, RegisterDeviceBody)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _owner(request, api_key, body.merchant_id)
            registered, entry = await administer.register(
                _caller(request, api_key), merchant_id, body.to_domain(merchant_id)
            )
        return _json(DeviceBody.render(entry), 201 if registered is Registered.NEW else 200)

    @router.get(
        "",
        summary="The devices of a merchant",
        response_model=DeviceListBody,
        responses=problems(401, 403, 422, 429, 503),
        openapi_extra={"parameters": [merchant_parameter(), *_list_parameters()]},
    )
    async def listed(request: Request) -> Response:
        api_key = await _administrator(request, use_cases)
        merchant_id = _named(request, api_key)
        state, after, limit = _list_choice(request)
        # One more than asked for tells whether there are more.
        found = await administer.page(merchant_id, state, after, limit + 1)
        return _json(DeviceListBody.render(found[:limit], more=len(found) > limit))

    @router.get(
        "/{device_id}",
        summary="A device: what it is, its state, its initial keys and their counters",
        response_model=DeviceBody,
        responses=problems(401, 403, 404, 422, 429, 503),
        openapi_extra={"parameters": [merchant_parameter()]},
    )
    async def view(request: Request, device_id: DeviceIdInPath) -> Response:
        api_key = await _administrator(request, use_cases)
        merchant_id = _named(request, api_key)
        return _json(DeviceBody.render(await administer.view(merchant_id, segment(device_id))))

    for change in StateChange:
        _add_change(router, use_cases, change)

    @router.post(
        "/{device_id}/reset-counter",
        summary="Forget which counters of a device were used",
        response_model=DeviceBody,
        responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        openapi_extra=request_body(ResetCounterBody),
    )
    async def reset_counter(request: Request, device_id: DeviceIdInPath) -> Response:
        api_key = await _administrator(request, use_cases)
        body = await read_body(request, ResetCounterBody)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _owner(request, api_key, body.merchant_id)
            entry = await administer.reset_counter(
                _caller(request, api_key), merchant_id, segment(device_id), body.key(), body.reason
            )
        return _json(DeviceBody.render(entry))

    return router


def _add_change(router: APIRouter, use_cases: DeviceUseCases, change: StateChange) -> None:
    @router.post(
        f"/{{device_id}}/{change.value}",
        name=change.value,
        summary=_SUMMARIES[change],
        response_model=DeviceBody,
        responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        openapi_extra=request_body(StateChangeBody),
    )
    async def changed(request: Request, device_id: DeviceIdInPath) -> Response:
        api_key = await _administrator(request, use_cases)
        body = await read_body(request, StateChangeBody)
        async with CleartextNoted(use_cases.device_events, api_key):
            merchant_id = _owner(request, api_key, body.merchant_id)
            entry = await use_cases.administer.change_state(
                _caller(request, api_key), merchant_id, segment(device_id), change, body.reason
            )
        return _json(DeviceBody.render(entry))


async def _administrator(request: Request, use_cases: DeviceUseCases) -> APIKey:
    given = header_values(request, b"authorization")
    return await authenticated(given, use_cases.api_keys, Scope.ADMIN, use_cases.permits)


def _named(request: Request, api_key: APIKey) -> MerchantId:
    check_request_id(request)
    return merchant_of(api_key, request.query_params.getlist("merchant_id"))


def _owner(request: Request, api_key: APIKey, merchant_id: str | None) -> MerchantId:
    check_request_id(request)
    return merchant_of(api_key, () if merchant_id is None else (merchant_id,))


def _caller(request: Request, api_key: APIKey) -> Caller:
    return Caller(caller_of(request, api_key), request_id_of(request))


def _list_choice(request: Request) -> tuple[DeviceState | None, str, int]:
    given: dict[str, str | None] = {
        name: _one_of(name, request.query_params.getlist(name))
        for name in ("state", "after", "limit")
    }
    state, after, limit = given["state"], given["after"], given["limit"]
    if state is not None and state not in list(DeviceState):
        raise InvalidFieldError("state", f"must be one of {', '.join(DeviceState)}")
    if after is not None and not DEVICE_ID.fullmatch(after):
        raise InvalidFieldError("after", "must be the id of a device")
    if limit is not None and not (_is_number(limit) and 1 <= int(limit) <= MOST_LISTED):
        raise InvalidFieldError("limit", f"must be a number from 1 to {MOST_LISTED}")
    return (
        None if state is None else DeviceState(state),
        after or "",
        _LISTED if limit is None else int(limit),
    )


def _one_of(name: str, given: Sequence[str]) -> str | None:
    """A query parameter that may be there once. Raises InvalidFieldError."""
    if len(given) > 1:
        raise InvalidFieldError(name, "must be there once")
    return given[0] if given else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_LISTED))


def _list_parameters() -> Sequence[dict[str, object]]:
    return [
        _parameter("state", {"type": "string", "enum": list(DeviceState)}),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}),
        _parameter("after", {"type": "string", "pattern": f"^{DEVICE_ID.pattern}$"}),
    ]


def _parameter(name: str, schema: dict[str, object]) -> dict[str, object]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, {"Cache-Control": "no-store"}, media_type="application/json")
