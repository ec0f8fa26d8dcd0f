"""TDES DUKPT, ANSI X9.24-1:2009 Annex A. Keys are 16 bytes (two-key TDES) throughout.

TDES stands apart from AES here: it is legacy, and most readers in the field still speak it.
"""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from payment_token.domain.dukpt.ksn import KSN, TDES_COUNTER_BITS
from payment_token.domain.sensitive import SecretKey

PIN_MASK = bytes.fromhex("00000000000000FF00000000000000FF")
MAC_REQUEST_MASK = bytes.fromhex("000000000000FF00000000000000FF00")
MAC_RESPONSE_MASK = bytes.fromhex("00000000FF00000000000000FF000000")
DATA_REQUEST_MASK = bytes.fromhex("0000000000FF00000000000000FF0000")
DATA_RESPONSE_MASK = bytes.fromhex("000000FF00000000000000FF00000000")

_ECB = modes.ECB()
_BLOCK = 8
_KEY_BYTES = 16
_REGISTER_MASK = (1 << 64) - 1
_TRANSFORM_MASK = int.from_bytes(bytes.fromhex("C0C0C0C000000000C0C0C0C000000000"), "big")


def initial_key(bdk: SecretKey, ksn: KSN) -> SecretKey:
    """The key that a terminal is injected with (A.6): the KSN with its counter zeroed, encrypted under the BDK twice."""
    block = initial_key_block(ksn)
    right = right_half_key(bdk)
    return SecretKey(_encrypt_ecb(bdk.reveal(), block) + _encrypt_ecb(right.reveal(), block))


def initial_key_block(ksn: KSN) -> bytes:
    """The 8 bytes that are encrypted under the BDK, and under its :func:`right_half_key`, for an initial key (A.6)."""
    return ksn.initial_key_id[:_BLOCK]


def right_half_key(bdk: SecretKey) -> SecretKey:
    """The BDK with the mask over it that gives the right half of an initial key (A.6)."""
    key = bdk.reveal()
    if len(key) != _KEY_BYTES:
        raise ValueError("a TDES base derivation key is 16 bytes")
    return SecretKey((int.from_bytes(key, "big") ^ _TRANSFORM_MASK).to_bytes(_KEY_BYTES, "big"))


def next_key(key: int, initial_key_id: int, counter: int) -> int:
    """One step of the non-reversible key generation (A.2), for the counter with the bits taken so far.

    Keys are integers of 128 bits here: the walk is hot, and integers spare it a dozen small byte strings a step.
    """
    register = (initial_key_id | counter) & _REGISTER_MASK
    right = _step(key, register)
    left = _step(key ^ _TRANSFORM_MASK, register)
    return left << 64 | right


def transaction_key(key: SecretKey, ksn: KSN) -> SecretKey:
    """Walks from the initial key through the one-bits of the counter, the highest first (A.3)."""
    current = int.from_bytes(key.reveal(), "big")
    initial_key_id = int.from_bytes(ksn.initial_key_id, "big")
    reached = 0
    for bit in range(TDES_COUNTER_BITS - 1, -1, -1):
        if ksn.counter >> bit & 1:
            reached |= 1 << bit
            current = next_key(current, initial_key_id, reached)
    return SecretKey(current.to_bytes(_KEY_BYTES, "big"))


def variant_key(transaction: SecretKey, mask: bytes) -> SecretKey:
    """PIN and MAC keys: the transaction key with a mask over it (A.4.1, table A-1)."""
    number = int.from_bytes(transaction.reveal(), "big") ^ int.from_bytes(mask, "big")
    return SecretKey(number.to_bytes(_KEY_BYTES, "big"))


def data_key(transaction: SecretKey, mask: bytes) -> SecretKey:
    """Data keys: the masked key, encrypted under itself, so that a data key does not give its siblings away (A.4.1)."""
    variant = variant_key(transaction, mask).reveal()
    return SecretKey(_encrypt_ecb(variant, variant))


def _step(key: int, register: int) -> int:
    left, right = key >> 64, key & _REGISTER_MASK
    return int.from_bytes(_des(left, (register ^ right).to_bytes(_BLOCK, "big")), "big") ^ right


def _des(key: int, block: bytes) -> bytes:
    # Single DES is TDES with three equal keys.
    return _encryptor(key.to_bytes(_BLOCK, "big") * 3, block)


def _encrypt_ecb(key: bytes, data: bytes) -> bytes:
    return _encryptor(key + key[:_BLOCK], data)


def _encryptor(key: bytes, data: bytes) -> bytes:
    return Cipher(TripleDES(key), _ECB).encryptor().update(data)
