"""What a simulated fleet sends, how fast, and how its answers are compared."""

import asyncio
import io
import itertools
import os
import time
from collections import Counter

import httpx
import pytest
from rich.console import Console

from payment_token.cli.fleet.comparison import differing, table
from payment_token.cli.fleet.day import Day, Send, Visit
from payment_token.cli.fleet.expectations import EXPECTED, PER_HUNDRED, Expected, Kind
from payment_token.cli.fleet.floor import Floor
from payment_token.cli.fleet.sending import Answer, Sender
from payment_token.cli.virtual_terminal import DUKPTTerminal, Encryption
from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import BadKSNError
from payment_token.domain.reader_profiles import BUILT_IN
from payment_token.domain.sensitive import SecretKey

MERCHANT = "m_demo"


def terminal(name, profile="generic-aes"):
    chosen = BUILT_IN[profile].profile
    algorithm = (
        BDKAlgorithm.AES_128 if chosen.scheme is Scheme.DUKPT_AES else BDKAlgorithm.TDES_2KEY
    )
    base = (
        os.urandom(8) + bytes(4) if algorithm is BDKAlgorithm.AES_128 else os.urandom(7) + bytes(3)
    )
    bdk = BaseDerivationKey("k", "local:k", algorithm)
    return DUKPTTerminal(name, bdk, base, SecretKey(os.urandom(16)), Encryption.of(chosen))


def floor():
    framed = [terminal(f"framed-{one}", "idtech-msr-tdes") for one in range(2)]
    return Floor(
        good=[terminal(f"good-{one}") for one in range(4)],
        framed=framed,
        checked=framed,
        jumping=[terminal("jumps")],
        wrong_variant=terminal("variant"),
        stolen=terminal("stolen"),
        unknown=terminal("unknown"),
    )


def sends(seed, visits=400, *, required=True):
    day = Day(floor(), MERCHANT, seed, registration_required=required)
    return [send for visit in itertools.islice(day.visits(), visits) for send in visit.sends]


def test_every_kind_has_an_expectation_and_a_share_of_the_day():
    assert set(EXPECTED) == set(Kind)
    assert set(PER_HUNDRED) == set(Kind) - {Kind.READ}
    assert sum(PER_HUNDRED.values()) < 50


def test_a_day_holds_every_kind():
    kinds = Counter(send.kind for send in sends(1, visits=3000))
    assert set(kinds) == set(Kind)
    assert kinds[Kind.READ] > 1500


def test_the_same_seed_gives_the_same_day_and_new_counters():
    first, second, other = sends(1), sends(1), sends(2)

    assert [send.kind for send in first] == [send.kind for send in second]
    assert [send.body["device_id"] for send in first] == [send.body["device_id"] for send in second]
    assert [send.kind for send in first] != [send.kind for send in other]
    assert not {send.key for send in first} & {send.key for send in second}


def test_where_registration_is_open_no_device_is_unknown():
    kinds = {send.kind for send in sends(1, visits=3000, required=False)}
    assert Kind.UNKNOWN_DEVICE not in kinds


def test_a_good_counter_never_comes_twice():
    read = [
        send.body["encrypted_payload"]["ksn"]
        for send in sends(3, visits=2000)
        if send.kind in {Kind.READ, Kind.LATE_READ, Kind.JUMP}
        and "ksn" in send.body["encrypted_payload"]
    ]
    assert len(read) == len(set(read)) > 500


def test_an_impossible_counter_is_one_under_every_scheme():
    for send in sends(4, visits=3000):
        if send.kind is Kind.IMPOSSIBLE_COUNTER:
            payload = send.body["encrypted_payload"]
            with pytest.raises(BadKSNError):
                KSN.from_hex(payload["ksn"], Scheme(payload["scheme"]))


def test_late_reads_come_out_of_order():
    day = Day(floor(), MERCHANT, 5, registration_required=True)
    orders = []
    for _ in range(20):
        counters = [
            int(send.body["encrypted_payload"]["ksn"], 16)
            for send in day.late_reads()
            if "ksn" in send.body["encrypted_payload"]
        ]
        orders.append(counters == sorted(counters))
    assert not all(orders)


