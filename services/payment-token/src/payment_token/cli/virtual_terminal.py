"""Terminals in software: each holds the key that it was injected with, counts its reads, and encrypts them."""

import base64
import os
from dataclasses import dataclass
from typing import Any, Protocol

from payment_token.cli.card_reads import card_read
from payment_token.cli.published_cards import PublishedCard
from payment_token.cli.readers.builders import builder_of
from payment_token.cli.readers.tracks import Encrypt, Tracks
from payment_token.domain import device_aead
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import (
    Cipher,
    Container,
    KeyVariant,
    Mode,
    PartFormat,
    Scheme,
)
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN, DerivationPath, payload_key
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import BadKSNError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.initial_ksn import new_initial_ksn
from payment_token.domain.payload_cipher import block_bytes, encrypt
from payment_token.domain.ports import InitialKeys
from payment_token.domain.sensitive import SecretKey, SensitiveBytes


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a DUKPT terminal encrypts."""

    key_variant: KeyVariant = KeyVariant.DATA_REQUEST
    mode: Mode = Mode.CBC
    cipher: Cipher | None = None  # that of the BDK
    container: Container | None = None  # the message of a reader, instead of parts

    @classmethod
    def of(cls, profile: DeviceProfile) -> "Encryption":
        return cls(
            profile.key_variant or KeyVariant.DATA_REQUEST,
            profile.mode or Mode.CBC,
            profile.cipher,
            profile.container,
        )


class VirtualTerminal(Protocol):
    device_id: str

    def create_body(
        self, merchant_id: str, card: PublishedCard, part: PartFormat
    ) -> dict[str, Any]:
        """The body of a create request for the next read."""
        ...


class DUKPTTerminal:
    """``base`` is its KSN with the counter at zero: 10 bytes under TDES, 12 under AES."""

    def __init__(
        self,
        device_id: str,
        bdk: BaseDerivationKey,
        base: bytes,
        initial_key: SecretKey,
        encryption: Encryption | None = None,
    ) -> None:
        self.device_id = device_id
        self._scheme = bdk.algorithm.scheme
        self._encryption = encryption or Encryption()
        self._cipher = self._encryption.cipher or Cipher(bdk.algorithm.value)
        self._base = base
        self._counter = 0
        self._path = DerivationPath(self._scheme, initial_key)

    def encrypt_read(self, card: PublishedCard, part: PartFormat) -> tuple[KSN, bytes]:
        """The next read: its KSN, and the read encrypted under its key."""
        ksn = self._next_ksn()
        return ksn, self._encrypter(ksn)(card_read(card, part))

    def read_frame(self, card: PublishedCard, container: Container) -> bytes:
        """The next read, as the message of a reader."""
        ksn = self._next_ksn()
        build = builder_of(container, self._cipher)
        return build(ksn, self._encrypter(ksn), Tracks.of(card), "")

    def pass_over(self, reads: int) -> None:
        """As if that many reads had been made, and never sent."""
        self._counter += reads

    def create_body(
        self, merchant_id: str, card: PublishedCard, part: PartFormat
    ) -> dict[str, Any]:
        encryption = self._encryption
        payload: dict[str, Any] = {
            "scheme": self._scheme,
            "key_variant": encryption.key_variant,
            "mode": encryption.mode,
        }
        if encryption.cipher is not None:
            payload["cipher"] = encryption.cipher
        if encryption.container is not None:
            frame = _base64(self.read_frame(card, encryption.container))
            parts = [{"format": encryption.container, "frame": frame}]
            return _body_of_parts(merchant_id, self.device_id, payload, parts)
        ksn, ciphertext = self.encrypt_read(card, part)
        return _body(merchant_id, self.device_id, payload | {"ksn": str(ksn)}, part, ciphertext)

    def _encrypter(self, ksn: KSN) -> Encrypt:
        cipher, mode = self._cipher, self._encryption.mode
        key = payload_key(
            self._path.transaction_key(ksn), ksn, self._encryption.key_variant, cipher
        )

        def encrypted(clear: bytes) -> bytes:
            clear += bytes(-len(clear) % block_bytes(cipher))
            return encrypt(key, cipher, mode, None, SensitiveBytes(clear))

        return encrypted

    def _next_ksn(self) -> KSN:
        # Counters with too many one-bits are skipped, as a terminal does.
        while True:
            self._counter += 1
            number = int.from_bytes(self._base, "big") + self._counter
            try:
                return KSN.from_hex(number.to_bytes(len(self._base), "big").hex(), self._scheme)
            except BadKSNError:
                continue


class AEADTerminal:
    """A ``device-aead`` terminal, of one merchant and one key epoch."""

    def __init__(self, name: AEADKeyName, key: SecretKey) -> None:
        self.device_id: str = name.device_id
        self._name = name
        self._key = key
        self._counter = 0

    def create_body(
        self, merchant_id: str, card: PublishedCard, part: PartFormat
    ) -> dict[str, Any]:
        self._counter += 1
        ciphertext = device_aead.seal_part(
            self._key, self._name, part, self._counter, SensitiveBytes(card_read(card, part))
        )
        payload = {"scheme": Scheme.DEVICE_AEAD, "key_epoch": self._name.key_epoch}
        return _body(merchant_id, self.device_id, payload, part, ciphertext)


async def inject(
    device_id: str,
    merchant_id: str,
    bdk: BaseDerivationKey,
    custodian: InitialKeys,
    encryption: Encryption | None = None,
) -> DUKPTTerminal | AEADTerminal:
    """A new terminal with a key from the custodian of the BDK, as a key-injection facility makes one."""
    if bdk.algorithm.scheme is Scheme.DEVICE_AEAD:
        name = AEADKeyName(MerchantId(merchant_id), DeviceId(device_id), 1)
        return AEADTerminal(name, await custodian.device_key(bdk, name))
    base = new_base(bdk)
    ksn = KSN.of_any_counter(base.hex(), bdk.algorithm.scheme)
    return DUKPTTerminal(device_id, bdk, base, await custodian.initial_key(bdk, ksn), encryption)


def new_base(bdk: BaseDerivationKey) -> bytes:
    """A KSN with its counter at zero, of a device that has not been before."""
    return new_initial_ksn(bdk, os.urandom).value


def _body(
    merchant_id: str,
    device_id: str,
    payload: dict[str, Any],
    part: PartFormat,
    ciphertext: bytes,
) -> dict[str, Any]:
    parts = [{"format": part, "ciphertext": _base64(ciphertext)}]
    return _body_of_parts(merchant_id, device_id, payload, parts)


def _body_of_parts(
    merchant_id: str, device_id: str, payload: dict[str, Any], parts: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "merchant_id": merchant_id,
        "device_id": device_id,
        "encrypted_payload": {**payload, "parts": parts},
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
