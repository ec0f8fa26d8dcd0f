"""A device profile as options say it: ``--profile cipher=aes-128,mode=cbc``."""

from collections.abc import Callable

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode
from payment_token.domain.device_profile import DeviceProfile
from payment_token.settings import ConfigurationError

_IV_BYTES = (8, 16)


def _block(text: str) -> bytes:
    """One block of TDES or AES, in hexadecimal. Raises ValueError."""
    block = bytes.fromhex(text)
    if len(block) not in _IV_BYTES:
        raise ValueError
    return block


_PARSERS: dict[str, Callable[[str], object]] = {
    "key-variant": KeyVariant,
    "cipher": Cipher,
    "mode": Mode,
    "iv": _block,
}


def parse_profile(text: str | None) -> DeviceProfile:
    """Raises ConfigurationError. The scheme is left out: the algorithm of the key settles it."""
    values: dict[str, object] = {}
    for pair in text.split(",") if text else ():
        name, _, value = pair.strip().partition("=")
        if name not in _PARSERS or name in values:
            raise ConfigurationError(
                f"--profile: pairs NAME=VALUE, separated by commas; the names are {', '.join(_PARSERS)}, once each."
            )
        try:
            values[name] = _PARSERS[name](value)
        except ValueError:
            raise ConfigurationError(f"--profile: {name} has no value of this name.") from None
    return DeviceProfile(**{name.replace("-", "_"): value for name, value in values.items()})  # type: ignore[arg-type]


def initialisation_vector(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return _block(text)
    except ValueError:
        raise ConfigurationError(
            "--iv: must be one block in hexadecimal: 16 digits for TDES, 32 for AES."
        ) from None
