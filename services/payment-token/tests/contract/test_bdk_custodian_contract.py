"""What every custodian of BDKs does, as far as its row of the table of capabilities goes.

Expected values are known from elsewhere: published vectors, OpenSSL's command line, or the documented message written
out here once more. Each case says which capability it shows; the last test sees that none was left out.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import DUKPTTerminal, Encryption, new_base
from payment_token.domain import device_profile
from payment_token.domain.custody import (
    CAPABILITIES,
    Capabilities,
    Custodian,
    CustodyError,
    Gives,
    check_bdk,
    check_imports,
    check_kek,
    check_payload,
    custodian_of,
)
from payment_token.domain.decrypt_payload import DecryptPayload
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.device_payload import (
    Cipher,
    EncryptedPart,
    KeyVariant,
    Mode,
    PartFormat,
    Scheme,
)
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN, initial_key
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import DecryptionFailedError, KeyCustodianRefusedError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.settled_payload import DUKPTPayload
from payment_token.settings import ConfigurationError
from tests.contract.custodians import CIPHERS_OF_VECTORS, HeldKeys, all_that, held_keys
from tests.support.vectors import dukpt_vectors

DUKPT = [algorithm for algorithm in BDKAlgorithm if algorithm is not BDKAlgorithm.DEVICE_AEAD]
VECTORS = dukpt_vectors()
CARD_DATA = VECTORS["card_data"]
VARIANTS = {
    "pin": KeyVariant.PIN,
    "data_req": KeyVariant.DATA_REQUEST,
    "data_enc": KeyVariant.DATA_REQUEST,
    "data_both": KeyVariant.DATA_BOTH,
}
NAME = AEADKeyName(MerchantId("m_1"), DeviceId("d-1"), 7)

Capability = tuple[str, object]
Shows = Callable[..., None]

SHOWN: set[tuple[Custodian, Capability]] = set()


def gives_initial_keys(custodian: Custodian) -> bool:
    return CAPABILITIES[custodian].gives is Gives.INITIAL_KEY


def serves_x9_24(custodian: Custodian) -> bool:
    return CAPABILITIES[custodian].injected_elsewhere


@pytest.fixture(params=list(Custodian))
async def held(request: pytest.FixtureRequest) -> AsyncIterator[HeldKeys]:
    async with held_keys(request.param, request) as keys:
        yield keys


@pytest.fixture
def shows(held: HeldKeys) -> Shows:
    """Called at the end of a case: this custodian has shown these capabilities."""
    return lambda *capabilities: SHOWN.update((held.custodian, each) for each in capabilities)


only_initial_keys = pytest.mark.parametrize("held", all_that(gives_initial_keys), indirect=True)
only_x9_24 = pytest.mark.parametrize("held", all_that(serves_x9_24), indirect=True)


def published_initial_keys(algorithm: BDKAlgorithm) -> set[tuple[str, str, str]]:
    """BDK, KSN and initial key."""
    if algorithm is BDKAlgorithm.TDES_2KEY:
        section, field = VECTORS["tdes_keys"], "ipek"
    else:
        section, field = VECTORS["aes_keys"], "ik"
    size = algorithm.key_bytes * 2
    return {
        (vector["bdk"], vector["ksn"], vector["expect"][field])
        for vector in section
        if field in vector["expect"] and len(vector["bdk"]) == size
    }


@pytest.mark.parametrize("algorithm", DUKPT)
@pytest.mark.parametrize(
    "held",
    all_that(lambda one: gives_initial_keys(one) and serves_x9_24(one)),
    indirect=True,
)
async def test_the_initial_keys_of_fleets_that_others_injected_are_the_published_ones(
    held: HeldKeys, shows: Shows, algorithm: BDKAlgorithm
) -> None:
    published = published_initial_keys(algorithm)
    assert published

    for bdk_text in {key for key, _, _ in published}:
        bdk = await held.bdk(algorithm, SecretKey(bytes.fromhex(bdk_text)))
        for _, ksn_text, expected in [entry for entry in published if entry[0] == bdk_text]:
            ksn = KSN.of_any_counter(ksn_text, algorithm.scheme)
            key = await held.custodians.initial_key(bdk, ksn)
            assert key.reveal().hex().upper() == expected

    shows(("algorithms", algorithm), ("gives", Gives.INITIAL_KEY), ("injected_elsewhere", True))


@pytest.mark.parametrize("algorithm", DUKPT)
@pytest.mark.parametrize("held", [Custodian.AWS_KMS], indirect=True)
async def test_the_initial_keys_of_an_hmac_key_are_of_the_documented_message(
    held: HeldKeys, shows: Shows, algorithm: BDKAlgorithm
) -> None:
    material = bytes(range(100, 132))
    bdk = await held.bdk(algorithm, SecretKey(material))
    tdes = algorithm is BDKAlgorithm.TDES_2KEY
    ksn = KSN.from_hex(
        "FFFF9876543210E00001" if tdes else "123456789012345600000001", algorithm.scheme
    )
    name = algorithm.encode()
    key_id = bytes.fromhex("FFFF9876543210E00000" if tdes else "1234567890123456")
    message = (
        b"pts/initial-key/v1" + bytes([0, len(name)]) + name + bytes([0, len(key_id)]) + key_id
    )
    expected = hmac.digest(material, message, "sha256")

    key = await held.custodians.initial_key(bdk, ksn)

    length = {"tdes-2key": 16, "aes-128": 16, "aes-192": 24, "aes-256": 32}[algorithm]
    assert key.reveal() == expected[:length]
    shows(("algorithms", algorithm), ("gives", Gives.INITIAL_KEY))


@only_initial_keys
async def test_an_initial_key_is_the_same_for_every_counter_and_another_for_every_device(
    held: HeldKeys,
) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_256, SecretKey(bytes(range(32))))

    async def of(ksn: str) -> bytes:
        parsed = KSN.of_any_counter(ksn, Scheme.DUKPT_AES)
        return (await held.custodians.initial_key(bdk, parsed)).reveal()

    assert await of("123456789012345600000001") == await of("123456789012345600ABCDEF")
    assert await of("123456789012345600000001") != await of("123456789012345700000001")


@only_initial_keys
async def test_a_device_key_is_one_hmac_of_the_documented_message(
    held: HeldKeys, shows: Shows
) -> None:
    material = bytes(range(50, 82))
    bdk = await held.bdk(BDKAlgorithm.DEVICE_AEAD, SecretKey(material))
    message = b"pts/device-aead-key/v1" + b"\0\x03m_1" + b"\0\x03d-1" + b"\0\x04\0\0\0\x07"

    key = await held.custodians.device_key(bdk, NAME)

    assert key.reveal() == hmac.digest(material, message, "sha256")
    shows(("algorithms", BDKAlgorithm.DEVICE_AEAD))


@pytest.mark.parametrize(
    ("algorithm", "key", "expected"),
    [
        # The published check value of the test key of X9.24-1; the others by `openssl mac … CMAC`.
        (BDKAlgorithm.TDES_2KEY, "0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
        (BDKAlgorithm.AES_128, "FEDCBA9876543210F1F1F1F1F1F1F1F1", "FF0BD7"),
        (BDKAlgorithm.AES_192, "FEDCBA9876543210F1F1F1F1F1F1F1F11122334455667788", "8C357A"),
        (BDKAlgorithm.AES_256, "FEDCBA9876543210F1F1F1F1F1F1F1F1" * 2, "410EDF"),
    ],
)
@only_x9_24
async def test_check_values_are_those_of_the_standards(
    held: HeldKeys, algorithm: BDKAlgorithm, key: str, expected: str
) -> None:
    bdk = await held.bdk(algorithm, SecretKey(bytes.fromhex(key)))

    assert await held.custodians.check_value(bdk) == expected


@pytest.mark.parametrize("algorithm", [BDKAlgorithm.DEVICE_AEAD])
@only_initial_keys
async def test_the_check_value_of_an_hmac_key_is_of_a_message_of_ours(
    held: HeldKeys, algorithm: BDKAlgorithm
) -> None:
    bdk = await held.bdk(algorithm, SecretKey(b"\x11" * 32))

    # By `openssl dgst -sha256 -mac HMAC`.
    assert await held.custodians.check_value(bdk) == "93DFEA"


def encryption_of(vector: dict[str, str]) -> device_profile.Encryption:
    tdes = vector["scheme"] == "tdes-dukpt"
    return device_profile.Encryption(
        Scheme.DUKPT_TDES if tdes else Scheme.DUKPT_AES,
        VARIANTS[vector["key_variant"]],
        CIPHERS_OF_VECTORS[vector["cipher"]],
        Mode(vector["mode"].lower()),
        bytes.fromhex(vector["iv"]),
    )


def algorithm_of(vector: dict[str, str]) -> BDKAlgorithm:
    if vector["scheme"] == "tdes-dukpt":
        return BDKAlgorithm.TDES_2KEY
    return BDKAlgorithm(f"aes-{len(vector['bdk']) * 4}")


def profile_of(encryption: device_profile.Encryption) -> DeviceProfile:
    return DeviceProfile(**{f.name: getattr(encryption, f.name) for f in fields(encryption)})


def decrypt_payload(held: HeldKeys) -> DecryptPayload:
    return DecryptPayload(
        DeviceKeys(held.custodians, lambda: 0.0, lambda: 0.5),
        held.custodians,
        CryptographyState(lambda _: None),
    )


@pytest.mark.parametrize("vector", CARD_DATA, ids=lambda vector: vector["id"])
@only_x9_24
async def test_what_published_readers_sent_decrypts_or_is_refused_at_registration(
    held: HeldKeys, shows: Shows, vector: dict[str, str]
) -> None:
    encryption, algorithm = encryption_of(vector), algorithm_of(vector)
    bdk = await held.bdk(
        algorithm, SecretKey(bytes.fromhex(vector["bdk"])), profile=profile_of(encryption)
    )
    bdk = replace(bdk, allow_pin_variant=encryption.key_variant is KeyVariant.PIN)
    if not table_allows(CAPABILITIES[held.custodian], algorithm, encryption):
        with pytest.raises(CustodyError, match="does not decrypt"):
            check_bdk(bdk)
        return
    check_bdk(bdk)
    ksn = KSN.of_any_counter(vector["ksn"], encryption.scheme)
    part = EncryptedPart(PartFormat.TRACK2, bytes.fromhex(vector["ciphertext"]))

    ((_, plaintext),) = await decrypt_payload(held)(DUKPTPayload(bdk, ksn, encryption, (part,)))

    assert plaintext.reveal().hex().upper() == vector["plaintext_hex"]
    shows(
        ("algorithms", algorithm),
        ("gives", CAPABILITIES[held.custodian].gives),
        ("injected_elsewhere", True),
        ("key_variants", encryption.key_variant),
        ("modes", encryption.mode),
    )


def table_allows(
    can: Capabilities, algorithm: BDKAlgorithm, encryption: device_profile.Encryption
) -> bool:
    aes_under_tdes = (
        algorithm is BDKAlgorithm.TDES_2KEY and encryption.cipher is not Cipher.TDES_2KEY
    )
    return (
        encryption.key_variant in can.key_variants
        and encryption.mode in can.modes
        and not (aes_under_tdes and can.gives is Gives.PLAINTEXT)
    )


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("variant", list(KeyVariant))
async def test_a_terminal_s_read_decrypts_or_is_refused_at_registration(
    held: HeldKeys, shows: Shows, variant: KeyVariant, mode: Mode
) -> None:
    """The terminal is injected with what its custodian gives; a remote one gives none, and gets a known key."""
    secret = SecretKey(bytes(range(32)))
    encryption = device_profile.Encryption(Scheme.DUKPT_AES, variant, Cipher.AES_256, mode, None)
    bdk = await held.bdk(BDKAlgorithm.AES_256, secret, profile=profile_of(encryption))
    can = CAPABILITIES[held.custodian]
    if not table_allows(can, bdk.algorithm, encryption):
        with pytest.raises(CustodyError, match="does not decrypt"):
            check_payload(bdk, bdk.profile)
        return
    check_payload(bdk, bdk.profile)
    base = new_base(bdk)
    ksn = KSN.of_any_counter(base.hex(), Scheme.DUKPT_AES)
    injected = (
        await held.custodians.initial_key(bdk, ksn)
        if can.gives is Gives.INITIAL_KEY
        else initial_key(secret, ksn)
    )
    terminal = DUKPTTerminal("d", bdk, base, injected, Encryption(variant, mode))
    card = PUBLISHED_CARDS[0]
    ksn, ciphertext = terminal.encrypt_read(card, PartFormat.TRACK2)
    part = EncryptedPart(PartFormat.TRACK2, ciphertext)

    ((_, plaintext),) = await decrypt_payload(held)(DUKPTPayload(bdk, ksn, encryption, (part,)))

    assert card.pan.encode() in plaintext.reveal()
    shows(("gives", can.gives), ("key_variants", variant), ("modes", mode))
    shows(("algorithms", BDKAlgorithm.AES_256))


@pytest.mark.parametrize("held", [Custodian.AWS_PAYMENT_CRYPTOGRAPHY], indirect=True)
async def test_a_remote_decryptor_gives_no_key_at_all(held: HeldKeys) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_128, SecretKey(bytes(16)))
    ksn = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)

    with pytest.raises(KeyCustodianRefusedError) as refused:
        await held.custodians.initial_key(bdk, ksn)
    assert "gives no keys" in refused.value.advice


@pytest.mark.parametrize("held", [Custodian.AWS_PAYMENT_CRYPTOGRAPHY], indirect=True)
async def test_what_a_remote_decryptor_finds_no_ciphertext_is_a_failed_decryption(
    held: HeldKeys,
) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_128, SecretKey(bytes(16)))
    ksn = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)
    encryption = device_profile.Encryption(
        Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, Cipher.AES_128, Mode.CBC, None
    )

    with pytest.raises(DecryptionFailedError):
        await held.custodians.decrypt(bdk, ksn, encryption, b"\0" * 2128)


async def test_a_key_that_is_not_there_is_refused_with_advice(held: HeldKeys) -> None:
    bdk = BaseDerivationKey("b", held.unknown, BDKAlgorithm.AES_128)

    with pytest.raises(KeyCustodianRefusedError) as refused:
        await held.custodians.check_value(bdk)

    assert refused.value.advice
    assert refused.value.advice not in str(refused.value)
    assert refused.value.__context__ is None


async def test_one_missing_key_is_no_outage_for_the_others(held: HeldKeys) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_128, SecretKey(bytes(range(16))))
    missing = BaseDerivationKey("b", held.unknown, BDKAlgorithm.AES_128)

    for _ in range(3):
        with pytest.raises(KeyCustodianRefusedError):
            await held.custodians.check_value(missing)
        assert await held.custodians.check_value(bdk)


@pytest.mark.parametrize(
    "held", all_that(lambda one: one in (Custodian.LOCAL, Custodian.PKCS11)), indirect=True
)
@pytest.mark.parametrize(
    ("held_as", "asked_as"),
    [
        (BDKAlgorithm.AES_128, BDKAlgorithm.TDES_2KEY),
        (BDKAlgorithm.AES_128, BDKAlgorithm.AES_256),
        (BDKAlgorithm.TDES_2KEY, BDKAlgorithm.AES_128),
        (BDKAlgorithm.AES_256, BDKAlgorithm.DEVICE_AEAD),
        (BDKAlgorithm.DEVICE_AEAD, BDKAlgorithm.AES_256),
    ],
)
async def test_a_key_of_another_algorithm_is_refused(
    held: HeldKeys, held_as: BDKAlgorithm, asked_as: BDKAlgorithm
) -> None:
    bdk = await held.bdk(held_as, SecretKey(bytes(range(held_as.key_bytes))))

    with pytest.raises(KeyCustodianRefusedError):
        await held.custodians.check_value(BaseDerivationKey("b", bdk.key_uri, asked_as))


async def test_a_label_is_given_once(held: HeldKeys, shows: Shows) -> None:
    secret = SecretKey(bytes(range(16)))
    if not CAPABILITIES[held.custodian].imports:
        uri = held.name_for(BDKAlgorithm.AES_128, secret)
        with pytest.raises(CustodyError, match="its own tools only"):
            check_imports(uri)
        with pytest.raises(CustodyError, match="its own tools only"):
            await held.custodians.import_bdk(
                BaseDerivationKey("b", uri, BDKAlgorithm.AES_128), secret
            )
        return
    bdk = await held.bdk(BDKAlgorithm.AES_128, secret)
    check_imports(bdk.key_uri)
    value = await held.custodians.check_value(bdk)

    with pytest.raises((ConfigurationError, KeyCustodianRefusedError)) as refused:
        await held.custodians.import_bdk(bdk, SecretKey(bytes(16)))

    assert "already" in getattr(refused.value, "advice", str(refused.value))
    assert await held.custodians.check_value(bdk) == value
    await held.custodians.remove_bdk(bdk)
    with pytest.raises(KeyCustodianRefusedError):
        await held.custodians.check_value(bdk)
    shows(("imports", True))


@only_initial_keys
async def test_many_at_once_are_each_right(held: HeldKeys) -> None:
    bdk = await held.bdk(BDKAlgorithm.AES_256, SecretKey(bytes(range(32))))
    serials = [f"{number:016X}00000001" for number in range(64)]
    ksns = [KSN.from_hex(serial, Scheme.DUKPT_AES) for serial in serials]
    one_by_one = [(await held.custodians.initial_key(bdk, ksn)).reveal() for ksn in ksns]

    together = await asyncio.gather(*(held.custodians.initial_key(bdk, ksn) for ksn in ksns))

    assert [key.reveal() for key in together] == one_by_one


def test_a_kek_is_named_where_keys_are_wrapped() -> None:
    for custodian, can in CAPABILITIES.items():
        uri = EXAMPLES[custodian]
        assert custodian_of(uri) is custodian
        if can.wraps_keys:
            check_kek(uri)
        else:
            with pytest.raises(CustodyError, match="name a key of aws-kms or pkcs11"):
                check_kek(uri)


EXAMPLES = {
    Custodian.AWS_KMS: "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd",
    Custodian.AWS_PAYMENT_CRYPTOGRAPHY: "arn:aws:payment-cryptography:us-east-2:123456789012:key/abc",
    Custodian.PKCS11: "pkcs11:token=t;object=o",
    Custodian.LOCAL: "local:k",
}


@pytest.mark.parametrize("algorithm", list(BDKAlgorithm))
@pytest.mark.parametrize("custodian", list(Custodian))
def test_an_algorithm_that_a_custodian_does_not_have_is_refused_at_registration(
    custodian: Custodian, algorithm: BDKAlgorithm
) -> None:
    bdk = BaseDerivationKey("b", EXAMPLES[custodian], algorithm)
    if algorithm in CAPABILITIES[custodian].algorithms:
        check_bdk(bdk)
    else:
        with pytest.raises(CustodyError, match=f"{custodian} does not derive {algorithm} keys"):
            check_bdk(bdk)


@pytest.mark.parametrize("custodian", list(Custodian))
def test_tracks_under_the_pin_variant_are_refused_where_they_cannot_be_decrypted(
    custodian: Custodian,
) -> None:
    bdk = BaseDerivationKey(
        "b", EXAMPLES[custodian], BDKAlgorithm.TDES_2KEY, allow_pin_variant=True
    )
    if KeyVariant.PIN in CAPABILITIES[custodian].key_variants:
        check_bdk(bdk)
    else:
        with pytest.raises(CustodyError, match="PIN variant"):
            check_bdk(bdk)


@pytest.mark.parametrize(
    "uri",
    [
        "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-iso-b:kms:us-isob-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    ],
)
def test_keys_of_every_partition_of_aws_have_their_custodian(uri: str) -> None:
    assert custodian_of(uri) is Custodian.AWS_KMS


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("arn:aws:kms:us-east-1:123456789012:alias/bdk", "an alias can be pointed at another key"),
        ("arn:aws:payment-cryptography:us-east-1:123456789012:alias/x", "an alias can be pointed"),
        ("arn:aws:kms:us-east-1:123456789012:key/", "one of these forms"),
        ("arn:aws:kms:us-east-1:1234:key/abc", "one of these forms"),
        ("arn:aws:kms::123456789012:key/abc", "one of these forms"),
        ("arn:aws:kms:", "one of these forms"),
        ("arn:aws:s3:us-east-1:123456789012:key/abc", "one of these forms"),
        ("arn:aws:kms:us-east-1:123456789012:key/abc\n", "one of these forms"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "one of these forms"),
        ("alias/bdk", "one of these forms"),
        ("pkcs11:", "one of these forms"),
        ("local:", "one of these forms"),
        ("", "one of these forms"),
        ("LOCAL:x", "one of these forms"),
    ],
)
def test_what_names_no_key_is_refused(uri: str, reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        custodian_of(uri)


def test_every_capability_of_the_table_has_been_shown(request: pytest.FixtureRequest) -> None:
    module = request.node.getparent(pytest.Module)
    ran = [item for item in request.session.items if item.getparent(pytest.Module) is module]
    if len(ran) < len(module.collect()):
        pytest.skip("only a part of the contract was run")

    allowed = {
        (custodian, (name, value))
        for custodian, can in CAPABILITIES.items()
        for name, values in {
            "algorithms": can.algorithms,
            "gives": {can.gives},
            "injected_elsewhere": {True} & {can.injected_elsewhere},
            "imports": {True} & {can.imports},
            "key_variants": can.key_variants,
            "modes": can.modes,
        }.items()
        for value in values
    }
    assert allowed - SHOWN == set()
    assert SHOWN - allowed == set()
