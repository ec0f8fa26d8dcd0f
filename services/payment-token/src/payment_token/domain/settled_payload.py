"""How one payload is encrypted, once request, profile and key have all spoken."""

from dataclasses import dataclass

from payment_token.domain import device_aead
from payment_token.domain.custody import CustodyError, Gives, capabilities_of, check_payload
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import EncryptedPart, EncryptedPayload, KeyVariant, Scheme
from payment_token.domain.device_profile import DeviceProfile, Encryption, settle_encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Device, check_serial
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.payload_cipher import check_shape
from payment_token.domain.reader_frames.frame_refusal import refused
from payment_token.domain.reader_frames.opened_frame import FrameMAC, OpenedFrame
from payment_token.domain.reader_frames.stated_payload import StatedPayload
from payment_token.domain.tokenise_request import TokeniseRequest


@dataclass(frozen=True, slots=True)
class DUKPTPayload:
    """It has ``parts``, or it is a reader's message."""

    bdk: BaseDerivationKey
    ksn: KSN
    encryption: Encryption
    parts: tuple[EncryptedPart, ...]
    frame: OpenedFrame | None = None

    @property
    def ciphertexts(self) -> tuple[bytes, ...]:
        if self.frame is not None:
            return self.frame.ciphertexts
        return tuple(part.ciphertext for part in self.parts)

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
    stated: StatedPayload,
    bdk: BaseDerivationKey,
    device: Device | None,
    *,
    profile_required: bool,
) -> SettledPayload:
    """Raises InvalidFieldError or BadKSNError for what this terminal and key cannot have sent.

    And UnknownDeviceError for the message of a reader with another serial number than is registered.
    """
    payload, frame = stated.payload, stated.frame
    if frame is not None:
        check_serial(device, frame.serial)
    if bdk.algorithm.scheme is Scheme.DEVICE_AEAD:
        return _settle_aead(request, bdk)
    profile = bdk.profile if device is None else device.profile.over(bdk.profile)
    _check_container(payload, profile, profile_required=profile_required)
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
    settled = DUKPTPayload(
        bdk, KSN.from_hex(payload.ksn, encryption.scheme), encryption, payload.parts, frame
    )
    for ciphertext in settled.ciphertexts:
        check_shape(encryption.cipher, encryption.mode, encryption.iv, ciphertext)
    if frame is not None and frame.mac is not None:
        _check_mac(settled, frame.mac)
    return settled


def _settle_aead(request: TokeniseRequest, bdk: BaseDerivationKey) -> AEADPayload:
    payload = request.payload
    if payload.frame is not None:
        raise refused("a device-aead terminal sends parts, each with a ciphertext")
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


def _check_container(
    payload: EncryptedPayload, profile: DeviceProfile, *, profile_required: bool
) -> None:
    sent = None if payload.frame is None else payload.frame.container
    if sent is not profile.container and (profile_required or profile.container is not None):
        if profile.container is None:
            rule = (
                "must be parts that each have a ciphertext: the device's profile has no container"
            )
        else:
            rule = f"must be one part with a frame of the device's profile: {profile.container}"
        raise InvalidFieldError("encrypted_payload.parts", rule)


def _check_mac(payload: DUKPTPayload, mac: FrameMAC) -> None:
    if payload.ksn.scheme is not Scheme.DUKPT_TDES:
        raise refused("has a MAC of a kind that only dukpt-tdes has")
    if capabilities_of(payload.bdk.key_uri).gives is Gives.PLAINTEXT:
        raise refused("has a MAC, which the custodian of this device's key cannot check")
    # Or any terminal of the fleet could vouch for any other's message.
    if KSN.from_hex(mac.ksn, payload.ksn.scheme).initial_key_id != payload.initial_key_id:
        raise refused("its MAC is under the key of another terminal than its ciphertext")


def _check_custodian(bdk: BaseDerivationKey, encryption: Encryption) -> None:
    # A registered profile was checked at its registration; without one (in development) the request chooses.
    fault = None
    try:
        check_payload(bdk, encryption)
    except CustodyError as error:
        fault = str(error)
    if fault is not None:
        raise InvalidFieldError("encrypted_payload", fault)
