"""``payment_token.v1.DecryptionService``: what ``api/rest/internal.py`` is in REST."""

from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.message import Message

from payment_token.api.audited_release import (
    Attempt,
    done_on_record,
    on_record,
    released_on_record,
)
from payment_token.api.batch import Batches
from payment_token.api.released_batch import released_batch
from payment_token.api.rest.batch_models import DECRYPT_LIMIT_BYTES, DecryptBatchBody
from payment_token.api.rest.internal import InternalUseCases
from payment_token.api.rpc.batch_messages import items_of, results_of
from payment_token.api.rpc.call import Call, message_of
from payment_token.api.rpc.completion_messages import completed_message, completion_body
from payment_token.api.rpc.decrypt_messages import decrypt_body, released_message
from payment_token.api.rpc.generated import decryption_service_pb2 as pb
from payment_token.api.rpc.methods import Operations
from payment_token.domain.complete_authorization import CompletionRequest
from payment_token.domain.release import ReleaseRequest
from payment_token.domain.worker_policy import Worker

SERVICE = pb.DESCRIPTOR.services_by_name["DecryptionService"]


WorkerWith = Callable[[str | None, str], Worker]
"""Who a worker is, by the certificate that its handshake verified, in PEM, and the address that it calls from."""


def decryption_operations(
    use_cases: InternalUseCases, worker_with: WorkerWith, batches: Batches
) -> Operations:
    release = use_cases.release

    async def decrypt(call: Call) -> Message:
        attempt: Attempt[ReleaseRequest] = _attempt(call, worker_with)

        async def read() -> None:
            message = call.read(pb.DecryptRequest)
            _take_request_id(call, message.request_id, attempt)
            body = decrypt_body(message)
            call.check_request_id()
            attempt.request = body.to_domain()

        released = await released_on_record(use_cases.release, attempt, read, lambda: call.given_up)
        return released_message(released)

    async def decrypt_batch(call: Call) -> Message:
        whole: Attempt[ReleaseRequest] = _attempt(call, worker_with)

        async def read_items() -> list[bytes]:
            release.admit(whole.worker)
            try:
                return items_of(call, pb.BatchDecryptRequest, DecryptBatchBody, DECRYPT_LIMIT_BYTES)
            finally:
                whole.request_id = call.request_id

        with batches.admitted():
            items = await on_record(release, whole, read_items)
            outcomes = await released_batch(
                release,
                batches,
                whole,
                [partial(_request_of, item) for item in items],
                lambda: call.given_up,
                call.seconds_for_items(),
            )
            results = results_of(
                len(items),
                outcomes,
                lambda released: pb.DecryptResult(response=released_message(released)),
                lambda status: pb.DecryptResult(error=status),
                call.request_id,
                hints=False,
            )
            return pb.BatchDecryptResponse(results=results)

    async def complete_authorization(call: Call) -> Message:
        attempt: Attempt[CompletionRequest] = _attempt(call, worker_with)

        async def read() -> None:
            message = call.read(pb.CompleteAuthorizationRequest)
            _take_request_id(call, message.request_id, attempt)
            body = completion_body(message)
            call.check_request_id()
            attempt.request = body.to_domain(message.payment_token)

        return completed_message(
            await done_on_record(use_cases.complete_authorization, attempt, read)
        )

    return {
        "Decrypt": decrypt,
        "BatchDecrypt": decrypt_batch,
        "CompleteAuthorization": complete_authorization,
    }


def _attempt(call: Call, worker_with: WorkerWith) -> Attempt[Any]:
    return Attempt(worker_with(call.certificate, call.source), call.request_id)


def _take_request_id(call: Call, given: str, attempt: Attempt[Any]) -> None:
    call.take_request_id(given)
    attempt.request_id = call.request_id


def _request_of(item: bytes) -> ReleaseRequest:
    return decrypt_body(message_of(pb.DecryptItem, item)).to_domain()
