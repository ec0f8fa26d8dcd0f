"""Events whose texts were chosen by somebody who means harm."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField

# All that Python calls text, halves of surrogate pairs included; and much of what needs more room than it seems to.
hostile_texts = (
    st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Cc"]))
    | st.sampled_from(
        ['"', "\\", "\x00", "\x01", "\x7f", "ü", "\ud83d", "\U0001f600", "a"]
    ).flatmap(lambda character: st.integers(0, 5000).map(lambda times: character * times))
)

_expiry = datetime(2026, 1, 1, tzinfo=UTC)

events = st.builds(
    AuditEvent,
    kind=st.just(EventKind.DECRYPT),
    outcome=st.sampled_from(Outcome),
    actor=st.builds(Actor, hostile_texts, hostile_texts, st.sampled_from([b"", b"\x01" * 32])),
    code=st.sampled_from(["ok", "idempotency_in_progress"]),
    request_id=st.none() | st.just(RequestId("r" * 128)),
    merchant_id=st.none() | st.just(MerchantId("m" * 64)),
    token_id=st.none()
    | st.binary(min_size=16, max_size=16).map(lambda raw: TokenId.new(raw, _expiry)),
    purpose=st.none() | st.just("p" * 64),
    fields=st.frozensets(st.sampled_from(ReleaseField)),
    key_name=st.none() | st.just("v" * 64),
    details=st.dictionaries(
        st.sampled_from(["software", "instance", "reason", "tree_size", "record_sha256"]),
        hostile_texts | st.integers(0, 2**63),
    ),
)
