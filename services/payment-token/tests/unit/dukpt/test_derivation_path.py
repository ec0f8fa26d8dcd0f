"""The walk with a memory gives what the walk from the root gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, aes, tdes
from payment_token.domain.sensitive import SecretKey

TDES_KEY = SecretKey(bytes.fromhex("6AC292FAA1315B4D858AB3A3D7D5933A"))
AES_KEYS = {
    16: SecretKey(bytes(range(16))),
    24: SecretKey(bytes(range(24))),
    32: SecretKey(bytes(range(32))),
}


def counters(bits: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(1, (1 << bits) - 1).filter(lambda counter: counter.bit_count() <= most)


def tdes_ksn(counter: int) -> KSN:
    return KSN.from_hex(f"{0xFFFF9876543210E00000 | counter:020X}", Scheme.DUKPT_TDES)


def aes_ksn(counter: int) -> KSN:
    return KSN.from_hex(f"1234567890123456{counter:08X}", Scheme.DUKPT_AES)


@given(st.lists(counters(21, 10), min_size=1, max_size=8))
def test_tdes(sequence: list[int]) -> None:
    path = DerivationPath(Scheme.DUKPT_TDES, TDES_KEY)
    for ksn in map(tdes_ksn, sequence):
        assert path.transaction_key(ksn) == tdes.transaction_key(TDES_KEY, ksn)


@given(st.lists(counters(32, 16), min_size=1, max_size=8), st.sampled_from(sorted(AES_KEYS)))
def test_aes(sequence: list[int], size: int) -> None:
    path = DerivationPath(Scheme.DUKPT_AES, AES_KEYS[size])
    for ksn in map(aes_ksn, sequence):
        assert path.transaction_key(ksn) == aes.transaction_key(AES_KEYS[size], ksn)


def test_a_consecutive_counter_costs_a_step_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    step = aes.next_key

    def counted(key: bytes, initial_key_id: bytes, counter: int) -> bytes:
        nonlocal steps
        steps += 1
        return step(key, initial_key_id, counter)

    monkeypatch.setattr(aes, "next_key", counted)
    path = DerivationPath(Scheme.DUKPT_AES, AES_KEYS[16])
    for counter in range(1, 1001):
        path.transaction_key(aes_ksn(counter))

    # A walk from the root would take the sum of the one-bits: about five a counter.
    assert steps == 1000


def test_the_scheme_must_fit() -> None:
    with pytest.raises(ValueError, match="another scheme"):
        DerivationPath(Scheme.DUKPT_TDES, TDES_KEY).transaction_key(aes_ksn(1))
