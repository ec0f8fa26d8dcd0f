"""``payment_token.v1.DecryptionService``: what ``api/rest/internal.py`` is in REST."""

from collections.abc import Callable

from google.protobuf.message import Message

from payment_token.api.audited_release import Attempt, released_on_record
from payment_token.api.rpc.call import Call
from payment_token.api.rpc.decrypt_messages import decrypt_body, released_message
from payment_token.api.rpc.generated import decryption_service_pb2 as pb
from payment_token.api.rpc.methods import Operations
from payment_token.domain.release import Release
from payment_token.domain.worker_policy import Worker

SERVICE = pb.DESCRIPTOR.services_by_name["DecryptionService"]


WorkerWith = Callable[[str | None, str], Worker]
"""Who a worker is, by the certificate that its handshake verified, in PEM, and the address that it calls from."""


def decryption_operations(release: Release, worker_with: WorkerWith) -> Operations:
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

    return {"Decrypt": decrypt}
