"""A read makes one token, whoever sends it how often: over several processes, after a crash, and by an attacker."""

import asyncio
import base64
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import VirtualTerminal
from payment_token.domain.device_payload import PartFormat
from tests.support.deployment import MERCHANT, Deployment, RunningService

Body = dict[str, Any]


@pytest.fixture(scope="module")
def fleet(new_deployment: Callable[[], Deployment]) -> Deployment:
    return new_deployment()


@pytest.fixture(scope="module")
def services(fleet: Deployment) -> Iterator[tuple[RunningService, RunningService]]:
    """Two processes on one database."""
    only = ("--only", "public")
    with fleet.serving(*only) as first, fleet.serving(*only) as second:
        yield first, second


@pytest.fixture
def pos(services: tuple[RunningService, ...]) -> Iterator[httpx.Client]:
    with services[0].public() as client:
        yield client


def reads(terminal: VirtualTerminal, number: int) -> list[Body]:
    return [
        terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2) for _ in range(number)
    ]


def ksn_of(body: Body) -> str:
    return str(body["encrypted_payload"]["ksn"])


def create(client: httpx.Client, body: Body, key: str | None = None) -> httpx.Response:
    return client.post(
        "/v1/payment-tokens", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex}
    )


def code_of(answer: httpx.Response) -> str:
    return "" if answer.is_success else str(answer.json()["code"])


async def storm(
    fleet: Deployment, urls: list[str], sent: list[tuple[Body, str]]
) -> list[tuple[str, str, httpx.Response | None]]:
    """KSN, idempotency key and answer of each; ``None`` where the connection was lost."""
    queue, answers = list(sent), []
    async with httpx.AsyncClient(
        headers={"Authorization": f"Bearer {fleet.api_key}"}, timeout=30
    ) as client:

        async def one_client(url: str) -> None:
            while queue:
                body, key = queue.pop()
                answer = None
                try:
                    answer = await client.post(
                        f"{url}/v1/payment-tokens", json=body, headers={"Idempotency-Key": key}
                    )
                except httpx.TransportError:
                    pass
                answers.append((ksn_of(body), key, answer))

        await asyncio.gather(*(one_client(url) for url in urls))
    return answers


def test_a_storm_of_duplicates_over_two_processes(
    fleet: Deployment, services: tuple[RunningService, ...]
) -> None:
    """Three terminals; each read comes out of order, and under five keys."""
    bodies = [body for _ in range(3) for body in reads(fleet.terminal(), 20)]
    sent = [(body, uuid.uuid4().hex) for body in bodies for _ in range(5)]
    random.Random(3).shuffle(sent)  # noqa: S311 - a seed, so that a failure can be repeated
    urls = [service.urls["public"] for service in services] * 8

    answers = asyncio.run(storm(fleet, urls, sent))

    assert {code_of(answer) for _, _, answer in answers if answer} == {"", "ksn_replayed"}
    made = Counter(ksn for ksn, _, answer in answers if answer and answer.status_code == 201)
    assert made == Counter(ksn_of(body) for body in bodies)


def test_after_a_crash_each_read_has_one_token_and_its_retry_finds_it(fleet: Deployment) -> None:
    bodies = reads(fleet.terminal(), 60)
    sent = [(body, uuid.uuid4().hex) for body in bodies]
    keys = {ksn_of(body): key for body, key in sent}
    with ExitStack() as stack:
        doomed = stack.enter_context(fleet.serving("--only", "public"))
        with doomed.public() as client:
            assert create(client, *sent[0]).status_code == 201

        async def crash() -> list[tuple[str, str, httpx.Response | None]]:
            async def kill() -> None:
                await asyncio.sleep(0.15)
                doomed.process.kill()

            answers, _ = await asyncio.gather(
                storm(fleet, [doomed.urls["public"]] * 8, sent[1:]), kill()
            )
            return answers

        answers = asyncio.run(crash())
        doomed.kill()
        acknowledged = {
            ksn: answer.json()["payment_token"]
            for ksn, _, answer in answers
            if answer is not None and answer.status_code == 201
        }
        successor = stack.enter_context(fleet.serving("--only", "public"))
        with successor.public() as client:
            for body in bodies:
                again = create(client, body, keys[ksn_of(body)])
                assert again.status_code in (200, 201), again.text
                if ksn_of(body) in acknowledged:
                    assert again.json()["payment_token"] == acknowledged[ksn_of(body)]
                # Whoever recorded it on the way has no token of it.
                assert code_of(create(client, body)) == "ksn_replayed"
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as database:
        tokens = database.execute(
            "SELECT count(*) FROM payment_tokens WHERE device_id = %s", (bodies[0]["device_id"],)
        ).fetchone()
    assert tokens == (60,)


