"""Published answers of what this service builds of the primitives: DUKPT, device-aead, the sealed record."""

from datetime import UTC, datetime

from payment_token.domain.device_aead import AEADKeyName, device_key, open_part
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.dukpt import KSN, aes, initial_key, payload_key, tdes
from payment_token.domain.dukpt.retail_mac import retail_mac
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.keys import NamedKey
from payment_token.domain.payload_cipher import decrypt
from payment_token.domain.sealing import Binding, Purpose, SealedRecord, open_record
from payment_token.domain.self_test.known_answer import KnownAnswer
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.token_id import TokenId

_TDES_BDK = SecretKey(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
_TDES_KSN = "FFFF9876543210E00001"
_AES_BDK = bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1")
_AES_KSN = "123456789012345600000001"
# "4012345678909D987" and zeros.
_DATA = b"4012345678909D987"

_AEAD_BDK = SecretKey(bytes(range(32)))
_AEAD_NAME = AEADKeyName(MerchantId("m_4711"), DeviceId("IDT-0042"), 1)
_AEAD_CIPHERTEXT = bytes.fromhex(
    "0000000000000000000000014a216b0fb1c5228e8873eaae2def08c64def774a4639c106"
    "cc637bde54ca36574878398c3d022f6d6564497a376dd089f2c5249c3d2116"
)
_AEAD_PLAINTEXT = b";4111111111111111=30122010000012345678?"

_RECORD_KEY = NamedKey("v1", SecretKey(bytes(range(32))))
_RECORD_BINDING = Binding(
    Purpose.PAN,
    MerchantId("m_4711"),
    TokenId.parse("pt_bcdfghjkmnpqrstvbcdfghjkmnpqrstvgbqd"),
    "production",
    datetime(2026, 7, 2, 12, 0, 0, 123456, tzinfo=UTC),
)
_RECORD = bytes.fromhex(
    "0101027631404142434445464748494a4b4c4d4e4f505152535455565758595a5b9df4d7"
    "63f5f7f68f2154ef3ee75615fdcc4deb9bf300121c6288437f2b40a994eb4aa0a9a9eb25"
    "af10cb4da9c74c5fd1606162636465666768696a6b99b6ddca9df24177cd75568d247b42"
    "484336aa33703c69f829daadeb117dd3d28c806162a843c3900d01"
)
_RECORD_PLAINTEXT = b'{"pan":"4111111111111111"}'


def _tdes_ksn() -> KSN:
    return KSN.from_hex(_TDES_KSN, Scheme.DUKPT_TDES)


def _tdes_transaction_key() -> SecretKey:
    return tdes.transaction_key(initial_key(_TDES_BDK, _tdes_ksn()), _tdes_ksn())


def _tdes_data() -> bytes:
    key = payload_key(
        _tdes_transaction_key(), _tdes_ksn(), KeyVariant.DATA_REQUEST, Cipher.TDES_2KEY
    )
    ciphertext = bytes.fromhex("FC0D53B7EA1FDA9EE68AAF2E70D9B9506229BE2AA993F04F")
    return decrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, ciphertext).reveal()


def _tdes_mac() -> bytes:
    key = tdes.variant_key(_tdes_transaction_key(), tdes.MAC_REQUEST_MASK)
    return retail_mac(key, SensitiveBytes(_DATA))


def _aes_transaction_key(bdk: bytes) -> SecretKey:
    ksn = KSN.from_hex(_AES_KSN, Scheme.DUKPT_AES)
    return aes.transaction_key(initial_key(SecretKey(bdk), ksn), ksn)


def _aes_data() -> bytes:
    key = payload_key(
        _aes_transaction_key(_AES_BDK),
        KSN.from_hex(_AES_KSN, Scheme.DUKPT_AES),
        KeyVariant.DATA_REQUEST,
        Cipher.AES_128,
    )
    ciphertext = bytes.fromhex("E5AFA5B408A3310E3D779C8A9A2AE29448BD5B4232582090DB703AF647205A79")
    return decrypt(key, Cipher.AES_128, Mode.CBC, None, ciphertext).reveal()


def _opened_part() -> bytes:
    key = device_key(_AEAD_BDK, _AEAD_NAME)
    return open_part(key, _AEAD_NAME, PartFormat.TRACK2, _AEAD_CIPHERTEXT).reveal()


def _opened_record() -> bytes:
    return open_record(SealedRecord.from_bytes(_RECORD), _RECORD_KEY, _RECORD_BINDING).reveal()


SCHEMES = (
    KnownAnswer(
        "TDES DUKPT, initial key",
        "ANSI X9.24-1:2009 §A.4.2",
        lambda: initial_key(_TDES_BDK, _tdes_ksn()).reveal(),
        "6AC292FAA1315B4D858AB3A3D7D5933A",
    ),
    KnownAnswer(
        "TDES DUKPT, transaction key",
        "ANSI X9.24-1:2009 §A.4.2",
        lambda: _tdes_transaction_key().reveal(),
        "042666B49184CFA368DE9628D0397BC9",
    ),
    KnownAnswer(
        "TDES DUKPT, data",
        "ANSI X9.24-1:2009 §A.4.2",
        _tdes_data,
        _DATA.ljust(24, b"\0").hex(),
    ),
    KnownAnswer(
        "TDES DUKPT, MAC",
        "moov-io/dukpt pkg/des/des_test.go",
        _tdes_mac,
        "9CCC78173FC4FB64",
    ),
    KnownAnswer(
        "TDES key check value",
        "X9.24-1 Annex C: the zero block under the BDK of §A.4.2",
        lambda: bytes.fromhex(key_check_value(_TDES_BDK, BDKAlgorithm.TDES_2KEY)),
        "08D7B4",
    ),
    KnownAnswer(
        "AES-128 DUKPT, transaction key",
        "ANSI X9.24-3:2017 test vectors",
        lambda: _aes_transaction_key(_AES_BDK).reveal(),
        "4F21B565BAD9835E112B6465635EAE44",
    ),
    KnownAnswer(
        "AES-256 DUKPT, transaction key",
        "ANSI X9.24-3:2017 test vectors",
        lambda: _aes_transaction_key(_AES_BDK * 2).reveal(),
        "54AC2B32B145EA4A554CB8BC44B17467063A799856B1CCC2A138D36E8DBF78B3",
    ),
    KnownAnswer(
        "AES DUKPT, data",
        "moov-io/dukpt pkg/aes/aes_test.go",
        _aes_data,
        _DATA.ljust(32, b"\0").hex(),
    ),
    KnownAnswer(
        "device-aead",
        "tests/vectors/device-aead.json, two implementations",
        _opened_part,
        _AEAD_PLAINTEXT.hex(),
    ),
    KnownAnswer(
        "sealed record",
        "tests/vectors/sealed-record-v1.json, two implementations",
        _opened_record,
        _RECORD_PLAINTEXT.hex(),
    ),
)
