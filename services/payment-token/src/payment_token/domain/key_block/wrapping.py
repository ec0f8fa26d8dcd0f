"""Wrap and unwrap a key. The key data that is encrypted is the key's length in bits (2 bytes), the key, random padding."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from payment_token.domain.key_block.errors import MalformedKeyBlockError
from payment_token.domain.key_block.header import KeyBlockHeader, KeyBlockVersion
from payment_token.domain.key_block.protection import expose, protect
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

_LENGTH_BYTES = 2
# Every key of an algorithm is padded as its longest, so that the block does not tell how strong the key is.
_LONGEST_KEY = {"T": 24, "A": 32}

# Upper case only: two texts must not be one key block.
_HEXADECIMAL = re.compile(r"(?:[0-9A-F]{2})+")


@dataclass(frozen=True, slots=True)
class UnwrappedKey:
    header: KeyBlockHeader
    key: SecretKey


def wrap(
    kbpk: SecretKey,
    header: KeyBlockHeader,
    key: SecretKey,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """The key block of a key of whole bytes. Raises KeyBlockError for a KBPK of a size that the version does not take."""
    raw = key.reveal()
    data = (len(raw) * 8).to_bytes(_LENGTH_BYTES, "big") + raw
    block = header.version.cipher_block
    longest = _LENGTH_BYTES + max(len(raw), _LONGEST_KEY.get(header.algorithm, 0))
    length = longest + -longest % block
    data += random(length - len(data))
    head = header.text(rest=2 * (length + block))
    ciphertext, mac = protect(header.version, kbpk, head, SensitiveBytes(data))
    return head + (ciphertext + mac).hex().upper()


def unwrap(kbpk: SecretKey, text: str) -> UnwrappedKey:
    """Raises UnverifiedKeyBlockError for a text that was changed or is of another KBPK, and for what is no key block."""
    header, end = KeyBlockHeader.parse(text)
    ciphertext, mac = _split(header.version, text[end:])
    data = expose(header.version, kbpk, text[:end], ciphertext, mac).reveal()
    bits = int.from_bytes(data[:_LENGTH_BYTES], "big")
    key = data[_LENGTH_BYTES : _LENGTH_BYTES + bits // 8]
    if not key or len(key) * 8 != bits:
        raise MalformedKeyBlockError("the key block states a length that its key does not have")
    return UnwrappedKey(header, SecretKey(key))


def _split(version: KeyBlockVersion, text: str) -> tuple[bytes, bytes]:
    if not _HEXADECIMAL.fullmatch(text):
        raise MalformedKeyBlockError(
            "the key block is not hexadecimal in upper case after its header"
        )
    data, block = bytes.fromhex(text), version.cipher_block
    if len(data) % block or len(data) < 2 * block:
        raise MalformedKeyBlockError("the key block is not of whole blocks")
    return data[:-block], data[-block:]
