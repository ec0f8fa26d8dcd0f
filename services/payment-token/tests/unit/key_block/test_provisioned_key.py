"""The key of a terminal that leaves: read with psec, as a key-injection facility would."""

import pytest

from payment_token.domain import dukpt
from payment_token.domain.device_aead import AEADKeyName, device_key
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.key_block import KeyBlockError, KeyBlockVersion, RefusedKeyBlockError
from payment_token.domain.key_block.provisioned_key import provisioned_key_block
from payment_token.domain.key_check_value import aes_check_value, tdes_check_value
from payment_token.domain.sensitive import SecretKey
from tests.unit.key_block.key_block_vectors import PSEC_WARNS, tr31

pytestmark = PSEC_WARNS

KSNS = {
    BDKAlgorithm.TDES_2KEY: "FFFF9876543210E00000",
    BDKAlgorithm.AES_128: "123456789012345600000000",
    BDKAlgorithm.AES_192: "123456789012345600000000",
    BDKAlgorithm.AES_256: "123456789012345600000000",
}


@pytest.mark.parametrize("algorithm", list(KSNS))
def test_an_initial_key_is_a_block_of_usage_b1_that_names_its_ksn(algorithm: BDKAlgorithm) -> None:
    bdk = SecretKey(bytes(range(algorithm.key_bytes)))
    ksn = KSN.of_any_counter(KSNS[algorithm], algorithm.scheme)
    key = dukpt.initial_key(bdk, ksn)
    kbpk = SecretKey(bytes(range(32)))

    block = provisioned_key_block(kbpk, KeyBlockVersion.AES, algorithm, ksn, key)

    header, read = tr31.unwrap(kbpk.reveal(), block)
    tdes = algorithm is BDKAlgorithm.TDES_2KEY
    assert read == key.reveal()
    assert str(header)[5:12] == ("B1TX00N" if tdes else "B1AX00N")
    check_value = tdes_check_value(key) if tdes else aes_check_value(key)
    assert dict(header.blocks) == {
        ("KS" if tdes else "IK"): "FFFF9876543210E00000" if tdes else "1234567890123456",
        "KC": ("00" if tdes else "01") + check_value,
        "KP": "01" + aes_check_value(kbpk),
    }


def test_a_key_of_device_aead_is_an_encryption_key_that_names_its_epoch() -> None:
    name = AEADKeyName(MerchantId("m_1"), DeviceId("till-1"), 7)
    key = device_key(SecretKey(bytes(range(32))), name)
    kbpk = SecretKey(bytes(range(32)))

    block = provisioned_key_block(kbpk, KeyBlockVersion.AES, BDKAlgorithm.DEVICE_AEAD, name, key)

    header, read = tr31.unwrap(kbpk.reveal(), block)
    assert read == key.reveal()
    assert str(header)[5:12] == "D0AE00N"
    assert header.blocks["LB"] == "key-epoch=7"


@pytest.mark.parametrize("size", [16, 24])
def test_a_tdes_kbpk_makes_a_block_of_version_b(size: int) -> None:
    kbpk = SecretKey(bytes(range(size)))
    ksn = KSN.of_any_counter(KSNS[BDKAlgorithm.TDES_2KEY], BDKAlgorithm.TDES_2KEY.scheme)
    key = SecretKey(bytes(range(60, 76)))

    block = provisioned_key_block(kbpk, KeyBlockVersion.TDES, BDKAlgorithm.TDES_2KEY, ksn, key)

    header, read = tr31.unwrap(kbpk.reveal(), block)
    assert block[0] == "B"
    assert read == key.reveal()
    assert header.blocks["KP"] == "00" + tdes_check_value(kbpk)


@pytest.mark.parametrize(
    ("version", "size", "algorithm"),
    [
        (KeyBlockVersion.TDES, 16, BDKAlgorithm.AES_128),
        (KeyBlockVersion.TDES, 24, BDKAlgorithm.AES_128),
        (KeyBlockVersion.TDES, 24, BDKAlgorithm.DEVICE_AEAD),
        (KeyBlockVersion.AES, 16, BDKAlgorithm.AES_192),
        (KeyBlockVersion.AES, 24, BDKAlgorithm.AES_256),
        (KeyBlockVersion.AES, 16, BDKAlgorithm.DEVICE_AEAD),
    ],
)
def test_a_weaker_kbpk_is_refused(
    version: KeyBlockVersion, size: int, algorithm: BDKAlgorithm
) -> None:
    name = AEADKeyName(MerchantId("m_1"), DeviceId("till-1"), 7)
    with pytest.raises(RefusedKeyBlockError, match="weaker"):
        provisioned_key_block(
            SecretKey(bytes(range(size))),
            version,
            algorithm,
            name,
            SecretKey(bytes(range(algorithm.key_bytes))),
        )


@pytest.mark.parametrize(
    ("version", "size"), [(KeyBlockVersion.TDES, 32), (KeyBlockVersion.AES, 40)]
)
def test_a_kbpk_of_an_impossible_size_is_refused(version: KeyBlockVersion, size: int) -> None:
    ksn = KSN.of_any_counter(KSNS[BDKAlgorithm.TDES_2KEY], BDKAlgorithm.TDES_2KEY.scheme)
    with pytest.raises(KeyBlockError):
        provisioned_key_block(
            SecretKey(bytes(range(size))),
            version,
            BDKAlgorithm.TDES_2KEY,
            ksn,
            SecretKey(bytes(range(16))),
        )
