"""``device-aead``: AES-256-GCM under a key of the device's own, for fleets that we provision.

Unlike DUKPT with its malleable CBC, a payload proves that its terminal made it, for this merchant and this format.
All integers are big-endian; ``LP(x)`` is ``x`` with its length before it, 16 bits.

=================  ======================================================================================
device key         HMAC-SHA-256(BDK, "pts/device-aead-key/v1" ‖ LP(merchant) ‖ LP(device) ‖ LP(key epoch))
key epoch          32 bits; a terminal gets a new key with a new epoch
ciphertext         nonce (12 bytes) ‖ AES-256-GCM ciphertext ‖ tag (16 bytes)
nonce              a 96-bit counter of the device key, never used twice; from 2^63 on it is exhausted
associated data    "pts/device-aead/v1" ‖ LP(merchant) ‖ LP(device) ‖ LP(key epoch) ‖ LP(format)
=================  ======================================================================================

One HMAC of one message is what a KMS or an HSM computes in one call. ``tests/vectors/device-aead.json`` has vectors, made by a script beside it.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payment_token.domain.counter_window import MOST_COUNTER
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import BadKSNError, DecryptionFailedError, InvalidFieldError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

MOST_KEY_EPOCH = 2**32 - 1
NONCE_BYTES = 12
TAG_BYTES = 16

_KEY_LABEL = b"pts/device-aead-key/v1"
_DATA_LABEL = b"pts/device-aead/v1"
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class AEADKeyName:
    """Which device key: what a KSN is to DUKPT. ``key_epoch`` is 0 to 2^32 - 1."""

    merchant_id: MerchantId
    device_id: DeviceId
    key_epoch: int

    @classmethod
    def checked(cls, merchant_id: MerchantId, device_id: DeviceId, key_epoch: int) -> Self:
        """Raises InvalidFieldError for an epoch that is out of range."""
        if not 0 <= key_epoch <= MOST_KEY_EPOCH:
            raise InvalidFieldError(
                "encrypted_payload.key_epoch", f"must be from 0 to {MOST_KEY_EPOCH}"
            )
        return cls(merchant_id, device_id, key_epoch)

    @property
    def derivation_message(self) -> bytes:
        """What the custodian computes the HMAC of."""
        return _KEY_LABEL + length_prefixed(*self._fields())

    @property
    def initial_key_id(self) -> bytes:
        """16 bytes that stand for this name where a KSN has its initial key id."""
        return sha256(self.derivation_message).digest()[:_ID_BYTES]

    def associated_data(self, part_format: PartFormat) -> bytes:
        return _DATA_LABEL + length_prefixed(*self._fields(), part_format.encode())

    def _fields(self) -> tuple[bytes, bytes, bytes]:
        return (
            self.merchant_id.encode(),
            self.device_id.encode(),
            self.key_epoch.to_bytes(4, "big"),
        )


def device_key(bdk: SecretKey, name: AEADKeyName) -> SecretKey:
    """What a custodian derives from a BDK of any length, which is an HMAC key."""
    return SecretKey(hmac.digest(bdk.reveal(), name.derivation_message, "sha256"))


def counter_of(ciphertext: bytes) -> int:
    """The nonce as the number that it is. Raises BadKSNError for one that is exhausted."""
    counter = int.from_bytes(ciphertext[:NONCE_BYTES], "big")
    if counter > MOST_COUNTER:
        raise BadKSNError("The nonce is a counter beyond 2^63 - 1: this device key is exhausted.")
    return counter


def check_shape(ciphertext: bytes) -> None:
    """Raises InvalidFieldError for what is too short to hold a nonce, a tag and a byte between them."""
    if len(ciphertext) <= NONCE_BYTES + TAG_BYTES:
        raise InvalidFieldError(
            "encrypted_payload.parts.ciphertext",
            f"must be a nonce of {NONCE_BYTES} bytes, the ciphertext, and a tag of {TAG_BYTES} bytes",
        )


def open_part(
    key: SecretKey, name: AEADKeyName, part_format: PartFormat, ciphertext: bytes
) -> SensitiveBytes:
    """Raises DecryptionFailedError when anything of key, name, format or ciphertext is another than the terminal's."""
    plaintext = None
    try:
        plaintext = AESGCM(key.reveal()).decrypt(
            ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], name.associated_data(part_format)
        )
    except InvalidTag:
        pass
    if plaintext is None:
        raise DecryptionFailedError("tag")
    return SensitiveBytes(plaintext)


def seal_part(
    key: SecretKey,
    name: AEADKeyName,
    part_format: PartFormat,
    counter: int,
    plaintext: SensitiveBytes,
) -> bytes:
    """What a terminal does. ``counter`` must be one that this key has not seen."""
    nonce = counter.to_bytes(NONCE_BYTES, "big")
    return nonce + AESGCM(key.reveal()).encrypt(
        nonce, plaintext.reveal(), name.associated_data(part_format)
    )
