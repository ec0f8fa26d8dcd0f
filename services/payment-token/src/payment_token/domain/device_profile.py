"""How the payloads of a fleet are encrypted: data kept with the BDK or the device, never guessed.

A wrong guess does not fail loudly: it gives other bytes, and a service that tried variants in turn would be an oracle.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

from payment_token.domain.device_payload import Cipher, EncryptedPayload, KeyVariant, Mode, Scheme
from payment_token.domain.errors import InvalidFieldError

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What is ``None`` is not fixed by this profile. ``iv`` is the fixed initialisation vector, if any."""

    scheme: Scheme | None = None
    key_variant: KeyVariant | None = None
    cipher: Cipher | None = None
    mode: Mode | None = None
    iv: bytes | None = None

    def over(self, other: "DeviceProfile") -> "DeviceProfile":
        """This profile where it speaks (a device's), the other one elsewhere (its BDK's)."""
        return DeviceProfile(
            **{
                field.name: (
                    mine
                    if (mine := getattr(self, field.name)) is not None
                    else getattr(other, field.name)
                )
                for field in fields(self)
            }
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
    settled = {
        name: _agree(f"encrypted_payload.{name}", getattr(payload, name), getattr(fixed, name))
        for name in ("scheme", "key_variant", "cipher", "mode", "iv")
    }
    return Encryption(
        scheme=_settled("scheme", settled["scheme"], defaults.scheme),
        key_variant=_settled("key_variant", settled["key_variant"], defaults.key_variant),
        cipher=_settled("cipher", settled["cipher"], defaults.cipher),
        mode=_settled("mode", settled["mode"], defaults.mode),
        iv=settled["iv"],
    )


def _agree(field: str, requested: Choice | None, fixed: Choice | None) -> Choice | None:
    if requested is not None and fixed is not None and requested != fixed:
        raise InvalidFieldError(field, "differs from the device's profile")
    return requested if requested is not None else fixed


def _settled(name: str, value: Choice | None, default: Choice | None) -> Choice:
    if value is not None:
        return value
    if default is None:
        raise InvalidFieldError(f"encrypted_payload.{name}", "is required for this device")
    return default
