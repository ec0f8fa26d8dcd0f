"""The development keystore: BDKs and KEKs in one file, sealed under a key file.

It is the one place in the product where a BDK is ever in this process's memory. It serves development and tests, and
refuses to exist when ENVIRONMENT=production.

The file is JSON: for each key its algorithm and the AES-256-GCM of its bytes (nonce ‖ ciphertext ‖ tag, hexadecimal),
with the key's name and algorithm as associated data, so that entries cannot be swapped or renamed.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payment_token.domain.dukpt import KSN, initial_key
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import (
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import ConfigurationError, Environment

SCHEME = "local:"
KEK_ALGORITHM = "kek"

_LABEL = b"payment-token/local-keystore/v1"
_WRAP_LABEL = b"payment-token/local-kek/v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class LocalKeystore:
    """Meets the ports InitialKeys and KeyEncrypter, and imports keys for the ceremony of development."""

    def __init__(self, file: Path, key_file: Path, environment: Environment) -> None:
        """Raises ConfigurationError in production, and when the files are missing or do not fit together."""
        if environment is Environment.PRODUCTION:
            raise ConfigurationError(
                "The local keystore is refused in production: name keys of a KMS or HSM."
            )
        self._file = file
        self._sealing = AESGCM(_read_key_file(key_file))
        self._entries = _read_entries(file)

    @classmethod
    def create(cls, file: Path, key_file: Path, environment: Environment) -> Self:
        """A new, empty keystore with a new key file, both readable by their owner alone."""
        write_private_file(key_file, secrets.token_hex(_KEY_BYTES) + "\n")
        write_private_file(file, "{}\n")
        return cls(file, key_file, environment)

    def import_key(self, name: str, algorithm: str, key: SecretKey) -> str:
        """Stores a key under a new name and returns its URI. Raises ConfigurationError when the name is taken."""
        if name in self._entries:
            raise ConfigurationError(f"The keystore has a key named {name} already.")
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._sealing.encrypt(nonce, key.reveal(), _entry_data(name, algorithm))
        self._entries[name] = {"algorithm": algorithm, "sealed": sealed.hex()}
        self._write()
        return SCHEME + name

    def remove_key(self, name: str) -> None:
        """Undoes an import."""
        self._entries.pop(name, None)
        self._write()

    def bdk_for_simulation(self, key_uri: str) -> SecretKey:
        """The BDK itself, for the virtual terminal. Nothing but a development keystore has such a method."""
        return self._key(key_uri)

    def check(self) -> None:
        """Opens every entry. Raises ConfigurationError when the key file is not the one of this keystore."""
        for name in self._entries:
            self._key(SCHEME + name)

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        return initial_key(self._key(bdk.key_uri), ksn)

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        key, nonce = os.urandom(_KEY_BYTES), os.urandom(_NONCE_BYTES)
        kek = AESGCM(self._key(kek_uri).reveal())
        return SecretKey(key), nonce + kek.encrypt(nonce, key, _context_data(context))

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        kek = AESGCM(self._key(kek_uri).reveal())
        try:
            key = kek.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _context_data(context)
            )
        except (InvalidTag, ValueError):
            key = None
        if key is None:
            raise RecordIntegrityFailureError
        return SecretKey(key)

    def _write(self) -> None:
        write_private_file(
            self._file, json.dumps(self._entries, indent=1, sort_keys=True) + "\n", replace=True
        )

    def _key(self, key_uri: str) -> SecretKey:
        name = key_uri.removeprefix(SCHEME)
        entry = self._entries.get(name) or self._reread(name)
        sealed = bytes.fromhex(entry["sealed"])
        try:
            key = self._sealing.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _entry_data(name, entry["algorithm"])
            )
        except InvalidTag:
            key = None
        if key is None:
            raise ConfigurationError(f"The key file does not open {name} in the local keystore.")
        return SecretKey(key)

    def _reread(self, name: str) -> dict[str, str]:
        # Another process may have imported a key since: a running service serves it without a restart.
        self._entries = _read_entries(self._file)
        if name not in self._entries:
            raise KeyCustodianUnavailableError
        return self._entries[name]


def _read_key_file(key_file: Path) -> bytes:
    try:
        key = bytes.fromhex(key_file.read_text().strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"LOCAL_KEYSTORE_KEY_FILE: {key_file} is not a readable file of 64 hexadecimal digits."
        )
    return key


def _read_entries(file: Path) -> dict[str, dict[str, str]]:
    entries = None
    try:
        entries = json.loads(file.read_text())
    except (OSError, ValueError):
        pass
    if not isinstance(entries, dict):
        raise ConfigurationError(f"LOCAL_KEYSTORE_FILE: {file} is not a readable keystore.")
    return entries


def _entry_data(name: str, algorithm: str) -> bytes:
    return length_prefixed(_LABEL, name.encode(), algorithm.encode())


def _context_data(context: Mapping[str, str]) -> bytes:
    pairs = (text.encode() for pair in sorted(context.items()) for text in pair)
    return length_prefixed(_WRAP_LABEL, *pairs)
