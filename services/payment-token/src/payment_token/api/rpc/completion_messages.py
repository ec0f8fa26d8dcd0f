"""Messages of ``CompleteAuthorization``, to and from what REST has in JSON: the rules of its fields stand there."""

from payment_token.api.rest.completion_models import CompletionBody, completed_document
from payment_token.api.rest.request_body import validated
from payment_token.api.rpc.decrypt_messages import SAD_STATUSES
from payment_token.api.rpc.generated import decryption_service_pb2 as pb
from payment_token.api.rpc.names import Names
from payment_token.api.strict_json import check_texts
from payment_token.domain.complete_authorization import AuthorizationOutcome, Completed

OUTCOMES = Names(AuthorizationOutcome, pb.AuthorizationOutcome)


def completion_body(message: pb.CompleteAuthorizationRequest) -> CompletionBody:
    """Raises MalformedRequestError, InvalidFieldError."""
    document = {}
    if message.merchant_id:
        document["merchant_id"] = message.merchant_id
    outcome = OUTCOMES.given(message.outcome)
    if outcome is not None:
        document["outcome"] = outcome
    check_texts([document, message.payment_token])
    return validated(CompletionBody, document)


def completed_message(completed: Completed) -> pb.CompleteAuthorizationResponse:
    document = completed_document(completed)
    document["sad_status"] = SAD_STATUSES.number(completed.sad_status)
    return pb.CompleteAuthorizationResponse(**document)
