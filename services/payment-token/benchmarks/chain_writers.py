"""The service's own writers of audit records, each in a process of its own, as fast as they go."""

import asyncio
import multiprocessing
import time

import uvloop

from payment_token.bootstrap.audit import opened_audit_log
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool

_AT_ONCE = 256

_EVENT = AuditEvent(
    EventKind.DECRYPT,
    Outcome.RELEASED,
    Actor("spiffe://payment-token.example/worker/demo", "127.0.0.1:59320", bytes(32)),
    request_id=RequestId("0" * 32),
    merchant_id=MerchantId("m_demo"),
    token_id=TokenId.parse("pt_dbjthkgnpfsqmnqrpdtdfkfcgtdhhdpchcdv"),
    purpose="authorization",
    fields=frozenset({ReleaseField.PAN, ReleaseField.EXPIRY}),
    key_name="v1",
)


def chain_writers_rate(url: str, processes: int, seconds: float) -> float:
    """Records a second, of all together."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.starmap(_records_a_second, [(url, seconds)] * processes))


def _records_a_second(url: str, seconds: float) -> float:
    return uvloop.run(_write(url, seconds))


async def _write(url: str, seconds: float) -> float:
    async with new_pool(url) as pool:
        clock = DatabaseClock(pool)
        await clock.synchronise()
        async with opened_audit_log(url, pool, clock, Actor("service:benchmark")) as log:
            began = time.monotonic()
            written = 0

            async def one_after_the_other() -> None:
                nonlocal written
                while time.monotonic() < began + seconds:
                    await log.record(_EVENT)
                    written += 1

            await asyncio.gather(*(one_after_the_other() for _ in range(_AT_ONCE)))
            return written / (time.monotonic() - began)
