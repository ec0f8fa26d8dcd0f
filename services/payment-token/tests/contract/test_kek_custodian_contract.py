"""What every custodian of KEKs does: it wraps for one context, opens for that one only, and destroys for good."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.custody import CAPABILITIES, Custodian, custodian_of
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.errors import KeyCustodianRefusedError, RecordIntegrityFailureError
from payment_token.domain.key_life.version import key_context
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.custodians import Custodians
from tests.contract.custodians import HeldKeys, all_that, held_keys

CONTEXT = key_context("service", "v1", "production")
WAITING_DAYS = 7


@pytest.fixture(params=all_that(lambda one: CAPABILITIES[one].wraps_keys))
async def held(request: pytest.FixtureRequest) -> AsyncIterator[HeldKeys]:
    async with held_keys(request.param, request) as keys:
        if keys.custodian is Custodian.PKCS11:
            await keys.custodians.make_kek(keys.kek, "kek")
        yield keys


@pytest.fixture
def custodians(held: HeldKeys) -> Custodians:
    return held.custodians


async def test_a_generated_key_unwraps_under_its_context(
    held: HeldKeys, custodians: Custodians
) -> None:
    key, wrapped = await custodians.generate_key(held.kek, CONTEXT)

    assert len(key.reveal()) == 32
    assert key.reveal() not in wrapped
    assert await custodians.unwrap_key(held.kek, wrapped, dict(CONTEXT)) == key


async def test_no_two_generated_keys_are_the_same(held: HeldKeys, custodians: Custodians) -> None:
    made = [await custodians.generate_key(held.kek, CONTEXT) for _ in range(8)]

    assert len({key.reveal() for key, _ in made}) == 8
    assert len({wrapped for _, wrapped in made}) == 8


async def test_a_given_key_wraps_and_unwraps(held: HeldKeys, custodians: Custodians) -> None:
    key = SecretKey(bytes(range(32)))

    wrapped = await custodians.wrap_key(held.kek, key, CONTEXT)

    assert key.reveal() not in wrapped
    assert await custodians.unwrap_key(held.kek, wrapped, CONTEXT) == key


@pytest.mark.parametrize(
    "other",
    [
        *({**CONTEXT, name: "other"} for name in CONTEXT),
        *({**CONTEXT, name: CONTEXT[name] + "x"} for name in CONTEXT),
        *({k: v for k, v in CONTEXT.items() if k != name} for name in CONTEXT),
        {**CONTEXT, "more": "x"},
        {**CONTEXT, "purpose": CONTEXT["version"], "version": CONTEXT["purpose"]},
        {},
    ],
    ids=str,
)
async def test_under_another_context_nothing_unwraps(
    held: HeldKeys, custodians: Custodians, other: dict[str, str]
) -> None:
    _, wrapped = await custodians.generate_key(held.kek, CONTEXT)

    with pytest.raises(RecordIntegrityFailureError) as refused:
        await custodians.unwrap_key(held.kek, wrapped, other)
    assert refused.value.__context__ is None


async def test_swapped_keys_do_not_unwrap(held: HeldKeys, custodians: Custodians) -> None:
    contexts = [key_context("service", version, "test") for version in ("v1", "v2")]
    blobs = [(await custodians.generate_key(held.kek, context))[1] for context in contexts]

    for context, blob in zip(contexts, reversed(blobs), strict=True):
        with pytest.raises(RecordIntegrityFailureError):
            await custodians.unwrap_key(held.kek, blob, context)


async def test_a_changed_wrapped_key_does_not_unwrap(
    held: HeldKeys, custodians: Custodians
) -> None:
    _, wrapped = await custodians.generate_key(held.kek, CONTEXT)
    step = max(1, len(wrapped) // 24)
    flipped = [
        wrapped[:at] + bytes([wrapped[at] ^ 1 << at % 8]) + wrapped[at + 1 :]
        for at in [*range(0, len(wrapped), step), len(wrapped) - 1]
    ]
    cut = [wrapped[:length] for length in (0, 1, 8, 12, 31, 32, 33, len(wrapped) - 1)]
    other = [wrapped + b"\0", wrapped[1:], wrapped * 2, bytes(len(wrapped)), b"\0" * 7000]

    for blob in flipped + cut + other:
        with pytest.raises(RecordIntegrityFailureError):
            await custodians.unwrap_key(held.kek, blob, CONTEXT)
    assert await custodians.unwrap_key(held.kek, wrapped, CONTEXT)


async def test_another_kek_does_not_unwrap(held: HeldKeys, custodians: Custodians) -> None:
    other = await custodians.make_kek(held.kek, "other")
    _, wrapped = await custodians.generate_key(held.kek, CONTEXT)

    with pytest.raises(RecordIntegrityFailureError):
        await custodians.unwrap_key(other, wrapped, CONTEXT)


async def test_a_kek_that_is_not_there_is_refused_with_advice(
    held: HeldKeys, custodians: Custodians
) -> None:
    for asked in (
        custodians.generate_key(held.unknown, CONTEXT),
        custodians.wrap_key(held.unknown, SecretKey(bytes(32)), CONTEXT),
        custodians.unwrap_key(held.unknown, bytes(80), CONTEXT),
    ):
        with pytest.raises(KeyCustodianRefusedError) as refused:
            await asked
        assert refused.value.advice
        assert refused.value.__context__ is None


async def test_a_new_kek_lives_where_the_old_one_does(
    held: HeldKeys, custodians: Custodians
) -> None:
    made = await custodians.make_kek(held.kek, "pt-service-v2")

    assert made != held.kek
    assert custodian_of(made) is held.custodian
    key, wrapped = await custodians.generate_key(made, CONTEXT)
    assert await custodians.unwrap_key(made, wrapped, CONTEXT) == key


async def test_a_destroyed_kek_opens_nothing(held: HeldKeys, custodians: Custodians) -> None:
    doomed = await custodians.make_kek(held.kek, "doomed")
    _, wrapped = await custodians.generate_key(doomed, CONTEXT)

    due = await custodians.destroy_kek(doomed, WAITING_DAYS)

    assert await custodians.destruction_due(doomed) == due
    assert await custodians.destroy_kek(doomed, WAITING_DAYS) == due
    if held.custodian is Custodian.AWS_KMS:
        assert due is not None
        assert timedelta(days=6) < due - datetime.now(UTC) < timedelta(days=8)
    else:
        assert due is None
    with pytest.raises(KeyCustodianRefusedError):
        await custodians.unwrap_key(doomed, wrapped, CONTEXT)
    with pytest.raises(KeyCustodianRefusedError):
        await custodians.generate_key(doomed, CONTEXT)


async def test_destroying_one_kek_leaves_the_others(held: HeldKeys, custodians: Custodians) -> None:
    key, wrapped = await custodians.generate_key(held.kek, CONTEXT)
    doomed = await custodians.make_kek(held.kek, "kek-2")

    await custodians.destroy_kek(doomed, WAITING_DAYS)

    assert await custodians.unwrap_key(held.kek, wrapped, CONTEXT) == key


async def test_a_kek_whose_destruction_has_not_begun_is_not_said_to_be_gone(
    held: HeldKeys, custodians: Custodians
) -> None:
    with pytest.raises(KeyCustodianRefusedError):
        await custodians.destruction_due(held.kek)


async def test_a_bdk_is_no_kek(held: HeldKeys, custodians: Custodians) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_256, SecretKey(bytes(range(32))))

    for asked in (
        custodians.generate_key(bdk.key_uri, CONTEXT),
        custodians.wrap_key(bdk.key_uri, SecretKey(bytes(32)), CONTEXT),
    ):
        with pytest.raises(KeyCustodianRefusedError):
            await asked


async def test_many_at_once_are_each_right(held: HeldKeys, custodians: Custodians) -> None:
    contexts = [key_context("service", f"v{number}", "test") for number in range(24)]
    made = await asyncio.gather(*(custodians.generate_key(held.kek, each) for each in contexts))

    opened = await asyncio.gather(
        *(
            custodians.unwrap_key(held.kek, wrapped, context)
            for (_, wrapped), context in zip(made, contexts, strict=True)
        )
    )

    assert opened == [key for key, _ in made]
