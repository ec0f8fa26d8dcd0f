"""The optional blocks KC, check value of the key, and KP, of the KBPK (X9.143 §6.3.6.7 and §6.3.6.12).

Their data is hexadecimal: a byte for the method (00 the zero block encrypted, 01 CMAC of it; X9.24-1:2017 Annex A), then
the first bytes of the value, up to 3 or 5 of them.
"""

import hmac
import re
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

from payment_token.domain.block_ciphers import aes, tdes
from payment_token.domain.key_block.errors import RefusedKeyBlockError
from payment_token.domain.key_block.header import KeyBlockHeader, KeyBlockVersion
from payment_token.domain.key_block.optional_blocks import OptionalBlock
from payment_token.domain.key_check_value import (
    CHECK_VALUE_BYTES,
    zeros_authenticated,
    zeros_encrypted,
)
from payment_token.domain.sensitive import SecretKey

OF_KEY = "KC"
OF_KBPK = "KP"

_ENCRYPTED, _AUTHENTICATED = "00", "01"
_METHODS: Mapping[str, tuple[Callable[[BlockCipherAlgorithm], bytes], re.Pattern[str]]] = {
    _ENCRYPTED: (zeros_encrypted, re.compile(r"(?:[0-9A-F]{2}){2,3}")),
    _AUTHENTICATED: (zeros_authenticated, re.compile(r"(?:[0-9A-F]{2}){2,5}")),
}


def check_values_block(block_id: str, key: SecretKey, algorithm: str) -> OptionalBlock:
    """By the method that is usual for the algorithm of the key, ``T`` or ``A``."""
    method = _ENCRYPTED if algorithm == "T" else _AUTHENTICATED
    value = _METHODS[method][0](_cipher(key, algorithm))
    return OptionalBlock(block_id, method + value[:CHECK_VALUE_BYTES].hex().upper())


def check_stated_values(header: KeyBlockHeader, key: SecretKey, kbpk: SecretKey) -> None:
    """Raises RefusedKeyBlockError where the block states a check value that its key or the KBPK does not have."""
    _check(header.block(OF_KEY), OF_KEY, key, header.algorithm)
    _check(header.block(OF_KBPK), OF_KBPK, kbpk, algorithm_of_kbpk(header.version))


def algorithm_of_kbpk(version: KeyBlockVersion) -> str:
    return "T" if version is KeyBlockVersion.TDES else "A"


def _check(stated: str | None, block_id: str, key: SecretKey, algorithm: str) -> None:
    if stated is None:
        return
    compute, form = _METHODS.get(stated[:2], (None, None))
    if compute is None or form is None or not form.fullmatch(stated[2:]):
        raise RefusedKeyBlockError(
            f"the check value in {block_id} of the key block is in no form of the standard"
        )
    value = compute(_cipher(key, algorithm)).hex().upper()
    if not hmac.compare_digest(value[: len(stated) - 2], stated[2:]):
        raise RefusedKeyBlockError(
            f"the check value in {block_id} of the key block is not the one of its key: ask who made it"
        )


def _cipher(key: SecretKey, algorithm: str) -> BlockCipherAlgorithm:
    return tdes(key) if algorithm == "T" else aes(key)
