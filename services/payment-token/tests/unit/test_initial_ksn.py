"""The KSN of a new terminal."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.initial_ksn import new_initial_ksn

DUKPT = [algorithm for algorithm in BDKAlgorithm if algorithm is not BDKAlgorithm.DEVICE_AEAD]
ID_DIGITS = {"dukpt-tdes": 14, "dukpt-aes": 16}


def bdk(algorithm: BDKAlgorithm, prefix: str | None = None) -> BaseDerivationKey:
    return BaseDerivationKey("b", "local:b", algorithm, ksn_prefix=prefix)


@given(st.sampled_from(DUKPT), st.text("0123456789ABCDEF", max_size=16), st.binary(min_size=16))
def test_it_is_within_the_prefix_and_its_counter_is_zero(
    algorithm: BDKAlgorithm, prefix: str, randomness: bytes
) -> None:
    prefix = prefix[: ID_DIGITS[algorithm.scheme]]

    ksn = new_initial_ksn(bdk(algorithm, prefix or None), lambda count: randomness[:count])

    assert str(ksn).startswith(prefix)
    assert ksn.counter == 0
    assert ksn == KSN.of_any_counter(str(ksn), algorithm.scheme)


@pytest.mark.parametrize("algorithm", DUKPT)
def test_no_two_are_the_same(algorithm: BDKAlgorithm) -> None:
    assert (
        len({new_initial_ksn(bdk(algorithm), os.urandom).initial_key_id for _ in range(50)}) == 50
    )


@pytest.mark.parametrize(("prefix", "number"), [("FFFF1234567890", 8), ("FFFF123456789", 128)])
def test_all_that_the_prefix_leaves_are_used(prefix: str, number: int) -> None:
    key = bdk(BDKAlgorithm.TDES_2KEY, prefix)
    made = {new_initial_ksn(key, os.urandom).initial_key_id for _ in range(5000)}
    assert len(made) == number


def test_a_prefix_that_reaches_into_the_counter_still_gives_a_counter_of_zero() -> None:
    ksn = new_initial_ksn(bdk(BDKAlgorithm.TDES_2KEY, "F" * 20), os.urandom)
    assert str(ksn) == "FFFFFFFFFFFFFFE00000"
