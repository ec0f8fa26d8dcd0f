"""What the registry knows of a terminal, and what it takes.

A registration fixes the terminal's profile: a request may agree with it, and nothing else. Free texts are for people; they are shown,
stored and recorded in clear, so what looks like a card number is refused in each of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.custody import CustodyError, check_profile
from payment_token.domain.device_payload import Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Device, DeviceState
from payment_token.domain.errors import BadKSNError, CleartextCardDataError, InvalidFieldError
from payment_token.domain.identifiers import DEVICE_ID, MERCHANT_ID, DeviceId, MerchantId

SERIAL = re.compile(r"[\x21-\x7e]{1,64}")
LONGEST_TEXT = 64
MOST_KSNS = 8
"""Initial keys of one terminal: BBPOS readers have three, and a replaced key stays."""

# No client sends these as the last part of an address: they are taken for "here" and "one up".
_NO_NAMES = (".", "..")


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What somebody says of a terminal to be registered. Nothing of it is checked yet.

    ``ksns`` are hexadecimal KSNs of it, with any counter: one for each initial key. ``profile`` comes from ``profile_name``, where
    that is given.
    """

    merchant_id: str
    device_id: str
    bdk_id: str
    ksns: Sequence[str] = ()
    serial: str | None = None
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    profile_name: str | None = None
    profile: DeviceProfile = field(default_factory=DeviceProfile)

    def with_profile(self, profile: DeviceProfile) -> "DeviceRequest":
        return replace(self, profile=profile)


@dataclass(frozen=True, slots=True)
class Registration:
    device: Device
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    profile_name: str | None = None

    def says_the_same(self, other: "Registration") -> bool:
        """Whether registering ``other`` again would change nothing. States, and keys that were added since, do not count."""
        mine, theirs = self.device, other.device
        return (
            (mine.bdk_id, mine.profile, mine.serial)
            == (theirs.bdk_id, theirs.profile, theirs.serial)
            and (self.make, self.model, self.firmware) == (other.make, other.model, other.firmware)
            and self.profile_name == other.profile_name
            and theirs.initial_key_ids <= mine.initial_key_ids
        )


@dataclass(frozen=True, slots=True)
class InitialKeyUse:
    """One initial key of a terminal, and what was read under it. ``high_water`` is its newest counter; ``None`` before any."""

    bdk_id: str
    initial_key_id: bytes
    bound_at: datetime
    high_water: int | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    registration: Registration
    created_at: datetime
    state_changed_at: datetime
    state_reason: str
    initial_keys: tuple[InitialKeyUse, ...] = ()

    @property
    def device(self) -> Device:
        return self.registration.device

    @property
    def has_sent(self) -> bool:
        return any(key.first_seen_at is not None for key in self.initial_keys)

    @property
    def last_seen_at(self) -> datetime | None:
        return max(
            (key.last_seen_at for key in self.initial_keys if key.last_seen_at), default=None
        )

    @property
    def first_seen_at(self) -> datetime | None:
        return min(
            (key.first_seen_at for key in self.initial_keys if key.first_seen_at), default=None
        )

    @property
    def tokens(self) -> int:
        return sum(key.tokens for key in self.initial_keys)


def checked_registration(request: DeviceRequest, bdk: BaseDerivationKey | None) -> Registration:
    """``bdk`` is the one that the request names, if it serves this merchant.

    Raises InvalidFieldError, CleartextCardDataError.
    """
    merchant_id, device_id = checked_merchant(request.merchant_id), checked_device(
        request.device_id
    )
    if bdk is None:
        raise InvalidFieldError("bdk_id", "names no base derivation key that serves this merchant")
    served = bdk.algorithm.scheme
    profile = request.profile.over(DeviceProfile(served))
    _check_fits(bdk, profile, request.profile_name)
    if len(request.ksns) > MOST_KSNS:
        raise InvalidFieldError("ksns", f"must be at most {MOST_KSNS}")
    device = Device(
        merchant_id=merchant_id,
        device_id=device_id,
        bdk_id=bdk.bdk_id,
        state=DeviceState.REGISTERED,
        profile=profile,
        initial_key_ids=frozenset(initial_key_id_of(ksn, served) for ksn in request.ksns),
        serial=_checked_serial(request.serial),
    )
    return Registration(
        device,
        _checked_text("make", request.make),
        _checked_text("model", request.model),
        _checked_text("firmware", request.firmware),
        request.profile_name,
    )


def checked_merchant(text: str) -> MerchantId:
    if not MERCHANT_ID.fullmatch(text):
        raise InvalidFieldError(
            "merchant_id", "must be 1 to 64 of A-Z a-z 0-9 . _ : -, the first a letter or digit"
        )
    _refuse_card_number("merchant_id", text)
    return MerchantId(text)


def checked_device(text: str) -> DeviceId:
    """Of a terminal that is to be registered."""
    if not DEVICE_ID.fullmatch(text) or text in _NO_NAMES:
        raise InvalidFieldError(
            "device_id", "must be 1 to 64 visible ASCII characters, and not . or .."
        )
    _refuse_card_number("device_id", text)
    return DeviceId(text)


def initial_key_id_of(ksn: str, scheme: Scheme) -> bytes:
    """Raises InvalidFieldError."""
    try:
        return KSN.of_any_counter(ksn, scheme).initial_key_id
    except BadKSNError:
        pass
    raise InvalidFieldError("ksns", f"must be key serial numbers of {scheme}, in hexadecimal")


def _check_fits(bdk: BaseDerivationKey, profile: DeviceProfile, name: str | None) -> None:
    reason = None
    try:
        check_profile(bdk, profile)
    except CustodyError as error:
        reason = str(error)
    if reason is not None:
        raise InvalidFieldError("profile" if name else "encryption", f"does not fit: {reason}")


def _checked_serial(text: str | None) -> str | None:
    if text is None:
        return None
    if not SERIAL.fullmatch(text):
        raise InvalidFieldError("serial", "must be 1 to 64 visible ASCII characters")
    _refuse_card_number("serial", text)
    return text


def _checked_text(field_name: str, text: str | None) -> str | None:
    if text is None:
        return None
    if not 1 <= len(text) <= LONGEST_TEXT or not text.isprintable() or text != text.strip():
        raise InvalidFieldError(
            field_name, f"must be 1 to {LONGEST_TEXT} printable characters, without spaces around"
        )
    _refuse_card_number(field_name, text)
    return text


def _refuse_card_number(field_name: str, text: str) -> None:
    if find_card_number(text):
        raise CleartextCardDataError(field_name)
