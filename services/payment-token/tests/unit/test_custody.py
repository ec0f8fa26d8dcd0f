"""What a custodian cannot do is refused when a key is named, with a text that says what and why."""

from collections.abc import Callable

import pytest

from payment_token.domain.custody import (
    CAPABILITIES,
    Custodian,
    CustodyError,
    Gives,
    capabilities_of,
    check_bdk,
    check_imports,
    check_kek,
    check_payload,
    check_profile,
    custodian_of,
)
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm

KMS = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PAYMENTS = "arn:aws:payment-cryptography:eu-central-1:111122223333:key/kwapwa6qaifllw2h"
TOKEN = "pkcs11:token=payments;object=bdk-1"
LOCAL = "local:bdk-1"
NAMES = {
    Custodian.AWS_KMS: KMS,
    Custodian.AWS_PAYMENT_CRYPTOGRAPHY: PAYMENTS,
    Custodian.PKCS11: TOKEN,
    Custodian.LOCAL: LOCAL,
}


def bdk(
    key_uri: str,
    algorithm: BDKAlgorithm = BDKAlgorithm.TDES_2KEY,
    *,
    allow_pin_variant: bool = False,
    **profile: object,
) -> BaseDerivationKey:
    return BaseDerivationKey(
        "b_1",
        key_uri,
        algorithm,
        allow_pin_variant=allow_pin_variant,
        profile=DeviceProfile(**profile),  # type: ignore[arg-type]
    )


def refusal(check: Callable[[], object]) -> str:
    with pytest.raises(CustodyError) as refused:
        check()
    return str(refused.value)


@pytest.mark.parametrize(("custodian", "key_uri"), NAMES.items())
def test_the_scheme_of_a_name_picks_the_custodian(custodian: Custodian, key_uri: str) -> None:
    assert custodian_of(key_uri) is custodian
    assert capabilities_of(key_uri) is CAPABILITIES[custodian]


@pytest.mark.parametrize(
    "key_uri",
    [
        "",
        "local:",
        "pkcs11:",
        "arn:aws:kms:",
        "arn:aws:payment-cryptography:",
        "LOCAL:x",
        " local:x",
        "local",
        "file:///key",
        "arn:aws:s3:::bucket",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "0123456789ABCDEFFEDCBA9876543210",
    ],
)
def test_a_name_of_no_form_is_refused_with_every_form_and_without_itself(key_uri: str) -> None:
    """Somebody may have put the key itself where its name belongs."""
    for check in (
        lambda: custodian_of(key_uri),
        lambda: check_kek(key_uri),
        lambda: check_imports(key_uri),
        lambda: check_bdk(bdk(key_uri)),
    ):
        text = refusal(check)
        for capabilities in CAPABILITIES.values():
            assert capabilities.example in text
        assert not key_uri.isalnum() or key_uri == "local" or key_uri not in text


def test_every_custodian_stands_in_the_table() -> None:
    assert set(CAPABILITIES) == set(Custodian) == set(NAMES)


@pytest.mark.parametrize("custodian", Custodian)
@pytest.mark.parametrize("algorithm", BDKAlgorithm)
def test_algorithms(custodian: Custodian, algorithm: BDKAlgorithm) -> None:
    named = bdk(NAMES[custodian], algorithm)
    if algorithm in CAPABILITIES[custodian].algorithms:
        check_bdk(named)
    else:
        assert refusal(lambda: check_bdk(named)) == f"{custodian} does not derive {algorithm} keys"


def test_only_payment_cryptography_lacks_an_algorithm_and_gives_no_key() -> None:
    """It knows DUKPT and no HMAC of ours; what it gives is the plaintext itself."""
    lacking = {
        (custodian, algorithm)
        for custodian, can in CAPABILITIES.items()
        for algorithm in set(BDKAlgorithm) - can.algorithms
    }
    assert lacking == {(Custodian.AWS_PAYMENT_CRYPTOGRAPHY, BDKAlgorithm.DEVICE_AEAD)}
    plaintext = {name for name, can in CAPABILITIES.items() if can.gives is Gives.PLAINTEXT}
    assert plaintext == {Custodian.AWS_PAYMENT_CRYPTOGRAPHY}


@pytest.mark.parametrize("custodian", Custodian)
@pytest.mark.parametrize("variant", KeyVariant)
def test_key_variants(custodian: Custodian, variant: KeyVariant) -> None:
    allowed = variant is KeyVariant.PIN and variant in CAPABILITIES[custodian].key_variants
    named = bdk(
        NAMES[custodian], BDKAlgorithm.AES_128, allow_pin_variant=allowed, key_variant=variant
    )
    if variant in CAPABILITIES[custodian].key_variants:
        check_bdk(named)
    else:
        expected = f"{custodian} does not decrypt data under the {variant} variant"
        assert refusal(lambda: check_bdk(named)) == expected


