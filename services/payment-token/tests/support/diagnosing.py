"""Payloads as terminals make them, and the keys to diagnose them with."""

from collections.abc import Sequence
from datetime import UTC, datetime

from payment_token.domain import dukpt
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.diagnosis import Diagnosis, Inquiry, diagnose
from payment_token.domain.dukpt import KSN, payload_key
from payment_token.domain.dukpt.derivation_path import DerivationPath
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.payload_cipher import block_bytes, encrypt
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TDES_BDK = "25693E95BB31F5B83F93365AAAE3E7CE"
AES_BDK = "C5FEE6F35906E615FC64271555FDDF42"
TDES_KSN = "B8A399BB993218A00001"
AES_KSN = "F9762022ED55DF3800000001"
TRACK1 = b"%B4111111111111111^DOE/JANE^30122010000000123000000?"
TRACK2 = b";4111111111111111=30122010000012345678?"


class Keys:
    """The BDKs of a development keystore, by id: key and algorithm."""

    def __init__(self, **keys: tuple[str, str]) -> None:
        self._clear = {name: SecretKey(bytes.fromhex(key)) for name, (key, _) in keys.items()}
        self.bdks = [
            BaseDerivationKey(name, f"local:{name}", BDKAlgorithm(algorithm))
            for name, (_, algorithm) in keys.items()
        ]

    def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        return dukpt.initial_key(self._clear[bdk.bdk_id], ksn)


TWO_KEYS = Keys(tdes=(TDES_BDK, "tdes-2key"), aes=(AES_BDK, "aes-128"))


def transaction_key(bdk: str, ksn: KSN) -> SecretKey:
    initial = dukpt.initial_key(SecretKey(bytes.fromhex(bdk)), ksn)
    return DerivationPath(ksn.scheme, initial).transaction_key(ksn)


def encrypted(
    clear: bytes,
    profile: DeviceProfile,
    bdk: str = TDES_BDK,
    ksn: str = TDES_KSN,
    *,
    key: SecretKey | None = None,
) -> bytes:
    """Under a profile that says everything but the container; padded with zeros unless it is whole blocks."""
    assert profile.scheme
    assert profile.cipher
    assert profile.mode
    read = KSN.of_any_counter(ksn, profile.scheme)
    if key is None:
        assert profile.key_variant
        key = payload_key(transaction_key(bdk, read), read, profile.key_variant, profile.cipher)
    if profile.mode is not Mode.OFB:
        clear += bytes(-len(clear) % block_bytes(profile.cipher))
    return encrypt(key, profile.cipher, profile.mode, profile.iv, SensitiveBytes(clear))


def tdes(
    variant: KeyVariant = KeyVariant.DATA_REQUEST,
    cipher: Cipher = Cipher.TDES_2KEY,
    mode: Mode = Mode.CBC,
    iv: bytes | None = None,
) -> DeviceProfile:
    return DeviceProfile(BDKAlgorithm.TDES_2KEY.scheme, variant, cipher, mode, iv)


def aes(
    variant: KeyVariant = KeyVariant.DATA_REQUEST,
    cipher: Cipher = Cipher.AES_128,
    mode: Mode = Mode.CBC,
    iv: bytes | None = None,
) -> DeviceProfile:
    return DeviceProfile(BDKAlgorithm.AES_128.scheme, variant, cipher, mode, iv)


def diagnosed(
    *ciphertexts: bytes,
    ksn: str = TDES_KSN,
    keys: Keys = TWO_KEYS,
    formats: Sequence[PartFormat | None] = (),
    iv: bytes | None = None,
) -> Diagnosis:
    stated = (*formats, *[None] * (len(ciphertexts) - len(formats)))
    return diagnose(Inquiry(ksn, ciphertexts, stated, NOW, iv), keys.bdks, keys.initial_key)


def mistakes(diagnosis: Diagnosis) -> set[str]:
    """Of the first finding, and of the whole."""
    first = diagnosis.findings[0].remarks if diagnosis.findings else ()
    return {str(remark.mistake) for remark in (*first, *diagnosis.remarks)}
