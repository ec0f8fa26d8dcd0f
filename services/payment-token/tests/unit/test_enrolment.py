import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    DeviceState,
    Enrolment,
    RegistrationRule,
    admit,
    choose_bdk,
    normalised_ksn,
)
from payment_token.domain.errors import DeviceSuspendedError, InvalidFieldError, UnknownDeviceError
from payment_token.domain.identifiers import DeviceId, MerchantId

TDES_KSN = "FFFF9876543210E00001"
AES_KSN = "123456789012345600000001"


def bdk(
    bdk_id: str,
    algorithm: BDKAlgorithm = BDKAlgorithm.TDES_2KEY,
    prefix: str | None = None,
    *,
    is_default: bool = False,
) -> BaseDerivationKey:
    return BaseDerivationKey(
        bdk_id, f"local:{bdk_id}", algorithm, ksn_prefix=prefix, is_default=is_default
    )


def device(bdk_id: str | None = None, state: DeviceState = DeviceState.ACTIVE) -> Device:
    return Device(MerchantId("m_4711"), DeviceId("IDT-0042"), bdk_id, state)


def chosen(
    *candidates: BaseDerivationKey,
    ksn: str = TDES_KSN,
    scheme: Scheme | None = None,
    registered: Device | None = None,
) -> str:
    return choose_bdk(Enrolment(registered, candidates), ksn, scheme).bdk_id


DEFAULT_TDES = bdk("default-tdes", is_default=True)
DEFAULT_AES = bdk("default-aes", BDKAlgorithm.AES_256, is_default=True)
SHORT = bdk("short", prefix="FFFF98")
LONG = bdk("long", prefix="FFFF987654")
OTHER = bdk("other", prefix="FFFF99")


# --- Which BDK ------------------------------------------------------------------------------------------------------


def test_the_registration_settles_it_against_prefix_and_default():
    candidates = (DEFAULT_TDES, LONG, bdk("registered"))
    assert chosen(*candidates, registered=device("registered")) == "registered"
    assert chosen(*candidates, registered=device("registered"), scheme=Scheme.DUKPT_AES) == (
        "registered"
    )


def test_a_registered_bdk_that_is_gone_serves_nobody():
    with pytest.raises(UnknownDeviceError):
        chosen(DEFAULT_TDES, LONG, registered=device("retired"))


def test_a_registration_without_a_bdk_leaves_it_to_the_ksn():
    assert chosen(DEFAULT_TDES, SHORT, registered=device()) == "short"


@pytest.mark.parametrize("order", [(SHORT, LONG, OTHER), (OTHER, LONG, SHORT)])
def test_the_longest_fitting_prefix_wins(order):
    assert chosen(*order, DEFAULT_TDES) == "long"
    assert chosen(*order, DEFAULT_TDES, ksn="FFFF9800000000000001") == "short"


def test_a_prefix_needs_no_scheme_and_a_default_does():
    assert chosen(LONG, DEFAULT_TDES, DEFAULT_AES) == "long"
    with pytest.raises(
        InvalidFieldError, match=r"^encrypted_payload\.scheme: is required"
    ) as error:
        chosen(OTHER, DEFAULT_TDES, DEFAULT_AES)
    assert error.value.field == "encrypted_payload.scheme"


def test_even_one_default_needs_the_scheme():
    with pytest.raises(InvalidFieldError):
        chosen(DEFAULT_TDES)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [(Scheme.DUKPT_TDES, "default-tdes"), (Scheme.DUKPT_AES, "default-aes")],
)
def test_the_default_is_that_of_the_scheme(scheme, expected):
    assert chosen(OTHER, DEFAULT_TDES, DEFAULT_AES, scheme=scheme) == expected


def test_a_prefix_of_the_other_scheme_does_not_fit():
    aes = bdk("aes", BDKAlgorithm.AES_128, "FFFF9876543210")
    assert chosen(aes, SHORT, scheme=Scheme.DUKPT_TDES) == "short"
    assert chosen(aes, SHORT, scheme=Scheme.DUKPT_AES) == "aes"
    assert chosen(aes, SHORT) == "aes"


