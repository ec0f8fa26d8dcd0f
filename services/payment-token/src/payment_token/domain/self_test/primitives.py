"""Published answers of the primitives, each called as the service calls it."""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from payment_token.domain.hkdf import hkdf_expand
from payment_token.domain.self_test.known_answer import KnownAnswer

_GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
_GCM_NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
_GCM_PLAINTEXT = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
_GCM_DATA = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
_GCM_SEALED = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b"
)

_AES_BLOCK = bytes.fromhex("00112233445566778899aabbccddeeff")
_TDES_KEY = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
_TDES_BLOCKS = b"The qufck brown fox jump"

_HKDF_INPUT = bytes([0x0B]) * 22
_HKDF_SALT = bytes(range(13))
_HKDF_INFO = bytes(range(0xF0, 0xFA))
_HKDF_PRK = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
_HKDF_OUTPUT = (
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
)

_ED25519_KEY = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
_ED25519_PUBLIC_KEY = bytes.fromhex(
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
)
_ED25519_MESSAGE = bytes.fromhex("af82")
_ED25519_SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)

_OPENED = b"\x01"
_REFUSED = b"\x00"


def _block(algorithm: BlockCipherAlgorithm, block: bytes) -> bytes:
    return Cipher(algorithm, modes.ECB()).encryptor().update(block)


def _block_back(algorithm: BlockCipherAlgorithm, block: str) -> bytes:
    return Cipher(algorithm, modes.ECB()).decryptor().update(bytes.fromhex(block))


def _cmac(key: str, message: str) -> bytes:
    mac = CMAC(AES(bytes.fromhex(key)))
    mac.update(bytes.fromhex(message))
    return mac.finalize()


def _gcm_open(sealed: bytes) -> bytes:
    return AESGCM(_GCM_KEY).decrypt(_GCM_NONCE, sealed, _GCM_DATA)


def _gcm_refusal() -> bytes:
    sealed = bytearray.fromhex(_GCM_SEALED)
    sealed[-1] ^= 1
    try:
        _gcm_open(bytes(sealed))
    except InvalidTag:
        return _REFUSED
    return _OPENED


def _ed25519_sign() -> bytes:
    return Ed25519PrivateKey.from_private_bytes(_ED25519_KEY).sign(_ED25519_MESSAGE)


def _ed25519_verify(message: bytes) -> bytes:
    public_key = Ed25519PublicKey.from_public_bytes(_ED25519_PUBLIC_KEY)
    try:
        public_key.verify(bytes.fromhex(_ED25519_SIGNATURE), message)
    except InvalidSignature:
        return _REFUSED
    return _OPENED


PRIMITIVES = (
    KnownAnswer(
        "SHA-256",
        "FIPS 180-4, message abc",
        lambda: hashlib.sha256(b"abc").digest(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    KnownAnswer(
        "HMAC-SHA-256",
        "RFC 4231 §4.3",
        lambda: hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    KnownAnswer(
        "HKDF-SHA-256",
        "RFC 5869 §A.1",
        lambda: HKDF(algorithm=SHA256(), length=42, salt=_HKDF_SALT, info=_HKDF_INFO).derive(
            _HKDF_INPUT
        ),
        _HKDF_OUTPUT,
    ),
    KnownAnswer(
        "HKDF-Expand-SHA-256",
        "RFC 5869 §A.1, the first 32 bytes",
        lambda: hkdf_expand(_HKDF_PRK, _HKDF_INFO),
        _HKDF_OUTPUT[:64],
    ),
    KnownAnswer(
        "AES-128 block",
        "FIPS 197 §C.1",
        lambda: _block(AES(bytes(range(16))), _AES_BLOCK),
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    KnownAnswer(
        "AES-192 block",
        "FIPS 197 §C.2",
        lambda: _block(AES(bytes(range(24))), _AES_BLOCK),
        "dda97ca4864cdfe06eaf70a0ec0d7191",
    ),
    KnownAnswer(
        "AES-256 block",
        "FIPS 197 §C.3",
        lambda: _block(AES(bytes(range(32))), _AES_BLOCK),
        "8ea2b7ca516745bfeafc49904b496089",
    ),
    KnownAnswer(
        "AES-256 block, decrypted",
        "FIPS 197 §C.3",
        lambda: _block_back(AES(bytes(range(32))), "8ea2b7ca516745bfeafc49904b496089"),
        _AES_BLOCK.hex(),
    ),
    KnownAnswer(
        "TDES block",
        "NIST SP 800-67 rev. 1 §B.1",
        lambda: _block(TripleDES(_TDES_KEY), _TDES_BLOCKS),
        "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900",
    ),
    KnownAnswer(
        "TDES block, decrypted",
        "NIST SP 800-67 rev. 1 §B.1",
        lambda: _block_back(
            TripleDES(_TDES_KEY), "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900"
        ),
        _TDES_BLOCKS.hex(),
    ),
    KnownAnswer(
        "AES-CMAC",
        "RFC 4493 §4, example 2",
        lambda: _cmac("2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a"),
        "070a16b46b4d4144f79bdd9dd04a287c",
    ),
    KnownAnswer(
        "AES-256-GCM",
        "McGrew and Viega, The Galois/Counter Mode of Operation, test case 16",
        lambda: AESGCM(_GCM_KEY).encrypt(_GCM_NONCE, _GCM_PLAINTEXT, _GCM_DATA),
        _GCM_SEALED,
    ),
    KnownAnswer(
        "AES-256-GCM, opened",
        "the same",
        lambda: _gcm_open(bytes.fromhex(_GCM_SEALED)),
        _GCM_PLAINTEXT.hex(),
    ),
    KnownAnswer(
        "AES-256-GCM, a changed tag",
        "the same, with one bit flipped: must not open",
        _gcm_refusal,
        _REFUSED.hex(),
    ),
    KnownAnswer("Ed25519", "RFC 8032 §7.1, test 3", _ed25519_sign, _ED25519_SIGNATURE),
    KnownAnswer(
        "Ed25519, verified",
        "RFC 8032 §7.1, test 3",
        lambda: _ed25519_verify(_ED25519_MESSAGE),
        _OPENED.hex(),
    ),
    KnownAnswer(
        "Ed25519, a changed message",
        "the same, with another message: must not verify",
        lambda: _ed25519_verify(b"\xaf\x83"),
        _REFUSED.hex(),
    ),
)
