"""The records of the audit log: what happened, who asked for it, and what came of it (PCI DSS 10.2.1, 10.2.2).

:mod:`event` what is recorded · :mod:`chain` the bytes of a record, and how a writer chains them · :mod:`receipt` what whoever
asked keeps. No record holds card data, not even the last four digits.
"""

from payment_token.domain.audit.chain import Chain, Record
from payment_token.domain.audit.event import Actor, AuditEvent, EventKind, Outcome, not_released
from payment_token.domain.audit.receipt import Receipt

__all__ = [
    "Actor",
    "AuditEvent",
    "Chain",
    "EventKind",
    "Outcome",
    "Receipt",
    "Record",
    "not_released",
]
