"""Who may hold which key: the custodians, and what each of them can do.

A key is named by one string whose scheme picks its custodian. What a custodian cannot do is refused when a key is
registered, from this table, so that no terminal finds out at run time. ``docs/key-hierarchy.md`` shows the same table.

A key of AWS is named by the ARN of the key itself, of any partition (``aws``, ``aws-us-gov``, ``aws-cn``). It carries
the region, so no setting does. Aliases are refused: an alias can be pointed at another key behind our back, would let
one key serve two schemes under two names, and AWS KMS deletes no key by an alias.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile, Encryption
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.payload_cipher import block_bytes


class Custodian(StrEnum):
    AWS_KMS = "aws-kms"
    AWS_PAYMENT_CRYPTOGRAPHY = "aws-payment-cryptography"
    PKCS11 = "pkcs11"
    LOCAL = "local"


class Gives(StrEnum):
    """What a custodian of BDKs hands out: the nearest to the BDK that ever reaches this process."""

    INITIAL_KEY = "initial-key"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """``form`` is that of its key names.

    ``injected_elsewhere``: serves terminals that others injected under X9.24. ``imports``: takes a BDK from a ceremony.
    """

    form: re.Pattern[str]
    example: str
    algorithms: frozenset[BDKAlgorithm]
    gives: Gives
    injected_elsewhere: bool
    wraps_keys: bool
    imports: bool
    in_production: bool
    key_variants: frozenset[KeyVariant]
    modes: frozenset[Mode]


_DUKPT = frozenset(BDKAlgorithm) - {BDKAlgorithm.DEVICE_AEAD}

LOCAL_SCHEME = "local:"


def _arn(service: str) -> re.Pattern[str]:
    return re.compile(
        rf"arn:aws(-[a-z]+)*:{service}:[a-z]+(-[a-z0-9]+)+:[0-9]{{12}}:key/[A-Za-z0-9-]{{1,64}}"
    )


CAPABILITIES: Mapping[Custodian, Capabilities] = {
    Custodian.AWS_KMS: Capabilities(
        form=_arn("kms"),
        example="arn:aws:kms:REGION:ACCOUNT:key/ID",
        algorithms=frozenset(BDKAlgorithm),
        gives=Gives.INITIAL_KEY,
        injected_elsewhere=False,
        wraps_keys=True,
        imports=False,
        in_production=True,
        key_variants=frozenset(KeyVariant),
        modes=frozenset(Mode),
    ),
    Custodian.AWS_PAYMENT_CRYPTOGRAPHY: Capabilities(
        form=_arn("payment-cryptography"),
        example="arn:aws:payment-cryptography:REGION:ACCOUNT:key/ID",
        algorithms=_DUKPT,
        gives=Gives.PLAINTEXT,
        injected_elsewhere=True,
        wraps_keys=False,
        imports=False,
        in_production=True,
        key_variants=frozenset(KeyVariant) - {KeyVariant.PIN},
        modes=frozenset({Mode.CBC, Mode.ECB}),
    ),
    Custodian.PKCS11: Capabilities(
        form=re.compile(r"pkcs11:.+"),
        example="pkcs11:token=NAME;object=NAME",
        algorithms=frozenset(BDKAlgorithm),
        gives=Gives.INITIAL_KEY,
        injected_elsewhere=True,
        wraps_keys=True,
        imports=True,
        in_production=True,
        key_variants=frozenset(KeyVariant),
        modes=frozenset(Mode),
    ),
    Custodian.LOCAL: Capabilities(
        form=re.compile(rf"{LOCAL_SCHEME}.+"),
        example="local:NAME",
        algorithms=frozenset(BDKAlgorithm),
        gives=Gives.INITIAL_KEY,
        injected_elsewhere=True,
        wraps_keys=True,
        imports=True,
        in_production=False,
        key_variants=frozenset(KeyVariant),
        modes=frozenset(Mode),
    ),
}


class CustodyError(OperatorError, ValueError):
    """A key is named, or asked for something, that its custodian does not have. The text says what and why."""


@lru_cache
def custodian_of(key_uri: str) -> Custodian:
    """Raises CustodyError for a name of no known form."""
    for custodian, capabilities in CAPABILITIES.items():
        if capabilities.form.fullmatch(key_uri):
            return custodian
    if key_uri.startswith("arn:") and ":alias/" in key_uri:
        raise CustodyError("a key is named by its own ARN: an alias can be pointed at another key")
    forms = ", ".join(capabilities.example for capabilities in CAPABILITIES.values())
    raise CustodyError(f"a key is named in one of these forms: {forms}")


def capabilities_of(key_uri: str) -> Capabilities:
    return CAPABILITIES[custodian_of(key_uri)]


def check_bdk(bdk: BaseDerivationKey) -> None:
    """Raises CustodyError for a BDK that its custodian cannot serve as it is to be registered."""
    custodian = custodian_of(bdk.key_uri)
    can = CAPABILITIES[custodian]
    if bdk.algorithm not in can.algorithms:
        raise CustodyError(f"{custodian} does not derive {bdk.algorithm} keys")
    if bdk.allow_pin_variant and KeyVariant.PIN not in can.key_variants:
        raise CustodyError(f"{custodian} does not decrypt data under the PIN variant")
    check_profile(bdk, bdk.profile)


def check_profile(bdk: BaseDerivationKey, profile: DeviceProfile) -> None:
    """Raises CustodyError for a profile of terminals that this BDK cannot serve, whoever holds it, or that its custodian cannot."""
    check_payload(bdk, profile)
    scheme = bdk.algorithm.scheme
    if profile.scheme not in (None, scheme):
        raise CustodyError(f"the key {bdk.bdk_id} serves {scheme}, not {profile.scheme}")
    if profile.key_variant is KeyVariant.PIN and not bdk.allow_pin_variant:
        raise CustodyError(
            f"the PIN variant is not allowed for {bdk.bdk_id}: that key is registered without --allow-pin-variant"
        )
    if scheme is Scheme.DEVICE_AEAD and profile.over(DeviceProfile(scheme)) != DeviceProfile(
        scheme
    ):
        raise CustodyError(
            "device-aead fixes cipher, mode and IV itself: leave them out of the profile"
        )
    if scheme is Scheme.DUKPT_TDES:
        _check_tdes(profile)
    elif (
        profile.cipher in _AES_KEY_BYTES
        and _AES_KEY_BYTES[profile.cipher] > bdk.algorithm.key_bytes
    ):
        raise CustodyError(f"{profile.cipher} is stronger than a key of {bdk.algorithm}")
    _check_iv(profile, profile.over(bdk.encryption_defaults))


# X9.24-3 6.3.5: a working key is never stronger than the key that it is derived from. TDES of either length is weaker than any.
_AES_KEY_BYTES = {Cipher.AES_128: 16, Cipher.AES_192: 24, Cipher.AES_256: 32}


def _check_iv(profile: DeviceProfile, settled: DeviceProfile) -> None:
    if profile.iv is None or settled.cipher is None:
        return
    if settled.mode is Mode.ECB:
        raise CustodyError("ecb has no IV: leave it out of the profile")
    if len(profile.iv) != block_bytes(settled.cipher):
        raise CustodyError(
            f"the IV must be {block_bytes(settled.cipher)} bytes for {settled.cipher}"
        )


def _check_tdes(profile: DeviceProfile) -> None:
    if profile.cipher not in (None, Cipher.TDES_2KEY, Cipher.AES_128):
        raise CustodyError(f"there is no {profile.cipher} under a TDES key")
    if profile.key_variant is KeyVariant.DATA_BOTH:
        raise CustodyError("the variant data-both exists under AES DUKPT only")


def check_payload(bdk: BaseDerivationKey, profile: DeviceProfile | Encryption) -> None:
    """Raises CustodyError for payloads that the custodian of the BDK cannot decrypt."""
    custodian = custodian_of(bdk.key_uri)
    can = CAPABILITIES[custodian]
    if profile.key_variant is not None and profile.key_variant not in can.key_variants:
        raise CustodyError(
            f"{custodian} does not decrypt data under the {profile.key_variant} variant"
        )
    if profile.mode is not None and profile.mode not in can.modes:
        raise CustodyError(f"{custodian} does not decrypt in mode {profile.mode}")
    if (
        can.gives is Gives.PLAINTEXT
        and bdk.algorithm is BDKAlgorithm.TDES_2KEY
        and profile.cipher not in {None, Cipher.TDES_2KEY}
    ):
        raise CustodyError(f"{custodian} does not decrypt {profile.cipher} under a TDES key")


def check_gives_initial_keys(bdk: BaseDerivationKey) -> None:
    """Raises CustodyError for a custodian that keeps initial keys to itself."""
    custodian = custodian_of(bdk.key_uri)
    if CAPABILITIES[custodian].gives is not Gives.INITIAL_KEY:
        raise CustodyError(
            f"{custodian} gives no initial keys to this service, so no terminal is provisioned here."
            " Export them with its own tools: for AWS, `export-key` with ExportDukptInitialKey,"
            " and then `payment-token devices register`"
        )


def check_kek(key_uri: str) -> None:
    """Raises CustodyError for a key that cannot wrap service keys."""
    custodian = custodian_of(key_uri)
    if not CAPABILITIES[custodian].wraps_keys:
        raise CustodyError(
            f"{custodian} does not wrap keys: name a key of {_wrapping_custodians()}"
        )


def check_imports(key_uri: str) -> None:
    """Raises CustodyError for a custodian that takes keys with its own tools only."""
    custodian = custodian_of(key_uri)
    if not CAPABILITIES[custodian].imports:
        raise CustodyError(
            f"{custodian} takes keys with its own tools only."
            " Import the key there, then name it with `payment-token bdk register`"
        )


def _wrapping_custodians() -> str:
    names = [name for name, can in CAPABILITIES.items() if can.wraps_keys and can.in_production]
    return " or ".join(names)
