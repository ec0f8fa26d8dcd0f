"""The walk through the key tree, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, aes, initial_key, payload_key, tdes
from payment_token.domain.dukpt.aes import KeyType, KeyUsage
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.sensitive import SecretKey

TDES_INITIAL_KEY = SecretKey(bytes.fromhex("6AC292FAA1315B4D858AB3A3D7D5933A"))
AES_SIZES = (16, 24, 32)


def counters(bits: int, most: int) -> st.SearchStrategy[int]:
    """Every counter of a terminal: 1 to ``most`` of ``bits`` bits."""
    places = st.sets(st.integers(0, bits - 1), min_size=1, max_size=most)
    return places.map(lambda chosen: sum(1 << bit for bit in chosen))


def tdes_ksn(counter: int) -> KSN:
    return KSN.from_hex(f"{0xFFFF9876543210E00000 | counter:020X}", Scheme.DUKPT_TDES)


def aes_ksn(counter: int) -> KSN:
    return KSN.from_hex(f"1234567890123456{counter:08X}", Scheme.DUKPT_AES)


def aes_initial_key(size: int) -> SecretKey:
    return initial_key(SecretKey(bytes(range(size))), aes_ksn(1))


# Runs of neighbouring counters are what a terminal sends; leaps and returns are what the memory must survive.
def walks(bits: int, most: int) -> st.SearchStrategy[list[int]]:
    neighbours = st.integers(1, (1 << bits) - 41).map(
        lambda start: [n for n in range(start, start + 40) if n.bit_count() <= most]
    )
    leaps = st.lists(counters(bits, most), max_size=12)
    return st.lists(neighbours | leaps, max_size=3).map(
        lambda runs: [counter for run in runs for counter in run]
    )


@given(walks(21, 10))
def test_the_remembered_path_gives_the_tdes_keys_of_a_walk_from_the_root(sequence):
    path = DerivationPath(Scheme.DUKPT_TDES, TDES_INITIAL_KEY)
    for counter in sequence:
        ksn = tdes_ksn(counter)
        assert path.transaction_key(ksn) == tdes.transaction_key(TDES_INITIAL_KEY, ksn)


@given(walks(32, 16), st.sampled_from(AES_SIZES))
def test_the_remembered_path_gives_the_aes_keys_of_a_walk_from_the_root(sequence, size):
    root = aes_initial_key(size)
    path = DerivationPath(Scheme.DUKPT_AES, root)
    for counter in sequence:
        ksn = aes_ksn(counter)
        assert path.transaction_key(ksn) == aes.transaction_key(root, ksn)


@given(st.lists(counters(21, 10), min_size=1), st.lists(counters(32, 16), min_size=1))
def test_the_memory_is_bounded_by_the_one_bits_of_a_counter(tdes_sequence, aes_sequence):
    tdes_path = DerivationPath(Scheme.DUKPT_TDES, TDES_INITIAL_KEY)
    aes_path = DerivationPath(Scheme.DUKPT_AES, aes_initial_key(16))
    for counter in tdes_sequence:
        tdes_path.transaction_key(tdes_ksn(counter))
        assert len(tdes_path._keys) == len(tdes_path._reached) == counter.bit_count() <= 10
    for counter in aes_sequence:
        aes_path.transaction_key(aes_ksn(counter))
        assert len(aes_path._keys) == len(aes_path._reached) == counter.bit_count() <= 16


def test_the_next_counter_is_a_step_or_two_away(monkeypatch):
    steps = []
    step = tdes.next_key
    monkeypatch.setattr(tdes, "next_key", lambda *given: steps.append(given) or step(*given))
    path = DerivationPath(Scheme.DUKPT_TDES, TDES_INITIAL_KEY)
    path.transaction_key(tdes_ksn(0xFF800))
    assert len(steps) == 9

    path.transaction_key(tdes_ksn(0xFF801))
    path.transaction_key(tdes_ksn(0xFF802))
    path.transaction_key(tdes_ksn(0xFF802))

    assert len(steps) == 9 + 1 + 1


def test_a_path_refuses_the_other_scheme():
    with pytest.raises(ValueError, match="another scheme"):
        DerivationPath(Scheme.DUKPT_TDES, TDES_INITIAL_KEY).transaction_key(aes_ksn(1))
    with pytest.raises(ValueError, match="another scheme"):
        DerivationPath(Scheme.DUKPT_AES, aes_initial_key(16)).transaction_key(tdes_ksn(1))


@given(counters(21, 10), counters(21, 10))
def test_two_tdes_counters_never_give_the_same_key(one, other):
    keys = [tdes.transaction_key(TDES_INITIAL_KEY, tdes_ksn(counter)) for counter in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


@given(counters(32, 16), counters(32, 16), st.sampled_from(AES_SIZES))
def test_two_aes_counters_never_give_the_same_key(one, other, size):
    root = aes_initial_key(size)
    keys = [aes.transaction_key(root, aes_ksn(counter)) for counter in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


@pytest.mark.parametrize("size", [0, 1, 8, 15, 17, 24, 32, 48])
def test_a_tdes_base_key_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="16 bytes"):
        initial_key(SecretKey(bytes(size)), tdes_ksn(1))


@pytest.mark.parametrize("size", [0, 1, 8, 15, 17, 23, 25, 31, 33, 64])
def test_an_aes_base_key_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="16, 24 or 32 bytes"):
        initial_key(SecretKey(bytes(size)), aes_ksn(1))


@pytest.mark.parametrize("size", AES_SIZES)
@pytest.mark.parametrize("key_type", KeyType)
@pytest.mark.parametrize("usage", KeyUsage)
def test_a_working_key_is_never_stronger_than_its_base(size, key_type, usage):
    transaction = aes.transaction_key(aes_initial_key(size), aes_ksn(1))
    if key_type.strength <= size * 8:
        key = aes.working_key(transaction, aes_ksn(1), usage, key_type)
        assert len(key.reveal()) == key_type.length
    else:
        with pytest.raises(ValueError, match="never stronger"):
            aes.working_key(transaction, aes_ksn(1), usage, key_type)


AES_ALLOWED = {
    16: {Cipher.TDES_2KEY, Cipher.TDES_3KEY, Cipher.AES_128},
    24: {Cipher.TDES_2KEY, Cipher.TDES_3KEY, Cipher.AES_128, Cipher.AES_192},
    32: set(Cipher),
}
KEY_BYTES = {
    Cipher.TDES_2KEY: 16,
    Cipher.TDES_3KEY: 24,
    Cipher.AES_128: 16,
    Cipher.AES_192: 24,
    Cipher.AES_256: 32,
}


@pytest.mark.parametrize("variant", KeyVariant)
@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("size", AES_SIZES)
def test_an_aes_payload_key_is_within_the_size_of_its_base(size, cipher, variant):
    transaction = aes.transaction_key(aes_initial_key(size), aes_ksn(1))
    if cipher in AES_ALLOWED[size]:
        key = payload_key(transaction, aes_ksn(1), variant, cipher)
        assert len(key.reveal()) == KEY_BYTES[cipher]
        return
    with pytest.raises(InvalidFieldError) as refusal:
        payload_key(transaction, aes_ksn(1), variant, cipher)
    assert refusal.value.field == "encrypted_payload.cipher"
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("variant", KeyVariant)
@pytest.mark.parametrize("cipher", Cipher)
def test_a_tdes_payload_key_is_two_key_tdes_or_aes_128(cipher, variant):
    transaction = tdes.transaction_key(TDES_INITIAL_KEY, tdes_ksn(1))
    if cipher not in (Cipher.TDES_2KEY, Cipher.AES_128):
        field = "encrypted_payload.cipher"
    elif variant is KeyVariant.DATA_BOTH:
        field = "encrypted_payload.key_variant"
    else:
        assert len(payload_key(transaction, tdes_ksn(1), variant, cipher).reveal()) == 16
        return
    with pytest.raises(InvalidFieldError) as refusal:
        payload_key(transaction, tdes_ksn(1), variant, cipher)
    assert refusal.value.field == field


def test_every_variant_has_a_key_of_its_own():
    tdes_transaction = tdes.transaction_key(TDES_INITIAL_KEY, tdes_ksn(1))
    aes_transaction = aes.transaction_key(aes_initial_key(16), aes_ksn(1))
    keys = [
        payload_key(tdes_transaction, tdes_ksn(1), variant, Cipher.TDES_2KEY)
        for variant in KeyVariant
        if variant is not KeyVariant.DATA_BOTH
    ] + [
        payload_key(aes_transaction, aes_ksn(1), variant, Cipher.AES_128) for variant in KeyVariant
    ]
    assert len({key.reveal() for key in keys}) == len(keys) == 7