# --- Sending --------------------------------------------------------------------------------------------------------


async def _answering(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b'{"payment_token": "pt_same"}'})


def visits(count, kind=Kind.READ):
    return (Visit(iter([Send(kind, {"n": number})])) for number in range(count))


async def _sent(app, visits, rate=10_000.0, at_once=8, stopped=None):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        sender = Sender(client, rate, at_once, stopped or asyncio.Event(), lambda: None)
        await sender.send(visits)
    return sender.answers


async def test_it_is_never_faster_than_its_rate():
    started = time.monotonic()
    answers = await _sent(_answering, visits(21), rate=100)
    assert len(answers) == 21
    assert time.monotonic() - started >= 20 / 100


async def test_no_more_are_under_way_than_allowed():
    under_way, most = 0, 0

    async def slow(scope, receive, send):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        await _answering(scope, receive, send)

    await _sent(slow, visits(40), at_once=3)
    assert 1 < most <= 3


async def test_a_stop_lets_what_has_begun_be_answered():
    stopped = asyncio.Event()

    async def stopping(scope, receive, send):
        stopped.set()
        await _answering(scope, receive, send)

    answers = await _sent(stopping, visits(500), at_once=4, stopped=stopped)
    assert 1 <= len(answers) <= 5
    assert {answer.status for answer in answers} == {201}


async def test_visits_that_must_be_alone_are():
    under_way, met = 0, []

    async def watching(scope, receive, send):
        nonlocal under_way
        under_way += 1
        met.append(under_way)
        await asyncio.sleep(0.002)
        under_way -= 1
        await _answering(scope, receive, send)

    alone = (Visit(iter([Send(Kind.JUMP, {}), Send(Kind.JUMP, {})]), alone=True) for _ in range(8))
    await _sent(watching, alone)
    assert max(met) == 1


async def test_another_token_for_a_retry_is_seen():
    count = itertools.count()

    async def forgetful(scope, receive, send):
        await receive()
        body = f'{{"payment_token": "pt_{next(count)}"}}'.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    first = Send(Kind.READ, {})
    steps = [first, Send(Kind.RETRY, {}, first.key, same_as=first.key)]
    answers = await _sent(forgetful, iter([Visit(iter(steps))]))
    assert [answer.code for answer in answers] == ["", "another token"]
    assert differing([answers[1]]) == 1


async def test_no_answer_and_no_json_are_answers_that_differ():
    async def broken(scope, receive, send):
        raise httpx.ConnectError("refused")

    async def text(scope, receive, send):
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>"})

    (none,) = await _sent(broken, visits(1))
    assert str(none) == "no answer (ConnectError)"
    (proxy,) = await _sent(text, visits(1))
    assert str(proxy) == "502 no JSON"
    assert differing([none, proxy]) == 2


# --- The table ------------------------------------------------------------------------------------------------------


def test_what_differs_is_shown_beside_what_should_be():
    answers = [
        Answer(Kind.READ, 201, "", 0.010),
        Answer(Kind.READ, 503, "overloaded", 0.020),
        Answer(Kind.WRONG_VARIANT, 422, "decryption_failed", 0.005),
    ]
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(table(answers))
    lines = [line.split() for line in shown.export_text().splitlines() if "ms" in line]

    assert differing(answers) == 1
    assert lines[0][-1] == "differs"
    assert "overloaded" in " ".join(lines[0])
    assert lines[1][-1] == "ok"


def test_a_success_with_a_code_and_the_right_code_with_another_status_differ():
    assert differing([Answer(Kind.READ, 201, "another token", 0)]) == 1
    assert differing([Answer(Kind.REPLAY, 409, "ksn_replayed", 0)]) == 1
    assert str(Expected(422, "bad_ksn")) == "422 bad_ksn"
    assert str(Expected(201)) == "201"
