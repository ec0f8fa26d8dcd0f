"""The development keystore: BDKs and KEKs in one file, sealed under a key file or a passphrase.

It is the one place in the product where a BDK is ever in this process's memory. It serves development and tests, and
refuses to exist when ENVIRONMENT=production.

The file is JSON. ``keys`` has for each key its algorithm and the AES-256-GCM of its bytes (nonce ‖ ciphertext ‖ tag,
hexadecimal), with the key's name and algorithm as associated data, so that entries cannot be swapped or renamed.
``scrypt_salt`` is there when a passphrase seals them (scrypt, N = 2^15, r = 8, p = 1: RFC 7914).
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from payment_token.domain import dukpt
from payment_token.domain.custody import LOCAL_SCHEME
from payment_token.domain.device_aead import AEADKeyName, device_key
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import ConfigurationError, Environment

SCHEME = LOCAL_SCHEME
KEK_ALGORITHM = "kek"

_LABEL = b"payment-token/local-keystore/v1"
_WRAP_LABEL = b"payment-token/local-kek/v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_SALT_BYTES = 16
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 1

Sealer = Path | SensitiveText
"""What seals a keystore: a file that holds a key, or a passphrase."""


class LocalKeystore:
    """Meets the ports InitialKeys, KeyEncrypter and KEKs, and takes keys from the ceremony of development."""

    def __init__(self, file: Path, sealer: Sealer, environment: Environment) -> None:
        """Raises ConfigurationError in production, and when the files are missing or do not fit together."""
        _check_not_production(environment)
        self._file = file
        content = _read(file)
        self._keys: dict[str, dict[str, str]] = content["keys"]
        self._salt: str | None = content.get("scrypt_salt")
        self._sealing = AESGCM(_sealing_key(sealer, self._salt))

    @classmethod
    def create(cls, file: Path, sealer: Sealer, environment: Environment) -> Self:
        """A new, empty keystore, and with a path its new key file; both readable by their owner alone."""
        _check_not_production(environment)
        content: dict[str, Any] = {"keys": {}}
        if isinstance(sealer, Path):
            write_private_file(sealer, secrets.token_hex(_KEY_BYTES) + "\n")
        else:
            content["scrypt_salt"] = secrets.token_hex(_SALT_BYTES)
        write_private_file(file, json.dumps(content) + "\n")
        return cls(file, sealer, environment)

    def import_key(self, name: str, algorithm: str, key: SecretKey) -> str:
        """Stores a key under a new name and returns its URI. Raises ConfigurationError when the name is taken."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._sealing.encrypt(nonce, key.reveal(), _entry_data(name, algorithm))
        with self._changing():
            if name in self._keys:
                raise ConfigurationError(f"The keystore has a key named {name} already.")
            self._keys[name] = {"algorithm": algorithm, "sealed": sealed.hex()}
        return SCHEME + name

    def remove_key(self, name: str) -> None:
        with self._changing():
            self._keys.pop(name, None)

    def check(self) -> None:
        """Opens every entry. Raises ConfigurationError when the keystore was sealed otherwise."""
        fault = None
        for name in self._keys:
            try:
                self._key(SCHEME + name, None)
            except KeyCustodianRefusedError as error:
                fault = error.advice
        if fault is not None:
            raise ConfigurationError(fault)

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        return dukpt.initial_key(self._key(bdk.key_uri, bdk.algorithm), ksn)

    def initial_key_tried(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        """As if the key were for the scheme of the KSN, whatever it was imported for. Raises ValueError where its size is not.

        For a diagnosis alone: a service that took one key for two algorithms would weaken both.
        """
        return dukpt.initial_key(self._key(bdk.key_uri, None), ksn)

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        return device_key(self._key(bdk.key_uri, bdk.algorithm), name)

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        return key_check_value(self._key(bdk.key_uri, bdk.algorithm), bdk.algorithm)

    async def import_bdk(self, bdk: BaseDerivationKey, key: SecretKey) -> None:
        self.import_key(bdk.key_uri.removeprefix(SCHEME), bdk.algorithm, key)

    async def remove_bdk(self, bdk: BaseDerivationKey) -> None:
        self.remove_key(bdk.key_uri.removeprefix(SCHEME))

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        key = SecretKey(os.urandom(_KEY_BYTES))
        return key, await self.wrap_key(kek_uri, key, context)

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        kek = AESGCM(self._key(kek_uri, KEK_ALGORITHM).reveal())
        return nonce + kek.encrypt(nonce, key.reveal(), _context_data(context))

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        kek = AESGCM(self._key(kek_uri, KEK_ALGORITHM).reveal())
        try:
            key = kek.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _context_data(context)
            )
        except (InvalidTag, ValueError):
            key = None
        if key is None:
            raise RecordIntegrityFailureError
        return SecretKey(key)

    async def make_kek(self, like_uri: str, name: str) -> str:
        del like_uri
        return self.import_key(name, KEK_ALGORITHM, SecretKey(os.urandom(_KEY_BYTES)))

    async def destroy_kek(self, kek_uri: str, waiting_days: int) -> datetime | None:
        """At once: the keystore has no waiting period."""
        del waiting_days
        self.remove_key(kek_uri.removeprefix(SCHEME))
        return None

    async def destruction_due(self, kek_uri: str) -> datetime | None:
        if kek_uri.removeprefix(SCHEME) in self._read_now():
            raise KeyCustodianRefusedError(f"The destruction of {kek_uri} has not begun.")
        return None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Reads the keys, and writes them at the end; of two commands at once the second waits."""
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self._keys = _read(self._file)["keys"]
            yield
            self._write()
        finally:
            os.close(folder)

    def _write(self) -> None:
        content: dict[str, Any] = {"keys": self._keys}
        if self._salt is not None:
            content["scrypt_salt"] = self._salt
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        try:
            write_private_file(self._file, text, replace=True)
        except OSError as error:
            raise ConfigurationError(
                f"LOCAL_KEYSTORE_FILE: {self._file} cannot be written: {error.strerror}."
            ) from None

    def _key(self, key_uri: str, algorithm: str | None) -> SecretKey:
        """``algorithm`` is what the key must be for; ``None``: whatever it is."""
        name = key_uri.removeprefix(SCHEME)
        entry = self._read_now().get(name)
        if entry is None:
            raise KeyCustodianRefusedError(f"The local keystore has no key {name}.")
        key = self._opened(name, entry)
        if key is None:
            raise KeyCustodianRefusedError(
                f"The key file or passphrase does not open {name} in the local keystore."
            )
        if algorithm not in (None, entry["algorithm"]):
            raise KeyCustodianRefusedError(
                f"The key {name} of the local keystore is for {entry['algorithm']}, not for {algorithm}."
            )
        return key

    def _opened(self, name: str, entry: Mapping[str, str]) -> SecretKey | None:
        try:
            sealed = bytes.fromhex(entry["sealed"])
            data = _entry_data(name, entry["algorithm"])
            return SecretKey(
                self._sealing.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], data)
            )
        except (InvalidTag, KeyError, TypeError, ValueError, AttributeError):
            # Tampered with: in its bytes, or in its form.
            return None

    def _read_now(self) -> dict[str, dict[str, str]]:
        """Read anew: another process may have imported or destroyed a key, and a running service goes by that."""
        fault = None
        try:
            keys: dict[str, dict[str, str]] = _read(self._file)["keys"]
        except ConfigurationError as error:
            fault = str(error)
        else:
            return keys
        raise KeyCustodianRefusedError(fault)


def _check_not_production(environment: Environment) -> None:
    if environment is Environment.PRODUCTION:
        raise ConfigurationError(
            "The local keystore is refused in production: name keys of a KMS or HSM."
        )


def _sealing_key(sealer: Sealer, salt: str | None) -> bytes:
    if isinstance(sealer, Path):
        if salt is not None:
            raise ConfigurationError(
                "This keystore is sealed under a passphrase: set LOCAL_KEYSTORE_PASSPHRASE."
            )
        return _read_key_file(sealer)
    if salt is None:
        raise ConfigurationError(
            "This keystore is sealed under a key file: set LOCAL_KEYSTORE_KEY_FILE, not a passphrase."
        )
    scrypt = Scrypt(
        salt=_salt_bytes(salt), length=_KEY_BYTES, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P
    )
    return scrypt.derive(sealer.reveal().encode())


def _salt_bytes(salt: str) -> bytes:
    try:
        return bytes.fromhex(salt)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "LOCAL_KEYSTORE_FILE: its scrypt_salt is not hexadecimal."
        ) from None


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


def _read(file: Path) -> dict[str, Any]:
    content = None
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        pass
    if not isinstance(content, dict) or not isinstance(content.get("keys"), dict):
        raise ConfigurationError(f"LOCAL_KEYSTORE_FILE: {file} is not a readable keystore.")
    return content


def _entry_data(name: str, algorithm: str) -> bytes:
    return length_prefixed(_LABEL, name.encode(), algorithm.encode())


def _context_data(context: Mapping[str, str]) -> bytes:
    pairs = (text.encode() for pair in sorted(context.items()) for text in pair)
    return length_prefixed(_WRAP_LABEL, *pairs)
