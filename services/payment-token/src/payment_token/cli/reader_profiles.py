"""How the readers of each family encrypt, by the names that ``simulate`` takes."""

from collections.abc import Mapping

from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile


def _tdes(
    container: Container | None = None,
    variant: KeyVariant = KeyVariant.DATA_REQUEST,
    cipher: Cipher = Cipher.TDES_2KEY,
) -> DeviceProfile:
    return DeviceProfile(Scheme.DUKPT_TDES, variant, cipher, Mode.CBC, container=container)


# Under AES DUKPT the cipher is left to the size of the key.
READER_PROFILES: Mapping[str, DeviceProfile] = {
    "generic-tdes": _tdes(),
    "generic-aes": DeviceProfile(Scheme.DUKPT_AES, KeyVariant.DATA_REQUEST, mode=Mode.CBC),
    "idtech-msr": _tdes(Container.IDTECH_MSR),
    "idtech-msr-aes": _tdes(Container.IDTECH_MSR, cipher=Cipher.AES_128),
    "idtech-emv": _tdes(Container.IDTECH_EMV),
    "magtek-swipe": _tdes(Container.MAGTEK_SWIPE, KeyVariant.PIN),
    "magtek-emv": _tdes(Container.MAGTEK_EMV),
    "miura": _tdes(Container.MIURA_TLV),
    "bbpos": _tdes(Container.BBPOS_TLV),
    "device-aead": DeviceProfile(Scheme.DEVICE_AEAD),
}
