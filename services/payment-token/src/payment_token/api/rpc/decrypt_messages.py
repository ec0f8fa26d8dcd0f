"""Messages of ``DecryptionService``, to and from what REST has in JSON: the rules of its fields stand there."""

from typing import Any

from payment_token.api.rest.decrypt_models import DecryptBody, released_document
from payment_token.api.rest.request_body import validated
from payment_token.api.rpc.generated import decryption_service_pb2 as pb
from payment_token.api.rpc.names import Names
from payment_token.api.strict_json import check_texts
from payment_token.domain.release import Released
from payment_token.domain.token import SADStatus
from payment_token.domain.worker_policy import ReleaseField

RELEASE_FIELDS = Names(ReleaseField, pb.ReleaseField)
SAD_STATUSES = Names(SADStatus, pb.SADStatus)


def decrypt_body(message: pb.DecryptRequest | pb.DecryptItem) -> DecryptBody:
    """Raises MalformedRequestError, InvalidFieldError."""
    document: dict[str, Any] = {
        name: text
        for name in ("payment_token", "merchant_id", "purpose")
        if (text := getattr(message, name))
    }
    if message.fields:
        # Of what takes a byte each there may be thousands: one too many is enough to refuse them.
        numbers = message.fields[: len(ReleaseField) + 1]
        document["fields"] = [RELEASE_FIELDS.text(number) for number in numbers]
    check_texts(document)
    return validated(DecryptBody, document)


def released_message(released: Released) -> pb.DecryptResponse:
    document = released_document(released)
    document["payment_data"]["sad_status"] = SAD_STATUSES.number(released.sad_status)
    return pb.DecryptResponse(**document)
