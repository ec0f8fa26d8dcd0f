"""The same for ``device-aead``, whose tag tells beyond doubt whether key, name and format are right."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain import device_aead
from payment_token.domain.device_aead import NONCE_BYTES, TAG_BYTES, AEADKeyName
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.diagnosis.plaintext import Reading, read_parts
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SecretKey, SensitiveBytes


@dataclass(frozen=True, slots=True)
class AEADFinding:
    """The tag verifies so. ``reading`` is ``None`` where the plaintext is no card data nevertheless."""

    bdk: BaseDerivationKey
    name: AEADKeyName
    format: PartFormat
    reading: Reading | None


def diagnose_aead(
    ciphertext: bytes,
    keys: Iterable[tuple[BaseDerivationKey, AEADKeyName, SecretKey]],
    now: datetime,
) -> AEADFinding | None:
    """``keys`` are the device keys of those names. ``None`` where no tag verifies: another key, merchant, device or epoch,
    or a byte that was changed.
    """
    if len(ciphertext) <= NONCE_BYTES + TAG_BYTES:
        return None
    for bdk, name, key in keys:
        for part_format in PartFormat:
            plaintext = _opened(key, name, part_format, ciphertext)
            if plaintext is not None:
                return AEADFinding(bdk, name, part_format, read_parts([plaintext], now))
    return None


def _opened(
    key: SecretKey, name: AEADKeyName, part_format: PartFormat, ciphertext: bytes
) -> SensitiveBytes | None:
    with suppress(DecryptionFailedError):
        return device_aead.open_part(key, name, part_format, ciphertext)
    return None
