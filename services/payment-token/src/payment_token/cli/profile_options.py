"""A device profile as options say it: by name, ``--profile magtek-swipe``, or in pairs, ``--profile cipher=aes-128,mode=cbc``."""

from collections.abc import Callable

import typer

from payment_token.cli.deployment import with_pool
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.reader_profiles import BUILT_IN, PROFILE_NAME, NamedProfile
from payment_token.infrastructure.database.device_profiles import PostgresDeviceProfiles
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

_IV_BYTES = (8, 16)

KeyVariantOption = typer.Option(None, "--key-variant")
CipherOption = typer.Option(None, "--cipher")
ModeOption = typer.Option(None, "--mode")
IVOption = typer.Option(None, "--iv", metavar="HEX", help="A fixed initialisation vector.")
ContainerOption = typer.Option(
    None, "--container", help="The reader's message in which its ciphertexts come."
)


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
    "container": Container,
}


def chosen_profile(settings: Callable[[], Settings], text: str | None) -> DeviceProfile:
    """Of a BDK: a name, or pairs. ``settings`` are asked for an operator's own profiles only. Raises ConfigurationError."""
    if text is None or not PROFILE_NAME.fullmatch(text):
        return parse_profile(text)
    if text in BUILT_IN:
        return BUILT_IN[text].profile
    return with_pool(settings(), lambda pool: named_profile(pool, text)).profile


async def named_profile(pool: Pool, name: str) -> NamedProfile:
    """Raises ConfigurationError."""
    named = await PostgresDeviceProfiles(pool).find(name)
    if named is None:
        raise ConfigurationError(
            f"--profile: there is no profile {name}. `payment-token devices profiles` lists them."
        )
    return named


def parse_profile(text: str | None) -> DeviceProfile:
    """Raises ConfigurationError. The scheme is left out: the algorithm of the key settles it."""
    values: dict[str, object] = {}
    for pair in text.split(",") if text else ():
        name, _, value = pair.strip().partition("=")
        if name not in _PARSERS or name in values:
            raise ConfigurationError(
                f"--profile: pairs NAME=VALUE, separated by commas; the names are {', '.join(_PARSERS)}, once each."
                " Or the name of a profile, as `payment-token devices profiles` lists them."
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


def spoken(profile: DeviceProfile) -> str:
    """What a profile fixes, in one line."""
    said = [
        str(value)
        for value in (profile.scheme, profile.key_variant, profile.cipher, profile.mode)
        if value
    ]
    if profile.iv is not None:
        said.append(f"IV {profile.iv.hex()}")
    if profile.container is not None:
        said.append(f"in {profile.container}")
    return " ".join(said)
