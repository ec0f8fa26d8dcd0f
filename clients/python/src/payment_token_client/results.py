"""What the service answers with. Frozen, and without card data in any text of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from payment_token_client.sensitive import CardText


@dataclass(frozen=True, slots=True)
class MaskedCard:
    """What a merchant may see. ``checks`` is the service's, such as ``{"luhn": True, "expired": False}``."""

    brand: str
    bin: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    entry_mode: str
    checks: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PaymentToken:
    """``idempotency_key`` and ``replayed`` are a create's: True where the key had been used for this before."""

    payment_token: str
    merchant_id: str
    status: str
    created_at: datetime
    expires_at: datetime
    card: MaskedCard
    metadata: Mapping[str, str]
    idempotency_key: str | None = None
    replayed: bool = False

    @classmethod
    def of(
        cls, document: Mapping[str, Any], idempotency_key: str | None = None, *, replayed: bool
    ) -> "PaymentToken":
        card = document["card"]
        return cls(
            payment_token=document["payment_token"],
            merchant_id=document["merchant_id"],
            status=document["status"],
            created_at=datetime.fromisoformat(document["created_at"]),
            expires_at=datetime.fromisoformat(document["expires_at"]),
            card=MaskedCard(**{name: card[name] for name in MaskedCard.__slots__}),
            metadata=document["metadata"],
            idempotency_key=idempotency_key,
            replayed=replayed,
        )


@dataclass(frozen=True, slots=True)
class SensitiveAuthenticationData:
    """Never to be stored after authorisation (PCI DSS 4.0.1, 3.3.1). ``emv`` is as the service gives it."""

    service_code: CardText | None
    cvv: CardText | None
    track1: CardText | None
    track2: CardText | None
    emv: CardText | None


@dataclass(frozen=True, slots=True)
class Release:
    """Card data, as far as it was asked for: the rest is None.

    ``sad_status`` is ``live``, ``destroyed``, ``expired`` or ``none``. ``audit_receipt`` names the audit record of this
    release; keep it with the payment.

    >>> Release("pt_1", CardText("4111111111111111"), 12, 2030, None, None, "none", {}, "ar2.1")
    Release(payment_token='pt_1', pan=<CardText: hidden>, cardholder_name=None, sad=None, sad_status='none', \
audit_receipt='ar2.1')
    """

    payment_token: str
    pan: CardText | None
    exp_month: int | None = field(repr=False)
    exp_year: int | None = field(repr=False)
    cardholder_name: CardText | None
    sad: SensitiveAuthenticationData | None
    sad_status: str
    metadata: Mapping[str, str] = field(repr=False)
    audit_receipt: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Release":
        data = document["payment_data"]
        return cls(
            payment_token=document["payment_token"],
            pan=_hidden(data["pan"]),
            exp_month=data["exp_month"],
            exp_year=data["exp_year"],
            cardholder_name=_hidden(data["cardholder_name"]),
            sad=None if data["sad"] is None else _sad(data["sad"]),
            sad_status=data["sad_status"],
            metadata=document["metadata"],
            audit_receipt=document["audit_receipt"],
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a token's SAD: ``sad_status`` is ``destroyed``, ``expired`` where its time was over before, or ``none``.

    ``sad_destroyed_at`` is when it was shredded, ``unrecoverable_from`` when no copy of it opens any more, in backups neither;
    None for a token without SAD. ``receipt`` names the audit record; keep it with the payment.
    """

    sad_status: str
    sad_destroyed_at: datetime | None
    unrecoverable_from: datetime | None
    receipt: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Completion":
        return cls(
            sad_status=document["sad_status"],
            sad_destroyed_at=_time(document["sad_destroyed_at"]),
            unrecoverable_from=_time(document["unrecoverable_from"]),
            receipt=document["receipt"],
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _sad(document: Mapping[str, Any]) -> SensitiveAuthenticationData:
    names = SensitiveAuthenticationData.__slots__
    return SensitiveAuthenticationData(**{name: _hidden(document[name]) for name in names})


def _hidden(value: object) -> CardText | None:
    """Raises TypeError where the service gave something else than text."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError("not a text")
    return CardText(value)
