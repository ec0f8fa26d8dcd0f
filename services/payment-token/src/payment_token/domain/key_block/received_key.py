"""A base derivation key that arrives in a key block: what its header must say before the key is taken."""

from dataclasses import dataclass

from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.key_block.check_values import algorithm_of_kbpk, check_stated_values
from payment_token.domain.key_block.errors import RefusedKeyBlockError
from payment_token.domain.key_block.header import KeyBlockHeader
from payment_token.domain.key_block.strength import check_protects
from payment_token.domain.key_block.wrapping import unwrap
from payment_token.domain.sensitive import SecretKey

_USAGE = "B0"
# X is derivation. N says no more than the usage does, which for B0 is derivation too: payShield HSMs export it so.
_MODES = frozenset("XN")
# Whether the sender may export it says nothing about us: here it can never be exported.
_EXPORTABILITIES = frozenset("ENS")
_COMPONENT = "c"
_KEY_SET = "KS"
_ALGORITHMS = {
    BDKAlgorithm.TDES_2KEY: "T",
    BDKAlgorithm.AES_128: "A",
    BDKAlgorithm.AES_192: "A",
    BDKAlgorithm.AES_256: "A",
}


@dataclass(frozen=True, slots=True)
class ReceivedBDK:
    """``key_set`` is what the block says of the KSNs that the key is for, if anything."""

    key: SecretKey
    key_set: str | None


def check_algorithm(algorithm: BDKAlgorithm) -> None:
    """Raises RefusedKeyBlockError for a kind of key that no key block brings here."""
    if algorithm not in _ALGORITHMS:
        raise RefusedKeyBlockError(
            f"{algorithm} keys do not come in key blocks: import this one from its components"
        )


def receive_bdk(kbpk: SecretKey, text: str, algorithm: BDKAlgorithm) -> ReceivedBDK:
    """Raises UnverifiedKeyBlockError, or RefusedKeyBlockError for a genuine block of something else."""
    check_algorithm(algorithm)
    unwrapped = unwrap(kbpk, text)
    header, key = unwrapped.header, unwrapped.key
    _check_header(header)
    bits = len(key.reveal()) * 8
    if header.algorithm != _ALGORITHMS[algorithm] or bits != algorithm.key_bytes * 8:
        name = {"T": "TDES", "A": "AES"}[header.algorithm]
        raise RefusedKeyBlockError(
            f"the key block has a {name} key of {bits} bits, which is not {algorithm}"
        )
    check_protects(kbpk, algorithm_of_kbpk(header.version), header.algorithm, bits)
    check_stated_values(header, key, kbpk)
    return ReceivedBDK(key, header.block(_KEY_SET))


def _check_header(header: KeyBlockHeader) -> None:
    if header.usage != _USAGE:
        raise RefusedKeyBlockError("the key block has no base derivation key: its usage is not B0")
    if header.mode_of_use not in _MODES:
        raise RefusedKeyBlockError(
            "the mode of use in the key block is neither X, derivation, nor N, no restriction"
        )
    if header.algorithm not in _ALGORITHMS.values():
        raise RefusedKeyBlockError("the algorithm in the key block is neither T, TDES, nor A, AES")
    if header.exportability not in _EXPORTABILITIES:
        raise RefusedKeyBlockError("the exportability in the key block is none of E, N and S")
    if header.key_version.startswith(_COMPONENT):
        raise RefusedKeyBlockError("the key block has a component of a key, not a key")
