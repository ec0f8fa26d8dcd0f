"""The bytes of a record, and the receipt that names it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.audit import Actor, AuditEvent, Chain, EventKind, Outcome, Receipt
from payment_token.domain.audit.chain import MOST_BYTES
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField
from tests.support.audit_chain import Row, check_chains
from tests.support.audit_events import events, hostile_texts

NOW = datetime(2026, 11, 24, 20, 54, 14, 123456, UTC)
WRITER = UUID(int=7)
OPENED = AuditEvent(EventKind.LOG_OPENED, Outcome.DONE, Actor("service:test"))
RELEASE = AuditEvent(
    EventKind.DECRYPT,
    Outcome.RELEASED,
    Actor("spiffe://example.org/w", "127.0.0.1:5", b"\x01" * 32),
    request_id=RequestId("r-1"),
    merchant_id=MerchantId("m_1"),
    token_id=TokenId.new(bytes(16), NOW),
    purpose="capture",
    fields=frozenset({ReleaseField.PAN, ReleaseField.EXPIRY}),
    key_name="v1",
    details={"b": 2, "a": "x"},
)


def test_a_record_of_everything() -> None:
    (record,) = Chain(WRITER).draft([RELEASE], NOW)

    assert record.text == (
        '{"certificate_sha256":"' + "01" * 32 + '","code":"ok","details":{"a":"x","b":2},'
        '"event":"decrypt","event_time":"2026-11-24T20:54:14.123456Z","fields":["expiry","pan"],'
        '"identity":"spiffe://example.org/w","key_name":"v1","merchant_id":"m_1","outcome":"released",'
        f'"previous":"{"0" * 64}","purpose":"capture","request_id":"r-1","sequence":0,'
        f'"source":"127.0.0.1:5","token_id":"{RELEASE.token_id}","v":1,'
        f'"writer_id":"{"0" * 31}7"}}'
    )


@pytest.mark.parametrize("at", [NOW.replace(microsecond=0), NOW.replace(microsecond=1)])
def test_a_time_is_utc_and_has_all_its_microseconds(at: datetime) -> None:
    (record,) = Chain(WRITER).draft([OPENED], at.astimezone(timezone(timedelta(hours=-7))))

    assert json.loads(record.text)["event_time"] == f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


@given(st.lists(events, min_size=1, max_size=5))
def test_records_are_canonical_and_chained(written: list[AuditEvent]) -> None:
    chain = Chain(WRITER)
    records = []
    for event in [OPENED, *written]:
        drafted = chain.draft([event], NOW)
        # What is drafted and not advanced to is not part of the chain.
        chain.draft([RELEASE, RELEASE], NOW)
        chain.advance(drafted[-1])
        records += drafted

    check_chains(Row(record.writer_id.hex, record.sequence, record.text) for record in records)
    for record in records:
        assert record.text.isascii()
        assert len(record.text) <= MOST_BYTES
        assert record.hash == sha256(record.text.encode()).digest()


@given(hostile_texts)
def test_what_is_read_is_what_was_written_as_far_as_it_goes(text: str) -> None:
    event = replace(RELEASE, actor=Actor(text))
    (record,) = Chain(WRITER).draft([event], NOW)
    identity = json.loads(record.text)["identity"]

    assert all(mine in (theirs, "\ufffd") for mine, theirs in zip(identity, text, strict=False))
    assert len(identity) == len(text) or len(json.dumps(identity)) > 2048 - 12


@given(st.uuids(), st.integers(0, 10**18 - 1), st.binary(min_size=32, max_size=32))
def test_a_receipt_comes_back(writer: UUID, sequence: int, record_hash: bytes) -> None:
    receipt = Receipt(writer, sequence, record_hash)

    assert Receipt.parse(str(receipt)) == receipt
    assert Receipt.parse(f"  {receipt}\n") == receipt
    assert len(str(receipt)) <= 120


GOOD = f"ar2.{'0' * 31}7.12.{'ab' * 32}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ar1.35adfbcfa9c54249b112e3592e4f50d1",
        GOOD.replace("ar2", "ar3"),
        GOOD.upper(),
        GOOD + "0",
        GOOD[:-1],
        GOOD + "\n" + GOOD,
        GOOD.replace(".12.", ".012."),
        GOOD.replace(".12.", ".-12."),
        GOOD.replace(".12.", ".+12."),
        GOOD.replace(".12.", ".1_2."),
        GOOD.replace(".12.", ".\u0661\u0662."),
        GOOD.replace(".12.", "." + "9" * 19 + "."),
        GOOD.replace(".12.", "."),
        GOOD.replace("ab" * 32, "\uff41b" * 32),
        GOOD.replace(".", ","),
        GOOD.replace("7.12", "7\x00.12"),
        "x" * 100_000,
    ],
)
def test_a_receipt_of_another_form_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="receipt"):
        Receipt.parse(text)


@given(st.text())
def test_a_receipt_is_read_or_refused(text: str) -> None:
    try:
        receipt = Receipt.parse(text)
    except ValueError:
        return
    assert str(receipt) == text.strip()