def test_a_kept_read_may_come_late_and_an_old_one_may_not(
    fleet: Deployment, pos: httpx.Client
) -> None:
    terminal = fleet.terminal()
    kept = reads(terminal, 3)
    reads(terminal, 1100)
    newest = reads(terminal, 1)[0]
    assert create(pos, kept[0]).status_code == 201
    late = reads(terminal, 1)[0]

    assert create(pos, newest).status_code == 201
    refused = create(pos, kept[1])

    assert (refused.status_code, refused.json()["code"]) == (422, "ksn_replayed")
    assert "behind" in refused.json()["detail"]
    assert create(pos, late).status_code == 201


def test_a_bdk_whose_terminals_may_repeat(fleet: Deployment, pos: httpx.Client) -> None:
    """A test terminal that counts nothing, for as long as its BDK's rule is off."""
    body = reads(fleet.terminal("default-aes-256"), 1)[0]
    assert create(pos, body).status_code == 201
    assert code_of(create(pos, body)) == "ksn_replayed"

    for rule in ("flag", "off"):
        said = fleet.run_here("bdk", "replay", "default-aes-256", rule).stdout
        assert "accepted" in said
        assert create(pos, body).status_code == 201

    fleet.run_here("bdk", "replay", "default-aes-256", "reject")
    assert code_of(create(pos, body)) == "ksn_replayed"


def test_a_recorded_read_cannot_be_probed(
    fleet: Deployment, services: tuple[RunningService, ...], pos: httpx.Client
) -> None:
    """Every bit of the ciphertext turned round once, at both processes at once. Then the real read, by another key."""
    terminal = fleet.terminal()
    assert create(pos, reads(terminal, 1)[0]).status_code == 201
    read, following = reads(terminal, 2)
    urls = [service.urls["public"] for service in services] * 8
    probes = [(probe, uuid.uuid4().hex) for probe in with_each_bit_changed(read)]

    answers = asyncio.run(storm(fleet, urls, probes))

    told = Counter(code_of(answer) for _, _, answer in answers if answer)
    # Three for each process, and those that were looked up before the third was counted.
    assert told["decryption_failed"] + told[""] <= 12
    assert told["ksn_replayed"] >= len(probes) - 12
    other_key = fleet.run_here(
        "api-keys", "create", "--name", "another POS", "--merchant", MERCHANT
    ).stdout.split()
    secret = next(word for word in other_key if word.startswith("ptk_"))
    with services[1].public(headers={"Authorization": f"Bearer {secret}"}) as other:
        if not told[""]:
            assert create(other, read).status_code == 201
    assert create(pos, following).status_code == 201


def test_a_barred_read_may_be_tried_again_once_an_operator_says_so(
    fleet: Deployment, pos: httpx.Client
) -> None:
    barred, other = reads(fleet.terminal(), 2)
    for body in (barred, other):
        told = [code_of(create(pos, with_ciphertext(body, 0))) for _ in range(4)]
        assert told == [*["decryption_failed"] * 3, "ksn_replayed"]
        assert code_of(create(pos, body)) == "ksn_replayed"

    unasked = fleet.run_here("devices", "unbar", ksn_of(barred), check=False)
    assert (unasked.returncode, "say --yes" in unasked.stderr) == (2, True)
    elsewhere = ("unbar", ksn_of(barred), "--api-key", "0123456789abcdef", "--yes")
    assert "nothing to forget" in fleet.run_here("devices", *elsewhere).stdout
    for faulty in (ksn_of(barred)[:9], "not-hexadecimal", ksn_of(barred) + "0"):
        refused = fleet.run_here("devices", "unbar", faulty, "--yes", check=False)
        assert (refused.returncode, "10 to 24 hexadecimal" in refused.stderr) == (1, True)
    assert code_of(create(pos, barred)) == "ksn_replayed"

    done = fleet.run_here(
        *("devices", "unbar", ksn_of(barred).lower(), "--reason", "wrong profile", "--yes")
    )
    assert "API keys 1, KSNs 1." in done.stdout
    assert create(pos, barred).status_code == 201
    assert code_of(create(pos, other)) == "ksn_replayed"
    found = fleet.run_here("audit", "search", "--event", "ksn_unbarred", "--json").stdout
    (record,) = [json.loads(line)["record"] for line in found.splitlines()]
    assert record["details"] == {
        "ksn_prefix": ksn_of(barred),
        "api_key": "any",
        "ksns": 1,
        "reason": "wrong profile",
    }


def with_each_bit_changed(body: Body) -> list[Body]:
    (part,) = body["encrypted_payload"]["parts"]
    ciphertext = base64.b64decode(part["ciphertext"])
    number = int.from_bytes(ciphertext, "big")
    return [with_ciphertext(body, number ^ 1 << bit) for bit in range(8 * len(ciphertext))]


def with_ciphertext(body: Body, number: int) -> Body:
    payload = body["encrypted_payload"]
    length = len(base64.b64decode(payload["parts"][0]["ciphertext"]))
    text = base64.b64encode(number.to_bytes(length, "big")).decode("ascii")
    parts = [payload["parts"][0] | {"ciphertext": text}]
    return body | {"encrypted_payload": payload | {"parts": parts}}
