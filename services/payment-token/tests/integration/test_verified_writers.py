"""What the service writes is what the verifier reads: they share no line of code, so a test holds them together."""

from pathlib import Path

import psycopg

from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.record import written
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import VerifyLog
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.worker_policy import ReleaseField
from payment_token.infrastructure.database.audit_source import DatabaseLog
from tests.support.audit_logs import audit_log_of
from tests.support.made_logs import vkey
from tests.support.maintained import maintained_database

_HOSTILE = '"},{"previous":"\\\n\u00e9\U0001f600\x7f'

_EVENTS = [
    AuditEvent(kind, outcome, Actor(_HOSTILE, _HOSTILE, b"\1" * 32), details=details)
    for kind in EventKind
    for outcome in Outcome
    for details in ({}, {"sequence": -5, "previous": _HOSTILE, "empty": ""})
    if kind not in (EventKind.LOG_OPENED, EventKind.LOG_CLOSED)
] + [
    AuditEvent(
        EventKind.DECRYPT,
        Outcome.REFUSED,
        Actor(""),
        code="forbidden",
        request_id=RequestId("r_1"),
        merchant_id=MerchantId("m_1"),
        purpose="authorization",
        fields=frozenset(ReleaseField),
        key_name="v1",
    )
]


async def test_every_event_is_verified(database_url: str, tmp_path: Path) -> None:
    async with maintained_database(database_url) as kept, audit_log_of(kept.url, kept.pool) as log:
        receipts = [str(await log.record(event)) for event in _EVENTS]

    with psycopg.connect(database_url) as database:
        keys = TrustedKeys([VerifierKey.parse(vkey())])
        report = Report(keys.origin, [])
        source = DatabaseLog(database)
        VerifyLog(source, keys, report, live=source, receipts=Receipts.parse(receipts))()
        records = database.execute("SELECT record FROM decrypt_audit_log").fetchall()

    assert report.findings == []
    # Each by its receipt, and the opening and the end of the writer beside them.
    assert report.unsealed == len(_EVENTS) + 2
    assert sum("not sealed yet" in said for said in report.incomplete) == len(_EVENTS)
    # All of them are read by the pattern: none takes the slower way.
    assert all(written(record.encode()) for (record,) in records)
