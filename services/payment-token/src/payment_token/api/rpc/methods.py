"""What stands around every method: bounds, an answer to errors, counts, a log line. The last line of defence."""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from payment_token.api.rest.observation import Observation
from payment_token.api.rpc.bounds import Bounds
from payment_token.api.rpc.call import Call, Context
from payment_token.api.rpc.status import DETAILS, refusal_of
from payment_token.domain.errors import RouteNotFoundError

Operation = Callable[[Call], Coroutine[Any, Any, Message]]
Operations = Mapping[str, Operation]
"""By the names of a service's methods."""

_UNMATCHED = "unmatched"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Methods(grpc.GenericRpcHandler):
    """The methods of a service, and an answer to whatever is no method at all. Messages come in and go out as bytes."""

    def __init__(
        self,
        service: ServiceDescriptor,
        operations: Operations,
        observation: Observation,
        bounds: Bounds,
        *,
        hints: bool,
    ) -> None:
        self._observation = observation
        self._bounds = bounds
        self._hints = hints
        self._handlers = {
            f"/{service.full_name}/{method.name}": self._handler(
                f"/{service.full_name}/{method.name}", operations[method.name]
            )
            for method in service.methods
        }
        self._otherwise = self._handler(_UNMATCHED, _no_such_method)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return self._handlers.get(handler_call_details.method, self._otherwise)

    def _handler(self, route: str, operation: Operation) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def answer(message: bytes, context: Context) -> bytes:
            began = time.perf_counter()
            call = Call.begun(message, context)
            outcome = _HUNG_UP
            try:
                response, outcome = await self._answered(call, context, operation)
            finally:
                self._observation.note(
                    route,
                    "gRPC",
                    outcome.status,
                    outcome.code,
                    call.request_id,
                    time.perf_counter() - began,
                )
            return response

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answered(
        self, call: Call, context: Context, operation: Operation
    ) -> tuple[bytes, "_Outcome"]:
        error: Exception
        try:
            response = await self._bounds(call, operation(call))
            written = response.SerializeToString()
        except Exception as raised:  # noqa: BLE001 - nothing of an exception reaches a caller
            error = raised
        else:
            context.set_trailing_metadata((("x-request-id", call.request_id),))
            return written, _DONE
        status, code = refusal_of(error, call.request_id, hints=self._hints)
        context.set_code(_CODES[status.code])
        context.set_details(status.message)
        context.set_trailing_metadata(
            (("x-request-id", call.request_id), (DETAILS, status.SerializeToString()))
        )
        return b"", _Outcome(_CODES[status.code].name, code)


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: str
    code: str


_DONE = _Outcome("OK", "ok")
_HUNG_UP = _Outcome("CANCELLED", "cancelled")


async def _no_such_method(_: Call) -> Message:
    raise RouteNotFoundError
