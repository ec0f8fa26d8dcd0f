"""Card readers in software, under the base derivation key that the field publishes for tests."""

from collections.abc import Sequence

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.readers import idtech_emv, magtek_emv, online_message
from payment_token.cli.readers.tracks import FrameBuilder, Tracks
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, tdes
from payment_token.domain.dukpt.payload_key import payload_key
from payment_token.domain.payload_cipher import decrypt, encrypt
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

BDK = SecretKey(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
KSN_TEXT = "FFFF9876543210E00008"
TRACKS = Tracks.of(PUBLISHED_CARDS[0])
SERIAL = "B1234567890"

BUILDERS: dict[str, tuple[Container, FrameBuilder]] = {
    "idtech-emv": (Container.IDTECH_EMV, idtech_emv.with_attributes),
    "idtech-emv-newer": (Container.IDTECH_EMV, idtech_emv.with_masked_twins),
    "magtek-emv": (Container.MAGTEK_EMV, magtek_emv.without_mac),
    "miura-tlv": (Container.MIURA_TLV, online_message.miura),
    "bbpos-tlv": (Container.BBPOS_TLV, online_message.bbpos),
}


def ksn() -> KSN:
    return KSN.from_hex(KSN_TEXT, Scheme.DUKPT_TDES)


def data_key(of: KSN) -> SecretKey:
    path = DerivationPath(of.scheme, initial_key(BDK, of))
    return payload_key(path.transaction_key(of), of, KeyVariant.DATA_REQUEST, Cipher.TDES_2KEY)


def mac_key(of: KSN) -> SecretKey:
    path = DerivationPath(of.scheme, initial_key(BDK, of))
    return tdes.variant_key(path.transaction_key(of), tdes.MAC_REQUEST_MASK)


def encrypting(clear: bytes, of: KSN | None = None) -> bytes:
    padded = SensitiveBytes(clear + bytes(-len(clear) % 8))
    return encrypt(data_key(of or ksn()), Cipher.TDES_2KEY, Mode.CBC, None, padded)


def decrypted(ciphertexts: Sequence[bytes], ksn_text: str = KSN_TEXT) -> list[SensitiveBytes]:
    key = data_key(KSN.from_hex(ksn_text, Scheme.DUKPT_TDES))
    return [decrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, text) for text in ciphertexts]


def built(name: str) -> bytes:
    return BUILDERS[name][1](ksn(), encrypting, TRACKS, SERIAL)
