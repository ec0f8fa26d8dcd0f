"""How the payloads of a fleet are encrypted: data kept with the BDK or the device, never guessed.

A wrong guess does not fail loudly: it gives other bytes, and a service that tried variants in turn would be an oracle.
"""

from dataclasses import dataclass
from typing import TypeVar

from payment_token.domain.device_payload import (
    Cipher,
    Container,
    EncryptedPayload,
    KeyVariant,
    Mode,
    Scheme,
)
from payment_token.domain.errors import InvalidFieldError

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What is ``None`` is not fixed by this profile. ``iv`` is the fixed initialisation vector, if any.

    ``container`` is the message in which the reader's ciphertexts come; a terminal without one sends them as parts.
    """

    scheme: Scheme | None = None
    key_variant: KeyVariant | None = None
    cipher: Cipher | None = None
    mode: Mode | None = None
    iv: bytes | None = None
    container: Container | None = None

    def over(self, other: "DeviceProfile") -> "DeviceProfile":
        """This profile where it speaks (a device's), the other one elsewhere (its BDK's)."""
        return DeviceProfile(
            scheme=_first(self.scheme, other.scheme),
            key_variant=_first(self.key_variant, other.key_variant),
            cipher=_first(self.cipher, other.cipher),
            mode=_first(self.mode, other.mode),
            iv=_first(self.iv, other.iv),
            container=_first(self.container, other.container),
        )


@dataclass(frozen=True, slots=True)
class Encryption:
    """How one payload is encrypted, settled. ``iv`` ``None`` is the zero block, or no IV for ECB."""

    scheme: Scheme
    key_variant: KeyVariant
    cipher: Cipher
    mode: Mode
    iv: bytes | None


def settle_encryption(
    payload: EncryptedPayload,
    profile: DeviceProfile,
    defaults: DeviceProfile,
    *,
    profile_required: bool,
) -> Encryption:
    """Where request and profile both speak they must agree; where neither does, ``defaults`` of the scheme hold.

    With ``profile_required`` (outside development) a request may only agree with the profile or its defaults: whoever holds an
    API key must not choose how a payload is decrypted. Raises InvalidFieldError.
    """
    fixed = profile.over(defaults) if profile_required else profile
    if profile_required and fixed.iv is None and any(payload.iv or b""):
        # Under CBC whoever chooses the IV chooses bits of the first block.
        raise InvalidFieldError("encrypted_payload.iv", "differs from the device's profile")
    scheme = _agree("scheme", payload.scheme, fixed.scheme)
    key_variant = _agree("key_variant", payload.key_variant, fixed.key_variant)
    cipher = _agree("cipher", payload.cipher, fixed.cipher)
    mode = _agree("mode", payload.mode, fixed.mode)
    iv = _agree("iv", payload.iv, fixed.iv)
    return Encryption(
        scheme=_settled("scheme", scheme, defaults.scheme),
        key_variant=_settled("key_variant", key_variant, defaults.key_variant),
        cipher=_settled("cipher", cipher, defaults.cipher),
        mode=_settled("mode", mode, defaults.mode),
        iv=iv,
    )


def _first(mine: Choice | None, other: Choice | None) -> Choice | None:
    return other if mine is None else mine


def _agree(name: str, requested: Choice | None, fixed: Choice | None) -> Choice | None:
    if requested is not None and fixed is not None and requested != fixed:
        raise InvalidFieldError(f"encrypted_payload.{name}", "differs from the device's profile")
    return _first(requested, fixed)


def _settled(name: str, value: Choice | None, default: Choice | None) -> Choice:
    if value is not None:
        return value
    if default is None:
        raise InvalidFieldError(f"encrypted_payload.{name}", "is required for this device")
    return default
