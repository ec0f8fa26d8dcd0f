import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Cipher, EncryptedPayload, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile, Encryption, settle_encryption
from payment_token.domain.errors import InvalidFieldError

IV = bytes(range(16))
DEFAULTS = DeviceProfile(Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, Cipher.AES_128, Mode.CBC)
PAYLOAD = EncryptedPayload(ksn="123456789012345600000001", parts=())

# For each field: a value, and one that differs from it and from the default.
VALUES = {
    "scheme": (Scheme.DUKPT_AES, Scheme.DUKPT_TDES),
    "key_variant": (KeyVariant.PIN, KeyVariant.DATA_BOTH),
    "cipher": (Cipher.TDES_2KEY, Cipher.AES_256),
    "mode": (Mode.ECB, Mode.OFB),
    "iv": (IV, bytes(16)),
}
every_field = pytest.mark.parametrize("name", VALUES)
either = pytest.mark.parametrize("production", [False, True], ids=["elsewhere", "production"])

profiles = st.builds(
    DeviceProfile,
    scheme=st.none() | st.sampled_from(Scheme),
    key_variant=st.none() | st.sampled_from(KeyVariant),
    cipher=st.none() | st.sampled_from(Cipher),
    mode=st.none() | st.sampled_from(Mode),
    iv=st.none() | st.binary(min_size=16, max_size=16),
)


def settled(
    request: dict | None = None,
    profile: DeviceProfile | None = None,
    *,
    production: bool = False,
    defaults: DeviceProfile = DEFAULTS,
) -> Encryption:
    return settle_encryption(
        dataclasses.replace(PAYLOAD, **request or {}),
        profile or DeviceProfile(),
        defaults,
        profile_required=production,
    )


def refused_field(*given, **named) -> str:
    with pytest.raises(InvalidFieldError) as refusal:
        settled(*given, **named)
    return refusal.value.field


@either
def test_where_nobody_speaks_the_defaults_hold(production):
    assert settled(production=production) == Encryption(
        Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, Cipher.AES_128, Mode.CBC, None
    )


@every_field
@either
def test_the_profile_speaks_where_the_request_does_not(name, production):
    value, _ = VALUES[name]
    assert (
        getattr(settled({}, DeviceProfile(**{name: value}), production=production), name) == value
    )


@every_field
@either
def test_request_and_profile_may_agree(name, production):
    value, _ = VALUES[name]
    both = settled({name: value}, DeviceProfile(**{name: value}), production=production)
    assert getattr(both, name) == value


@every_field
@either
def test_request_and_profile_may_not_differ(name, production):
    value, other = VALUES[name]
    profile = DeviceProfile(**{name: value})
    assert refused_field({name: other}, profile, production=production) == (
        f"encrypted_payload.{name}"
    )


@every_field
def test_outside_production_the_request_speaks_where_the_profile_does_not(name):
    _, other = VALUES[name]
    assert getattr(settled({name: other}), name) == other


@pytest.mark.parametrize("name", ["scheme", "key_variant", "cipher", "mode"])
def test_in_production_the_request_may_only_agree_with_the_defaults(name):
    _, other = VALUES[name]
    assert refused_field({name: other}, production=True) == f"encrypted_payload.{name}"
    settled({name: getattr(DEFAULTS, name)}, production=True)


def test_in_production_the_request_does_not_choose_the_iv():
    """Under CBC whoever chooses the IV chooses bits of the first block."""
    assert refused_field({"iv": IV}, production=True) == "encrypted_payload.iv"


@pytest.mark.parametrize("name", ["scheme", "key_variant", "cipher", "mode"])
@either
def test_what_nobody_settles_is_required(name, production):
    defaults = dataclasses.replace(DEFAULTS, **{name: None})
    assert refused_field(production=production, defaults=defaults) == f"encrypted_payload.{name}"


@every_field
def test_a_refusal_shows_neither_value(name):
    value, other = VALUES[name]
    with pytest.raises(InvalidFieldError) as refusal:
        settled({name: other}, DeviceProfile(**{name: value}))
    rule = refusal.value.detail.removeprefix(f"encrypted_payload.{name}: ")
    assert rule == "differs from the device's profile"


@given(profiles, profiles)
def test_one_profile_over_another_speaks_first(mine, theirs):
    both = mine.over(theirs)
    for field in dataclasses.fields(DeviceProfile):
        own = getattr(mine, field.name)
        assert getattr(both, field.name) == (
            own if own is not None else getattr(theirs, field.name)
        )


@given(profiles, profiles, profiles)
def test_profiles_stack(device, bdk, defaults):
    assert device.over(bdk).over(defaults) == device.over(bdk.over(defaults))
    assert device.over(DeviceProfile()) == DeviceProfile().over(device) == device


@given(profiles, profiles)
def test_what_is_settled_never_contradicts_the_profile(profile, wish):
    request = {name: getattr(wish, name) for name in VALUES if name != "iv"}
    for production in (False, True):
        try:
            encryption = settled(request, profile, production=production)
        except InvalidFieldError:
            continue
        fixed = profile.over(DEFAULTS) if production else profile
        for name in VALUES:
            assert getattr(fixed, name) in (None, getattr(encryption, name))
