"""Every way in which a terminal could have encrypted a payload, for one key and one KSN."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN, DerivationPath, payload_key, tdes
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.payload_cipher import block_bytes
from payment_token.domain.sensitive import SecretKey

InitialKeyTried = Callable[[BaseDerivationKey, KSN], SecretKey]
"""The initial key that a BDK gives when it is taken for one of the scheme of the KSN, whatever it is registered for."""

# A key of 16 bytes does not tell whether it was made for TDES or AES, and is often imported as the other.
_ALGORITHMS_OF_SIZE = {
    16: (BDKAlgorithm.TDES_2KEY, BDKAlgorithm.AES_128),
    24: (BDKAlgorithm.AES_192,),
    32: (BDKAlgorithm.AES_256,),
}
_CIPHERS = {
    Scheme.DUKPT_TDES: (Cipher.TDES_2KEY, Cipher.AES_128),
    Scheme.DUKPT_AES: (
        Cipher.AES_128,
        Cipher.AES_192,
        Cipher.AES_256,
        Cipher.TDES_2KEY,
        Cipher.TDES_3KEY,
    ),
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One combination. ``iv`` ``None`` is the zero block, or no IV for ECB.

    Without a ``variant`` the payload is under a key that no terminal should encrypt data with; ``oddity`` says which.
    """

    bdk: BaseDerivationKey
    algorithm: BDKAlgorithm
    ksn: KSN
    variant: KeyVariant | None
    cipher: Cipher
    mode: Mode
    iv: bytes | None
    oddity: str = ""

    @property
    def profile(self) -> DeviceProfile:
        return DeviceProfile(self.ksn.scheme, self.variant, self.cipher, self.mode, self.iv)


@dataclass(frozen=True, slots=True)
class TriedKey:
    """A BDK, taken for one algorithm, and the key tree of the terminal under it."""

    bdk: BaseDerivationKey
    algorithm: BDKAlgorithm
    path: DerivationPath


@dataclass(frozen=True, slots=True)
class _PayloadKey:
    variant: KeyVariant | None
    cipher: Cipher
    key: SecretKey
    oddity: str = ""


def tried_keys(
    bdks: list[BaseDerivationKey], ksn: KSN, initial_key_tried: InitialKeyTried
) -> Iterator[TriedKey]:
    """Those BDKs that can serve the scheme of the KSN by their size, whatever they are registered for."""
    for bdk in bdks:
        for algorithm in _ALGORITHMS_OF_SIZE.get(bdk.algorithm.key_bytes, ()):
            if algorithm.scheme is ksn.scheme:
                initial_key = initial_key_tried(bdk, ksn)
                yield TriedKey(bdk, algorithm, DerivationPath(ksn.scheme, initial_key))


def attempts(tried: TriedKey, ksn: KSN, iv: bytes | None) -> Iterator[tuple[Attempt, SecretKey]]:
    """All combinations, the usual ones first, each with the key to decrypt with. ``iv`` is one that the user gives."""
    transaction = tried.path.transaction_key(ksn)
    for made in (*_standard_keys(transaction, ksn), *_odd_keys(transaction, ksn)):
        for mode, vector in _modes(made.cipher, iv):
            yield (
                Attempt(
                    tried.bdk,
                    tried.algorithm,
                    ksn,
                    made.variant,
                    made.cipher,
                    mode,
                    vector,
                    made.oddity,
                ),
                made.key,
            )


def _standard_keys(transaction: SecretKey, ksn: KSN) -> Iterator[_PayloadKey]:
    for variant in KeyVariant:
        for cipher in _CIPHERS[ksn.scheme]:
            # A working key that is stronger than its BDK does not exist, nor does every variant under TDES.
            with suppress(InvalidFieldError):
                key = payload_key(transaction, ksn, variant, cipher)
                yield _PayloadKey(variant, cipher, key)


def _odd_keys(transaction: SecretKey, ksn: KSN) -> Iterator[_PayloadKey]:
    """Keys of home-made and half-finished implementations, which no profile has."""
    if ksn.scheme is Scheme.DUKPT_AES:
        yield _PayloadKey(
            None,
            _CIPHER_OF_SIZE[len(transaction.reveal())],
            transaction,
            "the transaction key itself, without the step to a working key",
        )
        return
    for name, mask in _ODD_MASKS.items():
        key = tdes.variant_key(transaction, mask)
        for cipher in _CIPHERS[ksn.scheme]:
            yield _PayloadKey(None, cipher, key, name)


_CIPHER_OF_SIZE = {16: Cipher.AES_128, 24: Cipher.AES_192, 32: Cipher.AES_256}
_ODD_MASKS = {
    "the transaction key itself, without a variant": bytes(16),
    "the data-request variant without its one-way step": tdes.DATA_REQUEST_MASK,
    "the data-response variant without its one-way step": tdes.DATA_RESPONSE_MASK,
    "the MAC request variant": tdes.MAC_REQUEST_MASK,
    "the MAC response variant": tdes.MAC_RESPONSE_MASK,
}


def _modes(cipher: Cipher, iv: bytes | None) -> Iterator[tuple[Mode, bytes | None]]:
    yield Mode.CBC, None
    yield Mode.ECB, None
    yield Mode.OFB, None
    if iv is not None and len(iv) == block_bytes(cipher) and any(iv):
        yield Mode.CBC, iv
        yield Mode.OFB, iv
