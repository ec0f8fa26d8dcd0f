"""A terminal in software: it holds an initial key, counts its transactions, and encrypts card reads."""

import base64
import json
import os
from dataclasses import dataclass
from typing import Any

from payment_token.cli.published_cards import PublishedCard
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, payload_key
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import BadKSNError
from payment_token.domain.payload_cipher import block_bytes, encrypt
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.settings import ConfigurationError

_TDES_KSN_BYTES, _AES_KSN_BYTES = 10, 12
_TDES_COUNTER_BITS = 21


@dataclass(frozen=True, slots=True)
class Encryption:
    """How this terminal encrypts."""

    key_variant: KeyVariant = KeyVariant.DATA_REQUEST
    mode: Mode = Mode.CBC


class VirtualTerminal:
    """Given a BDK it injects itself, which only a development keystore can offer."""

    def __init__(
        self,
        device_id: str,
        bdk: BaseDerivationKey,
        bdk_key: SecretKey,
        encryption: Encryption | None = None,
    ) -> None:
        self.device_id = device_id
        self._scheme = bdk.algorithm.scheme
        self._cipher = Cipher(bdk.algorithm.value)
        self._encryption = encryption or Encryption()
        self._base = _new_base(bdk)
        self._counter = 0
        self._path = DerivationPath(self._scheme, initial_key(bdk_key, self._next_ksn()))
        self._counter = 0

    def encrypt_read(self, card: PublishedCard, part: PartFormat) -> tuple[KSN, bytes]:
        """The next transaction: its KSN, and the read encrypted under its key."""
        ksn = self._next_ksn()
        key = payload_key(
            self._path.transaction_key(ksn), ksn, self._encryption.key_variant, self._cipher
        )
        clear = _plaintext(card, part)
        clear += bytes(-len(clear) % block_bytes(self._cipher))
        return ksn, encrypt(key, self._cipher, self._encryption.mode, None, SensitiveBytes(clear))

    def create_body(
        self, merchant_id: str, card: PublishedCard, part: PartFormat
    ) -> dict[str, Any]:
        """The body of a create request for the next transaction."""
        ksn, ciphertext = self.encrypt_read(card, part)
        return {
            "merchant_id": merchant_id,
            "device_id": self.device_id,
            "encrypted_payload": {
                "scheme": self._scheme,
                "ksn": str(ksn),
                "key_variant": self._encryption.key_variant,
                "mode": self._encryption.mode,
                "parts": [
                    {"format": part, "ciphertext": base64.b64encode(ciphertext).decode("ascii")}
                ],
            },
        }

    def _next_ksn(self) -> KSN:
        # Counters with too many one-bits are skipped, as a terminal does.
        while True:
            self._counter += 1
            number = int.from_bytes(self._base, "big") + self._counter
            try:
                return KSN.from_hex(number.to_bytes(len(self._base), "big").hex(), self._scheme)
            except BadKSNError:
                continue


def _new_base(bdk: BaseDerivationKey) -> bytes:
    """A KSN with its counter at zero, of a device that has not been before."""
    length = _TDES_KSN_BYTES if bdk.algorithm.scheme is Scheme.DUKPT_TDES else _AES_KSN_BYTES
    prefix = bytes.fromhex(bdk.ksn_prefix or "")
    number = int.from_bytes(prefix + os.urandom(length - len(prefix)), "big")
    counter_bits = _TDES_COUNTER_BITS if bdk.algorithm.scheme is Scheme.DUKPT_TDES else 32
    return (number >> counter_bits << counter_bits).to_bytes(length, "big")


def _plaintext(card: PublishedCard, part: PartFormat) -> bytes:
    if part is PartFormat.TRACK1:
        return card.track1.encode("ascii")
    if part is PartFormat.TRACK2:
        return card.track2.encode("ascii")
    if part is PartFormat.EMV_TLV:
        return _element("5A", card.pan) + _element("57", card.track2.strip(";?").replace("=", "D"))
    if part is not PartFormat.CARD_JSON:
        raise ConfigurationError(f"The virtual terminal does not send {part}.")
    month, year = int(card.expiry_yymm[2:]), 2000 + int(card.expiry_yymm[:2])
    fields = {
        "pan": card.pan,
        "exp_month": month,
        "exp_year": year,
        "cardholder_name": card.name,
        "cvv": "123",
    }
    return json.dumps(fields).encode()


def _element(tag: str, digits: str) -> bytes:
    value = bytes.fromhex(digits + "F" * (len(digits) % 2))
    return bytes.fromhex(tag) + bytes((len(value),)) + value
