"""What leaves is written without building its model; it must be what the model would have written."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from payment_token.api.rest.decrypt_models import PaymentDataBody, ReleasedBody, SADBody
from payment_token.api.rest.token_models import CardBody, ChecksBody, TokenBody
from payment_token.domain.audit import Receipt
from payment_token.domain.card_data import (
    PAN,
    Brand,
    CardChecks,
    EntryMode,
    MaskedCard,
    PANPart,
    SADPart,
)
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.release import Released
from payment_token.domain.sensitive import SensitiveText
from payment_token.domain.token import SADStatus, Token, TokenStatus
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
zones = st.sampled_from([UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=5.5))])
times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones)  # noqa: DTZ001
whole_seconds = times.map(lambda time: time.replace(microsecond=0))
hidden = st.none() | texts.map(SensitiveText)
expiries = st.just((None, None)) | st.tuples(st.integers(0, 99), st.integers(2000, 2099))

masked_cards = st.builds(
    lambda expiry, **fields: MaskedCard(exp_month=expiry[0], exp_year=expiry[1], **fields),
    expiry=expiries,
    brand=st.sampled_from(Brand),
    bin=st.just("411111"),
    last4=st.just("1111"),
    entry_mode=st.sampled_from(EntryMode),
    checks=st.builds(CardChecks, st.booleans(), st.booleans(), st.booleans()),
)
tokens = st.builds(
    Token,
    token_id=st.builds(TokenId.new, st.binary(min_size=16, max_size=16), times),
    merchant_id=st.just(MerchantId("m_4711")),
    status=st.sampled_from(TokenStatus),
    created_at=times | whole_seconds,
    expires_at=times | whole_seconds,
    card=masked_cards,
    metadata=st.dictionaries(texts, texts, max_size=3),
)
releases = st.builds(
    Released,
    token=tokens,
    fields=st.frozensets(st.sampled_from(ReleaseField)),
    pan_part=st.builds(
        lambda expiry, name: PANPart(PAN("4111111111111111"), *expiry, name), expiries, hidden
    ),
    sad_part=st.none() | st.builds(SADPart, *[hidden] * 5),
    sad_status=st.sampled_from(SADStatus),
    event=st.none(),
    receipt=st.just(Receipt(UUID(int=1), 7, bytes(32))),
)


def revealed(text: SensitiveText | None) -> str | None:
    return None if text is None else text.reveal()


@given(tokens)
def test_a_token_is_written_as_its_model_would_be(token):
    card, checks = token.card, token.card.checks
    body = TokenBody(
        payment_token=token.token_id.text,
        merchant_id=token.merchant_id,
        status=token.status,
        created_at=token.created_at,
        expires_at=token.expires_at,
        card=CardBody(
            brand=card.brand,
            bin=card.bin,
            last4=card.last4,
            exp_month=card.exp_month,
            exp_year=card.exp_year,
            entry_mode=card.entry_mode,
            checks=ChecksBody(
                luhn=checks.luhn, expired=checks.expired, expiry_valid=checks.expiry_valid
            ),
        ),
        metadata=dict(token.metadata),
    )
    assert TokenBody.render(token) == body.model_dump_json().encode()


@given(releases)
def test_a_release_is_written_as_its_model_would_be(released):
    asked, pan_part, sad = released.fields, released.pan_part, released.sad_part
    expiry = (
        (pan_part.exp_month, pan_part.exp_year) if ReleaseField.EXPIRY in asked else (None,) * 2
    )
    name = pan_part.cardholder_name if ReleaseField.CARDHOLDER_NAME in asked else None
    body = ReleasedBody(
        payment_token=released.token.token_id.text,
        payment_data=PaymentDataBody(
            pan="4111111111111111" if ReleaseField.PAN in asked else None,
            exp_month=expiry[0],
            exp_year=expiry[1],
            cardholder_name=revealed(name),
            sad=sad
            and SADBody(
                service_code=revealed(sad.service_code),
                cvv=revealed(sad.cvv),
                track1=revealed(sad.track1),
                track2=revealed(sad.track2),
                emv=revealed(sad.emv),
            ),
            sad_status=released.sad_status,
        ),
        metadata=dict(released.token.metadata),
        audit_receipt=str(released.receipt),
    )
    assert ReleasedBody.render(released) == body.model_dump_json().encode()
