"""A fleet whose keys were HKDF-SHA-256(BDK, salt=None, info) moves into AWS KMS or a token unchanged.

Extraction with no salt is HMAC-SHA-256(32 zero bytes, BDK). Imported as an HMAC key, one HMAC of info ‖ 0x01 is then the
expansion to 32 bytes (RFC 5869): the key that the terminal already has, and the BDK is needed no more.
"""

import hmac
from collections.abc import Iterator

import pkcs11
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, Session

from tests.support.aws import KMS
from tests.support.softhsm import Token

LEGACY_BDK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
INFOS = [b"", b"device-0001", b"m_4711|IDT-0042|" + bytes(range(256))]


def legacy_key(info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=info).derive(LEGACY_BDK)


def imported_material() -> bytes:
    return hmac.digest(bytes(32), LEGACY_BDK, "sha256")


@pytest.fixture
def opened(token: Token) -> Iterator[Session]:
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    with found.open(rw=True, user_pin=token.pin) as session:
        yield session


@pytest.mark.parametrize("info", INFOS)
def test_generate_mac_of_aws_kms_gives_the_legacy_key(kms: KMS, info: bytes) -> None:
    arn = kms.hmac_key(imported_material())

    answer = kms.client.generate_mac(KeyId=arn, MacAlgorithm="HMAC_SHA_256", Message=info + b"\x01")

    assert answer["Mac"] == legacy_key(info)


@pytest.mark.parametrize("info", INFOS)
def test_an_hmac_in_a_token_gives_the_legacy_key(opened: Session, info: bytes) -> None:
    key = opened.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: True,
            Attribute.VALUE: imported_material(),
        }
    )

    assert key.sign(info + b"\x01", mechanism=Mechanism.SHA256_HMAC) == legacy_key(info)
