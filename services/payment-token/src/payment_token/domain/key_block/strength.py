"""Which key may protect which: none is protected by a weaker one (strengths of NIST SP 800-57 part 1)."""

from itertools import pairwise

from payment_token.domain.key_block.errors import RefusedKeyBlockError
from payment_token.domain.sensitive import SecretKey

_TDES_PART = 8
_BITS_OF_TDES = {1: 56, 2: 80, 3: 112}


def check_protects(kbpk: SecretKey, kbpk_algorithm: str, key_algorithm: str, key_bits: int) -> None:
    """Raises RefusedKeyBlockError for a KBPK that is weaker than a key of that algorithm and length."""
    needed = _BITS_OF_TDES[key_bits // 64] if key_algorithm == "T" else key_bits
    if strength_bits(kbpk, kbpk_algorithm) < needed:
        raise RefusedKeyBlockError(
            f"the protection key is weaker than the key of {needed} bits of strength that it is to protect:"
            " use an AES key that is at least as long"
        )


def strength_bits(key: SecretKey, algorithm: str) -> int:
    """Of a TDES key also by how many of its parts differ: two equal neighbours cancel each other out."""
    raw = key.reveal()
    if algorithm != "T":
        return len(raw) * 8
    parts = [raw[start : start + _TDES_PART] for start in range(0, len(raw), _TDES_PART)]
    if any(first == second for first, second in pairwise(parts)):
        return _BITS_OF_TDES[1]
    return _BITS_OF_TDES[len(set(parts))]
