"""What the registry takes of a terminal, and what it refuses before anything is stored."""

from dataclasses import replace

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import DeviceRequest, checked_registration
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    DeviceState,
    check_serial,
)
from payment_token.domain.errors import (
    CleartextCardDataError,
    InvalidFieldError,
    UnknownDeviceError,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.reader_profiles import BUILT_IN, checked_profile

TDES = BaseDerivationKey("tdes", "local:tdes", BDKAlgorithm.TDES_2KEY, allow_pin_variant=True)
AES = BaseDerivationKey("aes", "local:aes", BDKAlgorithm.AES_128)
AEAD = BaseDerivationKey("aead", "local:aead", BDKAlgorithm.DEVICE_AEAD)
KSNS = ("FFFF9876543210E00001", "FFFF9876543211E00000", "9876543212E00002")
GOOD = DeviceRequest(
    "m_4711", "till/7 %", "tdes", KSNS, "SN-0042", "ID TECH", "VP3300", "1.00.123", None
)
GOOD = replace(GOOD, device_id="till/7%")


def test_a_good_one() -> None:
    registration = checked_registration(GOOD, TDES)

    assert registration.device == Device(
        MerchantId("m_4711"),
        DeviceId("till/7%"),
        "tdes",
        DeviceState.REGISTERED,
        DeviceProfile(Scheme.DUKPT_TDES),
        frozenset(
            bytes.fromhex(text)
            for text in ("FFFF9876543210E00000", "FFFF9876543211E00000", "FFFF9876543212E00000")
        ),
        "SN-0042",
    )
    assert (registration.make, registration.model) == ("ID TECH", "VP3300")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("merchant_id", "", "merchant_id"),
        ("merchant_id", "a/b", "merchant_id"),
        ("merchant_id", "m" * 65, "merchant_id"),
        ("device_id", "", "device_id"),
        ("device_id", "two words", "device_id"),
        ("device_id", "d" * 65, "device_id"),
        ("device_id", "tïll", "device_id"),
        ("device_id", ".", "device_id"),
        ("device_id", "..", "device_id"),
        ("ksns", ("nonsense",), "ksns"),
        ("ksns", ("123456789012345600000001",), "ksns"),
        ("ksns", ("",), "ksns"),
        ("ksns", KSNS * 3, "ksns"),
        ("serial", "", "serial"),
        ("serial", "a b", "serial"),
        ("serial", "s" * 65, "serial"),
        ("make", "", "make"),
        ("make", " ID TECH", "make"),
        ("make", "x" * 65, "make"),
        ("model", "a\nb", "model"),
        ("firmware", "\x1b[31m", "firmware"),
    ],
)
def test_what_is_refused(field: str, value: object, named: str) -> None:
    with pytest.raises(InvalidFieldError, match=f"^{named}: must be") as refused:
        checked_registration(replace(GOOD, **{field: value}), TDES)
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(refused.value)


@pytest.mark.parametrize(
    "field", ["merchant_id", "device_id", "serial", "make", "model", "firmware"]
)
def test_no_field_holds_a_card_number(field: str) -> None:
    with pytest.raises(CleartextCardDataError, match=f"^{field}: ") as refused:
        checked_registration(replace(GOOD, **{field: "4111111111111111"}), TDES)
    assert "4111" not in str(refused.value)


def test_a_key_that_does_not_serve_the_merchant() -> None:
    with pytest.raises(InvalidFieldError, match="bdk_id: names no base derivation key"):
        checked_registration(GOOD, None)


@pytest.mark.parametrize(
    ("bdk", "name"),
    [(AES, "magtek-swipe"), (TDES, "generic-aes"), (AEAD, "generic-tdes"), (TDES, "device-aead")],
)
def test_a_profile_that_does_not_fit_its_key(bdk: BaseDerivationKey, name: str) -> None:
    request = replace(GOOD, ksns=(), profile_name=name, profile=BUILT_IN[name].profile)
    with pytest.raises(InvalidFieldError, match="profile: does not fit: "):
        checked_registration(request, bdk)


