"""What was done to a key, as a signed statement that an auditor can check without trusting the database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.keys import NamedKey

_LABEL = b"payment-token/key-event/v1\0"


class KeyEventKind(StrEnum):
    CREATED = "created"
    ACTIVATED = "activated"
    REENCRYPTED = "re-encrypted"
    RETIRED = "retired"
    MOVED = "moved to another KEK"
    DESTRUCTION_BEGUN = "destruction begun"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """``details`` are texts and numbers, for example ``{"rows": 0}``."""

    kind: KeyEventKind
    purpose: KeyPurpose
    version: str
    time: datetime
    environment: str
    details: Mapping[str, str | int]

    @property
    def statement(self) -> str:
        """Canonical JSON: names sorted, no white space, ASCII."""
        content = {
            "details": dict(self.details),
            "environment": self.environment,
            "event": self.kind,
            "purpose": self.purpose,
            "time": self.time.isoformat(),
            "version": self.version,
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class SignedStatement:
    statement: str
    signing_key: str
    signature: bytes


def sign(event: KeyEvent, key: NamedKey) -> SignedStatement:
    """``key`` is 32 bytes: the private key of Ed25519 (RFC 8032 §5.1.5)."""
    signature = _private(key).sign(_LABEL + event.statement.encode())
    return SignedStatement(event.statement, key.name, signature)


def verifies(signed: SignedStatement, public_key: bytes) -> bool:
    """``False`` as well for what is no signature or no public key: both stand where somebody may have changed them."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            signed.signature, _LABEL + signed.statement.encode()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_of(key: NamedKey) -> bytes:
    """32 bytes."""
    return _private(key).public_key().public_bytes_raw()


def _private(key: NamedKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.key.reveal())
