"""A version of a key that rotates, as it is stored: wrapped, with its state."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payment_token.domain.operator_error import OperatorError


class KeyPurpose(StrEnum):
    SERVICE = "service"  # wraps the DEKs of PAN records
    INDEX = "index"  # keyed fingerprints of requests
    AUDIT_SIGNING = "audit-signing"  # Ed25519: signs what must be provable later

    @property
    def closes(self) -> bool:
        """Whether an overdue version stops its work. Signing goes on: the rotation that ends it must itself be signed."""
        return self is not KeyPurpose.AUDIT_SIGNING


class KeyState(StrEnum):
    PENDING = "pending"  # made; running processes are learning it
    ACTIVE = "active"  # protects what is new; one for each purpose
    DECRYPT_ONLY = "decrypt-only"  # opens what it once protected
    DESTROYING = "destroying"  # nothing is under it any more; nobody may use it
    DESTROYED = "destroyed"

    @property
    def opens(self) -> bool:
        return self in (KeyState.PENDING, KeyState.ACTIVE, KeyState.DECRYPT_ONLY)


NAME_LENGTH = 32
VERSION_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{NAME_LENGTH}}}")


class KeyLifeError(OperatorError):
    """What was asked of a key cannot be done now. The text says why, and what to do first."""


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """``wrapped_key`` is ``None`` once destruction has begun; ``public_key`` is raw Ed25519, of signing keys only."""

    purpose: KeyPurpose
    version: str
    state: KeyState
    kek_uri: str
    wrapped_key: bytes | None
    environment: str
    activated_at: datetime | None = None
    public_key: bytes | None = None
    destruction_due_at: datetime | None = None
    destroyed_at: datetime | None = None

    @property
    def made_of(self) -> Mapping[str, str]:
        """What the statement of its making says: its KEK, and of a signing key the public key, in hexadecimal."""
        if self.public_key is None:
            return {"kek": self.kek_uri}
        return {"kek": self.kek_uri, "public_key": self.public_key.hex()}

    @property
    def context(self) -> Mapping[str, str]:
        """What a KEK binds the wrapped key to: it does not unwrap as another version, purpose or environment."""
        return key_context(self.purpose, self.version, self.environment)


def key_context(purpose: str, version: str, environment: str) -> dict[str, str]:
    return {
        "service": "payment-token",
        "purpose": purpose,
        "version": version,
        "environment": environment,
    }


def check_own_kek(known: Iterable[KeyVersion], kek_uri: str | None) -> None:
    """Raises KeyLifeError for a KEK that a version of any key has: destroying one version must not touch another."""
    if any(version.kek_uri == kek_uri for version in known):
        raise KeyLifeError("each version has a KEK of its own, and another one has this KEK")


def next_version(known: Iterable[str]) -> str:
    """``v2`` after ``v1``. Names that do not end in a number are counted on from 2: ``spring-2`` after ``spring``."""
    names = list(known)
    last = names[-1]
    stem = last.rstrip("0123456789")
    number = int(last[len(stem) :] or "1")
    stem = stem if stem != last else f"{last}-"
    following = last
    while following in names:
        number += 1
        following = _counted(stem, number)
    return following


def _counted(stem: str, number: int) -> str:
    digits = str(number)[-NAME_LENGTH:]
    return stem[: NAME_LENGTH - len(digits)] + digits