def test_the_pin_variant_is_for_keys_that_allow_it() -> None:
    request = replace(GOOD, profile_name="magtek-swipe", profile=BUILT_IN["magtek-swipe"].profile)
    device = checked_registration(request, TDES).device
    assert device.profile.key_variant is KeyVariant.PIN
    with pytest.raises(InvalidFieldError, match="--allow-pin-variant"):
        checked_registration(request, replace(TDES, allow_pin_variant=False))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_profile_fits_a_key_of_its_scheme(name: str) -> None:
    scheme = BUILT_IN[name].profile.scheme
    (bdk,) = (known for known in (TDES, AES, AEAD) if known.algorithm.scheme is scheme)
    request = replace(GOOD, ksns=(), profile_name=name, profile=BUILT_IN[name].profile)
    assert checked_registration(request, bdk).device.profile == BUILT_IN[name].profile


def test_what_registering_again_would_change() -> None:
    known = checked_registration(GOOD, TDES)
    assert known.says_the_same(known)
    assert known.says_the_same(checked_registration(replace(GOOD, ksns=KSNS[:1]), TDES))
    for field, value in {
        "serial": "SN-1",
        "make": None,
        "firmware": "2",
        "profile_name": "x",
    }.items():
        other = checked_registration(replace(GOOD, **{field: value}), TDES)
        assert not known.says_the_same(other), field
    suspended = replace(known, device=replace(known.device, state=DeviceState.SUSPENDED))
    assert suspended.says_the_same(known)
    more = checked_registration(replace(GOOD, ksns=(*KSNS, "FFFF9876543219E00000")), TDES)
    assert not known.says_the_same(more)


def with_serial(serial: str | None) -> Device:
    return replace(checked_registration(GOOD, TDES).device, serial=serial)


@pytest.mark.parametrize(
    ("registered", "stated"),
    [
        ("B123456", "B123456"),
        ("b123456", "B123456"),
        ("0000706123", "706123"),
        ("706123", "0000706123"),
        ("706123", "706123  "),
        ("706123", "706123\x00\x00"),
        (None, "706123"),
        ("706123", None),
        ("706123", ""),
        ("706123", "0000000000"),
    ],
)
def test_serials_that_agree(registered: str | None, stated: str | None) -> None:
    check_serial(with_serial(registered), stated)
    check_serial(None, stated)


@pytest.mark.parametrize("stated", ["706124", "70612", "7061230", "706 123", "1"])
def test_serials_that_differ(stated: str) -> None:
    with pytest.raises(UnknownDeviceError):
        check_serial(with_serial("706123"), stated)


@pytest.mark.parametrize(
    ("name", "profile", "description", "named"),
    [
        ("", DeviceProfile(cipher=Cipher.AES_128), "", "name: must be"),
        ("Upper", DeviceProfile(cipher=Cipher.AES_128), "", "name: must be"),
        ("a=b", DeviceProfile(cipher=Cipher.AES_128), "", "name: must be"),
        ("magtek-swipe", DeviceProfile(cipher=Cipher.AES_128), "", "name: is that of a built-in"),
        ("own", DeviceProfile(), "", "profile: says nothing"),
        ("own", DeviceProfile(cipher=Cipher.AES_128), "x" * 201, "description: must be"),
        ("own", DeviceProfile(cipher=Cipher.AES_128), "a\nb", "description: must be"),
    ],
)
def test_what_is_no_profile_of_ones_own(
    name: str, profile: DeviceProfile, description: str, named: str
) -> None:
    with pytest.raises(InvalidFieldError, match=named):
        checked_profile(name, profile, description)


def test_a_description_holds_no_card_number() -> None:
    with pytest.raises(CleartextCardDataError, match=r"^description: "):
        checked_profile("own", DeviceProfile(cipher=Cipher.AES_128), "for 4111111111111111")
