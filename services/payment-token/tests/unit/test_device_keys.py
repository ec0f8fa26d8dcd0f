import asyncio
import itertools

import pytest

from payment_token.domain.device_aead import AEADKeyName, device_key
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, aes, initial_key, tdes
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import KeyCustodianUnavailableError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.sensitive import SecretKey

TDES_BDK = BaseDerivationKey("tdes", "local:tdes", BDKAlgorithm.TDES_2KEY)
AES_BDK = BaseDerivationKey("aes", "local:aes", BDKAlgorithm.AES_128)
BDKS = {
    "tdes": SecretKey(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")),
    "tdes-2": SecretKey(bytes(range(16))),
    "aes": SecretKey(bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1")),
    "aead": SecretKey(bytes(range(32))),
}


class CountingCustodian:
    """Meets the port InitialKeys, from BDKs in memory."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.attempts = 0
        self.away = False

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        await self._answer()
        self.calls.append((bdk.bdk_id, ksn.initial_key_id))
        return initial_key(BDKS[bdk.bdk_id], ksn)

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        await self._answer()
        self.calls.append((bdk.bdk_id, name.initial_key_id))
        return device_key(BDKS[bdk.bdk_id], name)

    async def _answer(self) -> None:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.away:
            raise KeyCustodianUnavailableError


class Watch:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def custodian() -> CountingCustodian:
    return CountingCustodian()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def keys(custodian: CountingCustodian, watch: Watch) -> DeviceKeys:
    return DeviceKeys(custodian, watch, lambda: 0.5, limit=3, age_seconds=300)


def terminal(number: int, counter: int = 1) -> KSN:
    return KSN.from_hex(f"FFFF98765{number:03}{0xE00000 | counter:08X}", Scheme.DUKPT_TDES)


def aes_terminal(counter: int) -> KSN:
    return KSN.from_hex(f"1234567890123456{counter:08X}", Scheme.DUKPT_AES)


async def test_the_custodian_is_asked_once_for_a_terminal(keys, custodian):
    counters = [1, 2, 3, 5, 8, 4, 1, 0xFF800, 1]
    for counter in counters:
        ksn = terminal(1, counter)
        key = await keys.transaction_key(TDES_BDK, ksn)
        assert key == tdes.transaction_key(initial_key(BDKS["tdes"], ksn), ksn)
    assert len(custodian.calls) == 1


async def test_both_schemes_are_served(keys, custodian):
    for counter in (1, 2, 0xFFFF0000, 3):
        ksn = aes_terminal(counter)
        key = await keys.transaction_key(AES_BDK, ksn)
        assert key == aes.transaction_key(initial_key(BDKS["aes"], ksn), ksn)
    assert custodian.calls == [("aes", bytes.fromhex("1234567890123456"))]


async def test_terminals_do_not_share_their_keys(keys, custodian):
    one = await keys.transaction_key(TDES_BDK, terminal(1))
    other = await keys.transaction_key(TDES_BDK, terminal(2))
    assert one != other
    assert len(custodian.calls) == 2


async def test_the_same_terminal_under_another_bdk_is_another(keys, custodian):
    second = BaseDerivationKey("tdes-2", "local:tdes-2", BDKAlgorithm.TDES_2KEY)
    one = await keys.transaction_key(TDES_BDK, terminal(1))
    other = await keys.transaction_key(second, terminal(1))
    assert one != other
    assert [bdk_id for bdk_id, _ in custodian.calls] == ["tdes", "tdes-2"]


async def test_an_8_byte_and_a_10_byte_ksn_are_one_terminal(keys, custodian):
    for text in ("9876543210E00001", "FFFF9876543210E00002"):
        await keys.transaction_key(TDES_BDK, KSN.from_hex(text, Scheme.DUKPT_TDES))
    assert len(custodian.calls) == 1


async def test_the_longest_unused_terminal_is_forgotten_first(keys, custodian):
    for number in (1, 2, 3, 1, 4):
        await keys.transaction_key(TDES_BDK, terminal(number))
    assert len(custodian.calls) == 4

    for number in (1, 3, 4):
        await keys.transaction_key(TDES_BDK, terminal(number))
    assert len(custodian.calls) == 4

    await keys.transaction_key(TDES_BDK, terminal(2))
    assert len(custodian.calls) == 5


async def test_the_memory_is_bounded_in_number(keys):
    for number in range(20):
        await keys.transaction_key(TDES_BDK, terminal(number))
        assert len(keys._held._held) == min(number + 1, 3)


async def test_the_memory_is_bounded_in_age(keys, custodian, watch):
    await keys.transaction_key(TDES_BDK, terminal(1))
    watch.seconds += 299.9
    await keys.transaction_key(TDES_BDK, terminal(1, 2))
    assert len(custodian.calls) == 1

    watch.seconds += 0.1
    await keys.transaction_key(TDES_BDK, terminal(1, 3))
    assert len(custodian.calls) == 2


async def test_use_does_not_make_a_key_younger(keys, custodian, watch):
    for _ in range(31):
        await keys.transaction_key(TDES_BDK, terminal(1))
        watch.seconds += 10
    assert len(custodian.calls) == 2


async def test_an_absent_custodian_stops_new_terminals_only(keys, custodian):
    await keys.transaction_key(TDES_BDK, terminal(1))
    custodian.away = True

    await keys.transaction_key(TDES_BDK, terminal(1, 2))
    with pytest.raises(KeyCustodianUnavailableError):
        await keys.transaction_key(TDES_BDK, terminal(2))

    custodian.away = False
    await keys.transaction_key(TDES_BDK, terminal(2))
    assert len(custodian.calls) == 2


async def test_an_aged_terminal_needs_the_custodian(keys, custodian, watch):
    await keys.transaction_key(TDES_BDK, terminal(1))
    custodian.away = True
    watch.seconds += 300
    with pytest.raises(KeyCustodianUnavailableError):
        await keys.transaction_key(TDES_BDK, terminal(1))
    assert not keys._held._held


async def test_requests_at_the_same_time_get_the_right_keys(keys):
    ksns = [terminal(number, counter) for number in (1, 2) for counter in (1, 2, 3, 0xFF800)]
    found = await asyncio.gather(*(keys.transaction_key(TDES_BDK, ksn) for ksn in ksns))
    assert found == [tdes.transaction_key(initial_key(BDKS["tdes"], ksn), ksn) for ksn in ksns]


# --- At most one call for each terminal and cache age ---------------------------------------------------------------

AEAD_BDK = BaseDerivationKey("aead", "local:aead", BDKAlgorithm.DEVICE_AEAD)


def aead_name(number: int, key_epoch: int = 1) -> AEADKeyName:
    return AEADKeyName(MerchantId("m_1"), DeviceId(f"d_{number}"), key_epoch)


async def test_a_device_aead_terminal_is_asked_for_once_and_each_epoch_is_its_own(keys, custodian):
    for key_epoch in (1, 1, 2, 1, 2):
        name = aead_name(1, key_epoch)
        assert await keys.aead_key(AEAD_BDK, name) == device_key(BDKS["aead"], name)
    assert len(custodian.calls) == 2


async def test_a_device_aead_terminal_survives_an_outage_until_its_age_is_up(
    keys, custodian, watch
):
    await keys.aead_key(AEAD_BDK, aead_name(1))
    custodian.away = True
    watch.seconds += 299
    await keys.aead_key(AEAD_BDK, aead_name(1))
    with pytest.raises(KeyCustodianUnavailableError):
        await keys.aead_key(AEAD_BDK, aead_name(2))
    watch.seconds += 1
    with pytest.raises(KeyCustodianUnavailableError):
        await keys.aead_key(AEAD_BDK, aead_name(1))


async def test_a_fleet_of_all_schemes_costs_one_call_for_each_terminal_and_age(custodian, watch):
    """Many terminals, many requests at once, a quarter of an hour: the calls are counted."""
    dice = itertools.cycle((0.0, 0.3, 0.5, 0.7, 1.0))
    keys = DeviceKeys(custodian, watch, lambda: next(dice), limit=100, age_seconds=300)
    started, shortest = watch.seconds, 300 * 0.8
    times: dict[tuple[str, bytes], list[float]] = {}

    async def read(number: int, counter: int) -> None:
        await keys.transaction_key(TDES_BDK, terminal(number, counter))
        await keys.transaction_key(AES_BDK, aes_terminal(counter))
        await keys.aead_key(AEAD_BDK, aead_name(number))

    for counter in range(1, 91):
        custodian.calls.clear()
        await asyncio.gather(*(read(number, counter) for number in range(5) for _ in range(4)))
        keys.forget_expired()
        for call in custodian.calls:
            times.setdefault(call, []).append(watch.seconds)
        watch.seconds += 10

    assert len(times) == 5 + 1 + 5
    for moments in times.values():
        assert moments[0] == started
        assert all(later - one >= shortest for one, later in itertools.pairwise(moments))
        assert len(moments) <= 1 + 900 / shortest


async def test_a_terminal_that_is_new_to_many_requests_at_once_costs_one_call(keys, custodian):
    reads = [keys.transaction_key(TDES_BDK, terminal(1, counter)) for counter in range(1, 50)]
    reads += [keys.aead_key(AEAD_BDK, aead_name(1)) for _ in range(50)]
    await asyncio.gather(*reads)
    assert len(custodian.calls) == 2


async def test_an_outage_costs_one_call_for_all_who_wait(keys, custodian):
    custodian.away = True
    found = await asyncio.gather(
        *(keys.transaction_key(TDES_BDK, terminal(1)) for _ in range(50)), return_exceptions=True
    )
    assert {type(one) for one in found} == {KeyCustodianUnavailableError}
    assert custodian.attempts == 1


async def test_keys_that_were_let_go_of_are_wiped(keys, watch):
    await keys.transaction_key(TDES_BDK, terminal(1, 0xFF800))
    given = await keys.aead_key(AEAD_BDK, aead_name(1))
    (path, _), _ = keys._held._held.values()
    inner = [path._initial_key, *path._keys]
    assert len(inner) > 5
    watch.seconds += 300
    keys.forget_expired()
    watch.seconds += 10
    keys.forget_expired()
    for key in (*inner, given):
        with pytest.raises(ValueError, match="wiped"):
            key.reveal()


async def test_a_key_that_leads_nowhere_is_wiped_at_once_and_the_caller_s_is_not(keys):
    first = await keys.transaction_key(TDES_BDK, terminal(1, 3))
    path, _ = keys._held._held.popitem()[1]
    inner = path._keys[-1]
    expected = first.reveal()

    path.transaction_key(terminal(1, 4))

    with pytest.raises(ValueError, match="wiped"):
        inner.reveal()
    assert first.reveal() == expected
