"""Bodies of the internal API."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, field_validator
from pydantic_core import to_json

from payment_token.api.rest.token_models import StrictModel
from payment_token.domain.card_data import SADPart
from payment_token.domain.cleartext_guard import refuse_card_number
from payment_token.domain.identifiers import MERCHANT_ID, PURPOSE, MerchantId
from payment_token.domain.release import Released, ReleaseRequest
from payment_token.domain.sensitive import SensitiveText
from payment_token.domain.worker_policy import ReleaseField

_DEFAULT_FIELDS = (ReleaseField.PAN, ReleaseField.EXPIRY)


class DecryptBody(StrictModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "payment_token": "pt_dbjthkgnpfsqmnqrpdtdfkfcgtdhhdpchcdv",
                    "merchant_id": "m_4711",
                    "purpose": "authorization",
                    "fields": ["pan", "expiry", "sad"],
                }
            ]
        }
    )

    payment_token: Annotated[str, Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
    merchant_id: Annotated[str, Field(pattern=f"^{MERCHANT_ID.pattern}$")]
    purpose: Annotated[str, Field(pattern=f"^{PURPOSE.pattern}$")]
    fields: Annotated[
        list[Annotated[ReleaseField, Strict(strict=False)]],
        Field(
            min_length=1,
            max_length=len(ReleaseField),
            json_schema_extra={"uniqueItems": True},
            default_factory=lambda: list(_DEFAULT_FIELDS),
        ),
    ]

    @field_validator("fields")
    @classmethod
    def _no_repeats(cls, fields: list[ReleaseField]) -> list[ReleaseField]:
        if len(set(fields)) != len(fields):
            raise ValueError("must name each field once")
        return fields

    def to_domain(self) -> ReleaseRequest:
        """Raises CleartextCardDataError when a text that the audit would record looks like a card number."""
        for name in ("merchant_id", "purpose"):
            refuse_card_number(name, getattr(self, name))
        return ReleaseRequest(
            payment_token=self.payment_token,
            merchant_id=MerchantId(self.merchant_id),
            purpose=self.purpose,
            fields=frozenset(self.fields),
        )


class SADBody(BaseModel):
    service_code: str | None
    cvv: str | None
    track1: str | None
    track2: str | None
    emv: str | None


class PaymentDataBody(BaseModel):
    """What was not asked for is null. ``repr`` is off: an instance holds card data in clear."""

    pan: str | None = Field(repr=False)
    exp_month: int | None
    exp_year: int | None
    cardholder_name: str | None = Field(repr=False)
    sad: SADBody | None = Field(repr=False)
    sad_status: str


class ReleasedBody(BaseModel):
    payment_token: str
    payment_data: PaymentDataBody = Field(repr=False)
    metadata: dict[str, str]
    audit_receipt: str

    @staticmethod
    def render(released: Released) -> bytes:
        """This model of the release as JSON."""
        return to_json(released_document(released))


def released_document(released: Released) -> dict[str, Any]:
    """The one place where card data becomes a response, of REST and of gRPC."""
    wanted, pan_part, sad_part = released.fields, released.pan_part, released.sad_part
    with_expiry = ReleaseField.EXPIRY in wanted
    with_name = ReleaseField.CARDHOLDER_NAME in wanted
    return {
        "payment_token": released.token.token_id.text,
        "payment_data": {
            "pan": pan_part.pan.reveal() if ReleaseField.PAN in wanted else None,
            "exp_month": pan_part.exp_month if with_expiry else None,
            "exp_year": pan_part.exp_year if with_expiry else None,
            "cardholder_name": _text(pan_part.cardholder_name) if with_name else None,
            "sad": None if sad_part is None else _sad_document(sad_part),
            "sad_status": released.sad_status.value,
        },
        "metadata": dict(released.token.metadata),
        "audit_receipt": str(released.receipt),
    }


def _sad_document(sad_part: SADPart) -> dict[str, str | None]:
    return {
        "service_code": _text(sad_part.service_code),
        "cvv": _text(sad_part.cvv),
        "track1": _text(sad_part.track1),
        "track2": _text(sad_part.track2),
        "emv": _text(sad_part.emv),
    }


def _text(value: SensitiveText | None) -> str | None:
    return None if value is None else value.reveal()
