"""Which base derivation key serves a terminal, and whether the terminal may send at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.errors import DeviceSuspendedError, InvalidFieldError, UnknownDeviceError
from payment_token.domain.identifiers import DeviceId, MerchantId

_SHORTEST_KSN_DIGITS = 20


class BDKAlgorithm(StrEnum):
    """What a BDK derives. It settles the one derivation scheme that the key serves."""

    TDES_2KEY = "tdes-2key"
    AES_128 = "aes-128"
    AES_192 = "aes-192"
    AES_256 = "aes-256"
    DEVICE_AEAD = "device-aead"

    @property
    def scheme(self) -> Scheme:
        if self is BDKAlgorithm.DEVICE_AEAD:
            return Scheme.DEVICE_AEAD
        return Scheme.DUKPT_TDES if self is BDKAlgorithm.TDES_2KEY else Scheme.DUKPT_AES

    @property
    def key_bytes(self) -> int:
        return _KEY_BYTES[self]


_KEY_BYTES = {
    BDKAlgorithm.TDES_2KEY: 16,
    BDKAlgorithm.AES_128: 16,
    BDKAlgorithm.AES_192: 24,
    BDKAlgorithm.AES_256: 32,
    BDKAlgorithm.DEVICE_AEAD: 32,
}


class DeviceState(StrEnum):
    REGISTERED = "registered"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    STOLEN = "stolen"
    RETIRED = "retired"

    @property
    def may_send(self) -> bool:
        return self in (DeviceState.REGISTERED, DeviceState.ACTIVE)


class RegistrationRule(StrEnum):
    REQUIRED = "required"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BaseDerivationKey:
    """The name of a BDK, never the key: ``key_uri`` says which custodian holds it and under which name.

    With a ``merchant_id`` it serves the terminals of that merchant only.
    """

    bdk_id: str
    key_uri: str
    algorithm: BDKAlgorithm
    ksn_prefix: str | None = None
    allow_pin_variant: bool = False
    is_default: bool = False
    profile: DeviceProfile = field(default_factory=DeviceProfile)
    merchant_id: MerchantId | None = None
    replay_rule: ReplayRule = ReplayRule.REJECT

    @property
    def encryption_defaults(self) -> DeviceProfile:
        """What holds where neither the request nor a profile speaks."""
        return _DEFAULTS[self.algorithm]


def _defaults(algorithm: BDKAlgorithm) -> DeviceProfile:
    if algorithm is BDKAlgorithm.DEVICE_AEAD:
        return DeviceProfile(scheme=Scheme.DEVICE_AEAD)
    return DeviceProfile(
        scheme=algorithm.scheme,
        key_variant=KeyVariant.DATA_REQUEST,
        cipher=Cipher(algorithm.value),
        mode=Mode.CBC,
    )


_DEFAULTS = {algorithm: _defaults(algorithm) for algorithm in BDKAlgorithm}


@dataclass(frozen=True, slots=True)
class Device:
    """A registered terminal. ``initial_key_ids`` are those given at its registration; none means: learn at first use."""

    merchant_id: MerchantId
    device_id: DeviceId
    bdk_id: str | None
    state: DeviceState
    profile: DeviceProfile = field(default_factory=DeviceProfile)
    initial_key_ids: frozenset[bytes] = frozenset()
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the directory knows of a terminal: its registration if any, and every BDK that could serve it."""

    device: Device | None
    candidates: Sequence[BaseDerivationKey]


def admit(enrolment: Enrolment, rule: RegistrationRule) -> None:
    """Raises UnknownDeviceError or DeviceSuspendedError for a terminal that may not send."""
    if enrolment.device is None:
        if rule is RegistrationRule.REQUIRED:
            raise UnknownDeviceError
    elif not enrolment.device.state.may_send:
        raise DeviceSuspendedError(enrolment.device.state)


def check_serial(device: Device | None, stated: str | None) -> None:
    """``stated`` is the serial number that the reader's own message has. Raises UnknownDeviceError where another is registered.

    Makers pad it with zeros and spaces, and print it in either case; a reader to which none was given states nothing but those. Nothing
    but the reader's word is behind it: this finds readers that were mixed up, the initial key finds those of others.
    """
    if device is None or device.serial is None or stated is None:
        return
    if _bare_serial(stated) not in ("", _bare_serial(device.serial)):
        raise UnknownDeviceError


def _bare_serial(text: str) -> str:
    return text.strip(" \x00").lstrip("0").upper()


def normalised_ksn(text: str | None) -> str:
    """The KSN as registered prefixes see it: upper case, an 8-byte TDES KSN with the FFFF that terminals leave out.

    Empty where the payload has none.
    """
    return "" if text is None else text.upper().rjust(_SHORTEST_KSN_DIGITS, "F")


def choose_bdk(
    enrolment: Enrolment, ksn_text: str | None, scheme: Scheme | None
) -> BaseDerivationKey:
    """The BDK of the registration; else the longest KSN prefix; else a default one of the stated scheme.

    Raises UnknownDeviceError when none serves the terminal, InvalidFieldError when only the scheme could tell.
    """
    device, candidates = enrolment.device, enrolment.candidates
    if device is not None and device.bdk_id is not None:
        return _first([bdk for bdk in candidates if bdk.bdk_id == device.bdk_id])
    ksn = normalised_ksn(ksn_text)
    fitting = [bdk for bdk in candidates if scheme is None or bdk.algorithm.scheme is scheme]
    by_prefix = [bdk for bdk in fitting if bdk.ksn_prefix and ksn.startswith(bdk.ksn_prefix)]
    if by_prefix:
        return max(by_prefix, key=lambda bdk: len(bdk.ksn_prefix or ""))
    if scheme is None and any(bdk.is_default for bdk in fitting):
        raise InvalidFieldError(
            "encrypted_payload.scheme", "is required, unless the device or its KSN settles it"
        )
    return _first([bdk for bdk in fitting if bdk.is_default])


def _first(chosen: Sequence[BaseDerivationKey]) -> BaseDerivationKey:
    if not chosen:
        raise UnknownDeviceError
    return chosen[0]
