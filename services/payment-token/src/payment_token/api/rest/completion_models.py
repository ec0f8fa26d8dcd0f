"""Bodies of ``authorization-complete``."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict
from pydantic_core import to_json

from payment_token.api.rest.token_models import StrictModel
from payment_token.domain.cleartext_guard import refuse_card_number
from payment_token.domain.complete_authorization import (
    AuthorizationOutcome,
    Completed,
    CompletionRequest,
)
from payment_token.domain.identifiers import MERCHANT_ID, MerchantId


class CompletionBody(StrictModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"merchant_id": "m_4711", "outcome": "approved"}]}
    )

    merchant_id: Annotated[str, Field(pattern=f"^{MERCHANT_ID.pattern}$")]
    outcome: Annotated[AuthorizationOutcome, Strict(strict=False)]

    def to_domain(self, payment_token: str) -> CompletionRequest:
        """Raises CleartextCardDataError when a text that the audit would record looks like a card number."""
        refuse_card_number("merchant_id", self.merchant_id)
        return CompletionRequest(payment_token, MerchantId(self.merchant_id), self.outcome)


class CompletedBody(BaseModel):
    """Both times are null for a token without SAD."""

    sad_status: str
    sad_destroyed_at: datetime | None
    unrecoverable_from: datetime | None
    receipt: str

    @staticmethod
    def render(completed: Completed) -> bytes:
        return to_json(completed_document(completed))


def completed_document(completed: Completed) -> dict[str, Any]:
    return {
        "sad_status": completed.sad_status.value,
        "sad_destroyed_at": completed.sad_destroyed_at,
        "unrecoverable_from": completed.unrecoverable_from,
        "receipt": str(completed.receipt),
    }
