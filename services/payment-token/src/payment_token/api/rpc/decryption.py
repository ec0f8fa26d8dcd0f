"""``payment_token.v1.DecryptionService``: what ``api/rest/internal.py`` is in REST."""

from collections.abc import Callable
from functools import partial

from google.protobuf.message import Message

from payment_token.api.audited_release import Attempt, on_record, released_on_record
from payment_token.api.batch import Batches
from payment_token.api.released_batch import released_batch
from payment_token.api.rest.batch_models import DECRYPT_LIMIT_BYTES, DecryptBatchBody
from payment_token.api.rpc.batch_messages import items_of, results_of
from payment_token.api.rpc.call import Call, message_of
from payment_token.api.rpc.decrypt_messages import decrypt_body, released_message
from payment_token.api.rpc.generated import decryption_service_pb2 as pb
from payment_token.api.rpc.methods import Operations
from payment_token.domain.release import Release, ReleaseRequest
from payment_token.domain.worker_policy import Worker

SERVICE = pb.DESCRIPTOR.services_by_name["DecryptionService"]


WorkerWith = Callable[[str | None, str], Worker]
"""Who a worker is, by the certificate that its handshake verified, in PEM, and the address that it calls from."""


def decryption_operations(
    release: Release, worker_with: WorkerWith, batches: Batches
) -> Operations:
    async def decrypt(call: Call) -> Message:
        attempt = Attempt(worker_with(call.certificate, call.source), call.request_id)

        async def read() -> None:
            message = call.read(pb.DecryptRequest)
            call.take_request_id(message.request_id)
            attempt.request_id = call.request_id
            body = decrypt_body(message)
            call.check_request_id()
            attempt.request = body.to_domain()

        released = await released_on_record(release, attempt, read, lambda: call.given_up)
        return released_message(released)

    async def decrypt_batch(call: Call) -> Message:
        whole = Attempt(worker_with(call.certificate, call.source), call.request_id)

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

    return {"Decrypt": decrypt, "BatchDecrypt": decrypt_batch}


def _request_of(item: bytes) -> ReleaseRequest:
    return decrypt_body(message_of(pb.DecryptItem, item)).to_domain()