@pytest.mark.parametrize("scheme", [None, *Scheme])
def test_without_a_bdk_the_device_is_unknown(scheme):
    for candidates in ((), (OTHER,), (bdk("no prefix, no default"),)):
        with pytest.raises(UnknownDeviceError):
            chosen(*candidates, scheme=scheme)


def test_a_default_of_the_other_scheme_serves_nobody():
    with pytest.raises(UnknownDeviceError):
        chosen(DEFAULT_AES, scheme=Scheme.DUKPT_TDES)


def test_an_empty_prefix_is_no_prefix():
    with pytest.raises(UnknownDeviceError):
        chosen(bdk("empty", prefix=""), scheme=Scheme.DUKPT_TDES)


@pytest.mark.parametrize("ksn", ["ffff9876543210e00001", "9876543210E00001", "9876543210e00001"])
def test_prefixes_see_every_spelling_of_a_ksn_alike(ksn):
    assert normalised_ksn(ksn) == TDES_KSN
    assert chosen(LONG, ksn=ksn) == "long"


@given(st.binary(min_size=8, max_size=8) | st.binary(min_size=10, max_size=10))
def test_the_normalised_ksn_is_the_one_that_is_parsed(value):
    ksn = KSN.of_any_counter(value.hex(), Scheme.DUKPT_TDES)
    assert normalised_ksn(value.hex()) == str(ksn)


def test_an_aes_ksn_is_left_as_it_is():
    assert normalised_ksn(AES_KSN) == AES_KSN
    assert chosen(bdk("aes", BDKAlgorithm.AES_128, "12345678"), ksn=AES_KSN) == "aes"


# --- What a BDK is --------------------------------------------------------------------------------------------------

ALGORITHMS = {
    BDKAlgorithm.TDES_2KEY: (Scheme.DUKPT_TDES, 16, Cipher.TDES_2KEY),
    BDKAlgorithm.AES_128: (Scheme.DUKPT_AES, 16, Cipher.AES_128),
    BDKAlgorithm.AES_192: (Scheme.DUKPT_AES, 24, Cipher.AES_192),
    BDKAlgorithm.AES_256: (Scheme.DUKPT_AES, 32, Cipher.AES_256),
    BDKAlgorithm.DEVICE_AEAD: (Scheme.DEVICE_AEAD, 32, None),
}


@pytest.mark.parametrize("algorithm", BDKAlgorithm)
def test_the_algorithm_settles_scheme_size_and_defaults(algorithm):
    scheme, size, cipher = ALGORITHMS[algorithm]
    assert algorithm.scheme is scheme
    assert algorithm.key_bytes == size
    # device-aead has nothing to choose.
    variant, mode = (None, None) if cipher is None else (KeyVariant.DATA_REQUEST, Mode.CBC)
    assert bdk("any", algorithm).encryption_defaults == DeviceProfile(
        scheme=scheme, key_variant=variant, cipher=cipher, mode=mode, iv=None
    )


# --- Whether it may send --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RegistrationRule)
@pytest.mark.parametrize("state", [DeviceState.REGISTERED, DeviceState.ACTIVE])
def test_a_registered_or_active_device_may_send(state, rule):
    admit(Enrolment(device(state=state), ()), rule)


@pytest.mark.parametrize("rule", RegistrationRule)
@pytest.mark.parametrize("state", [DeviceState.SUSPENDED, DeviceState.STOLEN, DeviceState.RETIRED])
def test_a_suspended_stolen_or_retired_device_may_not(state, rule):
    with pytest.raises(DeviceSuspendedError) as refusal:
        admit(Enrolment(device(state=state), ()), rule)
    assert refusal.value.detail == DeviceSuspendedError.default_detail


def test_every_state_is_covered():
    assert len(DeviceState) == 5


def test_an_unregistered_device_may_send_where_registration_is_open():
    admit(Enrolment(None, ()), RegistrationRule.OPEN)
    with pytest.raises(UnknownDeviceError):
        admit(Enrolment(None, ()), RegistrationRule.REQUIRED)