@pytest.mark.parametrize("custodian", Custodian)
@pytest.mark.parametrize("mode", Mode)
def test_modes(custodian: Custodian, mode: Mode) -> None:
    named = bdk(NAMES[custodian], mode=mode)
    if mode in CAPABILITIES[custodian].modes:
        check_bdk(named)
    else:
        assert refusal(lambda: check_bdk(named)) == f"{custodian} does not decrypt in mode {mode}"


@pytest.mark.parametrize("custodian", Custodian)
@pytest.mark.parametrize("cipher", Cipher)
def test_ciphers_under_a_tdes_key(custodian: Custodian, cipher: Cipher) -> None:
    named = bdk(NAMES[custodian], cipher=cipher)
    if custodian is Custodian.AWS_PAYMENT_CRYPTOGRAPHY and cipher is not Cipher.TDES_2KEY:
        assert (
            refusal(lambda: check_bdk(named))
            == f"{custodian} does not decrypt {cipher} under a TDES key"
        )
    elif cipher in (Cipher.TDES_2KEY, Cipher.AES_128):
        check_bdk(named)
    else:
        assert refusal(lambda: check_bdk(named)) == f"there is no {cipher} under a TDES key"


@pytest.mark.parametrize(
    ("algorithm", "profile", "reason"),
    [
        (BDKAlgorithm.AES_128, {"scheme": Scheme.DUKPT_TDES}, "serves dukpt-aes, not dukpt-tdes"),
        (BDKAlgorithm.TDES_2KEY, {"scheme": Scheme.DUKPT_AES}, "serves dukpt-tdes, not dukpt-aes"),
        (BDKAlgorithm.TDES_2KEY, {"scheme": Scheme.DEVICE_AEAD}, "not device-aead"),
        (BDKAlgorithm.TDES_2KEY, {"key_variant": KeyVariant.DATA_BOTH}, "AES DUKPT only"),
        (BDKAlgorithm.AES_128, {"key_variant": KeyVariant.PIN}, "without --allow-pin-variant"),
        (BDKAlgorithm.DEVICE_AEAD, {"cipher": Cipher.AES_256}, "leave them out"),
        (BDKAlgorithm.DEVICE_AEAD, {"iv": bytes(16)}, "leave them out"),
        (BDKAlgorithm.DEVICE_AEAD, {"container": Container.IDTECH_MSR}, "leave them out"),
    ],
)
def test_a_profile_that_the_key_does_not_serve(algorithm, profile, reason) -> None:
    assert reason in refusal(lambda: check_profile(bdk(KMS, algorithm), DeviceProfile(**profile)))
    assert reason in refusal(lambda: check_bdk(bdk(KMS, algorithm, **profile)))


def test_the_pin_variant_is_refused_whether_the_key_or_the_request_has_it() -> None:
    allowing = bdk(PAYMENTS, allow_pin_variant=True)
    assert "under the PIN variant" in refusal(lambda: check_bdk(allowing))
    asked = DeviceProfile(key_variant=KeyVariant.PIN)
    assert "under the pin variant" in refusal(lambda: check_payload(bdk(PAYMENTS), asked))
    check_bdk(bdk(KMS, allow_pin_variant=True))
    check_payload(bdk(KMS), asked)


@pytest.mark.parametrize(
    "profile",
    [
        {"cipher": Cipher.AES_256},
        {"mode": Mode.CBC},
        {"iv": bytes(16)},
        {"key_variant": KeyVariant.DATA_REQUEST},
    ],
    ids=lambda profile: next(iter(profile)),
)
def test_a_device_aead_key_takes_no_profile(profile: dict[str, object]) -> None:
    named = bdk(LOCAL, BDKAlgorithm.DEVICE_AEAD, **profile)
    assert refusal(lambda: check_bdk(named)) == (
        "device-aead fixes cipher, mode and IV itself: leave them out of the profile"
    )


@pytest.mark.parametrize("custodian", Custodian)
def test_keks(custodian: Custodian) -> None:
    if CAPABILITIES[custodian].wraps_keys:
        check_kek(NAMES[custodian])
    else:
        assert refusal(lambda: check_kek(NAMES[custodian])) == (
            f"{custodian} does not wrap keys: name a key of aws-kms or pkcs11"
        )


@pytest.mark.parametrize("custodian", Custodian)
def test_imports(custodian: Custodian) -> None:
    if CAPABILITIES[custodian].imports:
        check_imports(NAMES[custodian])
    else:
        text = refusal(lambda: check_imports(NAMES[custodian]))
        assert text.startswith(f"{custodian} takes keys with its own tools only.")
        assert text.endswith("`payment-token bdk register`")


def test_only_the_development_keystore_is_kept_out_of_production() -> None:
    outside = {name for name, can in CAPABILITIES.items() if not can.in_production}
    assert outside == {Custodian.LOCAL}
