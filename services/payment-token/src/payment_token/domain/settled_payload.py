"""How one payload is encrypted, once request, profile and key have all spoken."""

from dataclasses import dataclass

from payment_token.domain import device_aead
from payment_token.domain.custody import CustodyError, check_payload
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import EncryptedPart, EncryptedPayload, KeyVariant, Scheme
from payment_token.domain.device_profile import Encryption, settle_encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Device
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.payload_cipher import check_shape
from payment_token.domain.tokenise_request import TokeniseRequest


@dataclass(frozen=True, slots=True)
class DUKPTPayload:
    bdk: BaseDerivationKey
    ksn: KSN
    encryption: Encryption
    parts: tuple[EncryptedPart, ...]

    @property
    def initial_key_id(self) -> bytes:
        return self.ksn.initial_key_id

    @property
    def counters(self) -> tuple[int, ...]:
        return (self.ksn.counter,)


@dataclass(frozen=True, slots=True)
class AEADPayload:
    bdk: BaseDerivationKey
    name: AEADKeyName
    parts: tuple[EncryptedPart, ...]

    @property
    def initial_key_id(self) -> bytes:
        return self.name.initial_key_id

    @property
    def counters(self) -> tuple[int, ...]:
        return tuple(device_aead.counter_of(part.ciphertext) for part in self.parts)


SettledPayload = DUKPTPayload | AEADPayload


def settle_payload(
    request: TokeniseRequest,
    bdk: BaseDerivationKey,
    device: Device | None,
    *,
    profile_required: bool,
) -> SettledPayload:
    """Raises InvalidFieldError or BadKSNError for what this terminal and key cannot have sent."""
    payload = request.payload
    if bdk.algorithm.scheme is Scheme.DEVICE_AEAD:
        return _settle_aead(request, bdk)
    profile = bdk.profile if device is None else device.profile.over(bdk.profile)
    encryption = settle_encryption(
        payload, profile, bdk.encryption_defaults, profile_required=profile_required
    )
    _check_scheme(encryption.scheme, bdk)
    if payload.key_epoch is not None:
        raise InvalidFieldError("encrypted_payload.key_epoch", "is for device-aead only")
    if payload.ksn is None:
        raise InvalidFieldError("encrypted_payload.ksn", f"is required under {encryption.scheme}")
    if encryption.key_variant is KeyVariant.PIN and not bdk.allow_pin_variant:
        raise InvalidFieldError(
            "encrypted_payload.key_variant", "this device's key does not allow the pin variant"
        )
    _check_custodian(bdk, encryption)
    for part in payload.parts:
        check_shape(encryption.cipher, encryption.mode, encryption.iv, part.ciphertext)
    ksn = KSN.from_hex(payload.ksn, encryption.scheme)
    return DUKPTPayload(bdk, ksn, encryption, payload.parts)


def _settle_aead(request: TokeniseRequest, bdk: BaseDerivationKey) -> AEADPayload:
    payload = request.payload
    _check_scheme(payload.scheme, bdk)
    _check_left_out(payload, "ksn", "key_variant", "cipher", "mode", "iv")
    if payload.key_epoch is None:
        raise InvalidFieldError("encrypted_payload.key_epoch", "is required under device-aead")
    name = AEADKeyName.checked(request.merchant_id, request.device_id, payload.key_epoch)
    for part in payload.parts:
        device_aead.check_shape(part.ciphertext)
    settled = AEADPayload(bdk, name, payload.parts)
    if len(set(settled.counters)) < len(payload.parts):
        # Under one nonce AES-GCM gives away the sum of two plaintexts, and its authentication key.
        raise InvalidFieldError("encrypted_payload.parts.ciphertext", "two parts have one nonce")
    return settled


def _check_scheme(scheme: Scheme | None, bdk: BaseDerivationKey) -> None:
    if scheme not in (None, bdk.algorithm.scheme):
        raise InvalidFieldError(
            "encrypted_payload.scheme", "is not the one that this device's key serves"
        )


def _check_left_out(payload: EncryptedPayload, *names: str) -> None:
    for name in names:
        if getattr(payload, name) is not None:
            raise InvalidFieldError(
                f"encrypted_payload.{name}", "must be left out under device-aead"
            )


def _check_custodian(bdk: BaseDerivationKey, encryption: Encryption) -> None:
    # A registered profile was checked at its registration; without one (in development) the request chooses.
    fault = None
    try:
        check_payload(bdk, encryption)
    except CustodyError as error:
        fault = str(error)
    if fault is not None:
        raise InvalidFieldError("encrypted_payload", fault)
