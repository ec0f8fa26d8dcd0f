"""What a terminal sends: encrypted parts of one read, and how they were encrypted."""

from dataclasses import dataclass, field
from enum import StrEnum

from payment_token.domain.sensitive import SensitiveBytes


class Scheme(StrEnum):
    """How a terminal gets the key of a payload."""

    DUKPT_TDES = "dukpt-tdes"  # ANSI X9.24-1:2009
    DUKPT_AES = "dukpt-aes"  # ANSI X9.24-3:2017
    DEVICE_AEAD = "device-aead"  # see device_aead.py


class KeyVariant(StrEnum):
    """Which working key of a transaction encrypted the payload.

    ``PIN`` exists because MagTek swipe readers encrypt tracks so; PIN blocks themselves are refused everywhere.
    """

    DATA_REQUEST = "data-request"
    DATA_RESPONSE = "data-response"
    DATA_BOTH = "data-both"  # AES DUKPT only
    PIN = "pin"


class Cipher(StrEnum):
    TDES_2KEY = "tdes-2key"
    TDES_3KEY = "tdes-3key"
    AES_128 = "aes-128"
    AES_192 = "aes-192"
    AES_256 = "aes-256"


class Mode(StrEnum):
    CBC = "cbc"
    ECB = "ecb"
    OFB = "ofb"


class PartFormat(StrEnum):
    """What a part is once decrypted."""

    TRACK1 = "track1"  # ISO/IEC 7813
    TRACK2 = "track2"  # ISO/IEC 7813
    TRACK3 = "track3"  # ISO/IEC 4909; taken and discarded
    EMV_TLV = "emv-tlv"  # BER-TLV, EMV Book 3 Annex B
    CARD_JSON = "card-json"


class Container(StrEnum):
    """A whole message of a reader, which holds ciphertexts, their KSN and more; see ``reader_frames``."""

    IDTECH_MSR = "idtech-msr"
    IDTECH_EMV = "idtech-emv"
    MAGTEK_SWIPE = "magtek-swipe"
    MAGTEK_EMV = "magtek-emv"
    MIURA_TLV = "miura-tlv"
    BBPOS_TLV = "bbpos-tlv"


@dataclass(frozen=True, slots=True)
class ReaderFrame:
    """``frame`` is cardholder data although its tracks are encrypted: it holds masked tracks, and hashes of them in clear."""

    container: Container
    frame: SensitiveBytes


@dataclass(frozen=True, slots=True)
class EncryptedPart:
    format: PartFormat
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EncryptedPayload:
    """A payload as the request states it. What is ``None`` is left to the device's profile or to the scheme.

    A DUKPT payload has a ``ksn``, one of ``device-aead`` a ``key_epoch``. Either it has ``parts``, or it is one ``frame``, which
    states the KSN itself.
    """

    parts: tuple[EncryptedPart, ...]
    ksn: str | None = None
    key_epoch: int | None = None
    scheme: Scheme | None = None
    key_variant: KeyVariant | None = None
    cipher: Cipher | None = None
    mode: Mode | None = None
    iv: bytes | None = None
    frame: ReaderFrame | None = None
