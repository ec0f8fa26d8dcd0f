"""Device profiles by name: those of the reader families, and the rules for an operator's own.

What a family of readers does is in its maker's manuals, and no payload says it: MagTek's swipe readers encrypt tracks under the PIN
variant, ID TECH's "AES" is AES-128 under the data key of a *TDES* DUKPT, and neither fails loudly when it is guessed wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.errors import CleartextCardDataError, InvalidFieldError

PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

LONGEST_DESCRIPTION = 200


@dataclass(frozen=True, slots=True)
class NamedProfile:
    name: str
    profile: DeviceProfile
    description: str


def _tdes(
    container: Container | None = None,
    cipher: Cipher = Cipher.TDES_2KEY,
    key_variant: KeyVariant = KeyVariant.DATA_REQUEST,
) -> DeviceProfile:
    return DeviceProfile(
        Scheme.DUKPT_TDES, key_variant, cipher, Mode.CBC, iv=None, container=container
    )


BUILT_IN: Mapping[str, NamedProfile] = {
    named.name: named
    for named in (
        NamedProfile(
            "generic-tdes",
            _tdes(),
            "KSN and ciphertexts from an SDK or a gateway: TDES DUKPT, data key",
        ),
        NamedProfile(
            "generic-aes",
            DeviceProfile(Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, mode=Mode.CBC),
            "The same under AES DUKPT (KSN of 12 bytes); the cipher is of the size of the BDK",
        ),
        NamedProfile(
            "idtech-msr-tdes",
            _tdes(Container.IDTECH_MSR),
            "ID TECH swipe readers, original and enhanced format, set to TDES",
        ),
        NamedProfile(
            "idtech-msr-aes",
            _tdes(Container.IDTECH_MSR, Cipher.AES_128),
            "The same, set to AES: AES-128 under a TDES DUKPT key (KSN of 10 bytes)",
        ),
        NamedProfile(
            "idtech-emv-tdes",
            _tdes(Container.IDTECH_EMV),
            "ID TECH chip and contactless readers (VP3300, Augusta, Kiosk, Spectrum), set to TDES",
        ),
        NamedProfile(
            "idtech-emv-aes",
            _tdes(Container.IDTECH_EMV, Cipher.AES_128),
            "The same, set to AES: AES-128 under a TDES DUKPT key (KSN of 10 bytes)",
        ),
        NamedProfile(
            "magtek-swipe",
            _tdes(Container.MAGTEK_SWIPE, key_variant=KeyVariant.PIN),
            "MagTek swipe readers: tracks under the PIN variant, which the BDK must allow",
        ),
        NamedProfile(
            "magtek-emv",
            _tdes(Container.MAGTEK_EMV),
            "MagTek chip readers (eDynamo, tDynamo): container F9, data key",
        ),
        NamedProfile("miura", _tdes(Container.MIURA_TLV), "Miura readers: DFAE02, DFAE03"),
        NamedProfile(
            "bbpos",
            _tdes(Container.BBPOS_TLV),
            "BBPOS readers (WisePad, Chipper): C0, C2; three initial keys a reader",
        ),
        NamedProfile("dspread", _tdes(Container.BBPOS_TLV), "DSPREAD readers (QPOS): C0, C2"),
        NamedProfile(
            "device-aead",
            DeviceProfile(Scheme.DEVICE_AEAD),
            "Terminals that we provision: AES-256-GCM under a key of their own",
        ),
    )
}


def checked_profile(name: str, profile: DeviceProfile, description: str) -> NamedProfile:
    """An operator's own. Raises InvalidFieldError, CleartextCardDataError."""
    if not PROFILE_NAME.fullmatch(name):
        raise InvalidFieldError("name", "must be 1 to 64 of a-z 0-9 . _ -")
    if name in BUILT_IN:
        raise InvalidFieldError("name", "is that of a built-in profile")
    if profile == DeviceProfile():
        raise InvalidFieldError("profile", "says nothing: name a scheme, a cipher, a container …")
    if len(description) > LONGEST_DESCRIPTION or not (description or "x").isprintable():
        raise InvalidFieldError(
            "description", f"must be at most {LONGEST_DESCRIPTION} printable characters"
        )
    if find_card_number(description):
        raise CleartextCardDataError("description")
    return NamedProfile(name, profile, description)
