"""AES DUKPT, ANSI X9.24-3:2017 §6.3. Keys are 16, 24 or 32 bytes.

Each derivation encrypts this block, once for each 16 bytes of the new key, counting up:

======  =====  ==================================================
offset  bytes  meaning
======  =====  ==================================================
0       1      version, 0x01
1       1      block counter, 1 or 2
2       2      key usage
4       2      algorithm of the new key
6       2      length of the new key in bits
8       8      initial key id; or its last 4 bytes ‖ the counter
======  =====  ==================================================
"""

import struct
from enum import Enum, IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from payment_token.domain.dukpt.ksn import AES_COUNTER_BITS, KSN
from payment_token.domain.sensitive import SecretKey

_VERSION = 1
_BLOCK = 16
_HEAD = struct.Struct(">BBHHH")  # the first 8 bytes of the table
_ECB = modes.ECB()


class KeyUsage(IntEnum):
    """Table 2 of the standard."""

    KEY_ENCRYPTION = 0x0002
    PIN_ENCRYPTION = 0x1000
    MAC_GENERATION = 0x2000
    MAC_VERIFICATION = 0x2001
    MAC_BOTH = 0x2002
    DATA_ENCRYPTION = 0x3000
    DATA_DECRYPTION = 0x3001
    DATA_BOTH = 0x3002
    KEY_DERIVATION = 0x8000
    INITIAL_KEY = 0x8001


class KeyType(Enum):
    """Algorithm indicator (table 3), length in bytes, and security strength in bits."""

    TDEA_2KEY = (0x0000, 16, 80)
    TDEA_3KEY = (0x0001, 24, 112)
    AES_128 = (0x0002, 16, 128)
    AES_192 = (0x0003, 24, 192)
    AES_256 = (0x0004, 32, 256)
    HMAC_128 = (0x0005, 16, 128)
    HMAC_192 = (0x0005, 24, 192)
    HMAC_256 = (0x0005, 32, 256)

    def __init__(self, indicator: int, length: int, strength: int) -> None:
        self.indicator = indicator
        self.length = length
        self.strength = strength


_AES_OF_LENGTH = {16: KeyType.AES_128, 24: KeyType.AES_192, 32: KeyType.AES_256}


def initial_key(bdk: SecretKey, ksn: KSN) -> SecretKey:
    """The key that a terminal is injected with (§6.3.3), of the BDK's size."""
    key = bdk.reveal()
    return SecretKey(_derive(key, KeyUsage.INITIAL_KEY, _type_of(key), ksn.initial_key_id))


def initial_key_blocks(ksn: KSN, key_bytes: int) -> bytes:
    """What is encrypted under a BDK of that size for an initial key, whose bytes are the first of the result."""
    return _blocks(KeyUsage.INITIAL_KEY, _AES_OF_LENGTH[key_bytes], ksn.initial_key_id)


def next_key(key: bytes, initial_key_id: bytes, counter: int) -> bytes:
    """One step of the walk: the intermediate key for the counter with the bits taken so far (§6.3.4)."""
    return _derive(
        key, KeyUsage.KEY_DERIVATION, _AES_OF_LENGTH[len(key)], _place(initial_key_id, counter)
    )


def transaction_key(key: SecretKey, ksn: KSN) -> SecretKey:
    """Walks from the initial key through the one-bits of the counter, the highest first."""
    current, reached = key.reveal(), 0
    for bit in range(AES_COUNTER_BITS - 1, -1, -1):
        if ksn.counter >> bit & 1:
            reached |= 1 << bit
            current = next_key(current, ksn.initial_key_id, reached)
    return SecretKey(current)


def working_key(transaction: SecretKey, ksn: KSN, usage: KeyUsage, key_type: KeyType) -> SecretKey:
    """A key for one use (§6.3.5). Raises ValueError for one stronger than the key that it comes from."""
    key = transaction.reveal()
    if key_type.strength > _type_of(key).strength:
        raise ValueError("a working key is never stronger than its base derivation key")
    return SecretKey(_derive(key, usage, key_type, _place(ksn.initial_key_id, ksn.counter)))


def _type_of(key: bytes) -> KeyType:
    if len(key) not in _AES_OF_LENGTH:
        raise ValueError("an AES DUKPT key is 16, 24 or 32 bytes")
    return _AES_OF_LENGTH[len(key)]


def _place(initial_key_id: bytes, counter: int) -> bytes:
    return initial_key_id[4:] + counter.to_bytes(4, "big")


def _derive(key: bytes, usage: KeyUsage, key_type: KeyType, place: bytes) -> bytes:
    encryptor = Cipher(AES(key), _ECB).encryptor()
    return encryptor.update(_blocks(usage, key_type, place))[: key_type.length]


def _blocks(usage: KeyUsage, key_type: KeyType, place: bytes) -> bytes:
    length = key_type.length
    return b"".join(
        [
            _HEAD.pack(_VERSION, number, usage, key_type.indicator, length * 8) + place
            for number in range(1, -(-length // _BLOCK) + 1)
        ]
    )
