"""A BDK out of the file that holds its key block."""

from collections.abc import Sequence
from pathlib import Path

from payment_token.cli.protection_key import enter_protection_key
from payment_token.cli.terminal import console
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.key_block import (
    KeyBlockHeader,
    MalformedKeyBlockError,
    UnverifiedKeyBlockError,
)
from payment_token.domain.key_block.header import MOST_CHARACTERS
from payment_token.domain.key_block.received_key import ReceivedBDK, check_algorithm, receive_bdk
from payment_token.domain.sensitive import SecretKey
from payment_token.settings import ConfigurationError, Settings

_MOST_BYTES = MOST_CHARACTERS + 100
"""With room for white space around it."""


def bdk_from_key_block(
    settings: Settings,
    path: Path,
    bdk: BaseDerivationKey,
    kbpk_files: Sequence[Path],
    prompts: int,
) -> SecretKey:
    """Raises ConfigurationError, or KeyBlockError for what is no block of such a key."""
    # What cannot be taken is refused before anybody types a component.
    check_algorithm(bdk.algorithm)
    text = _read(path)
    header, _ = KeyBlockHeader.parse(text)
    kbpk, check_value = enter_protection_key(
        settings, header.version, kbpk_files, prompts, bdk.key_uri
    )
    received = _receive(kbpk, check_value, text, bdk)
    console.print(f"The protection key of the block has the check value {check_value}.")
    if received.key_set is not None:
        console.print(f"The block says that it is for KSNs of {received.key_set}.")
    return received.key


def _receive(kbpk: SecretKey, check_value: str, text: str, bdk: BaseDerivationKey) -> ReceivedBDK:
    try:
        return receive_bdk(kbpk, text, bdk.algorithm)
    except MalformedKeyBlockError:
        raise
    except UnverifiedKeyBlockError as error:
        fault = str(error)
    raise ConfigurationError(
        f"{fault[:1].upper()}{fault[1:]}. The protection key as entered has the check value {check_value}:"
        " compare it with the sender's; if they agree, ask for the block again."
    )


def _read(path: Path) -> str:
    content = None
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        pass
    if content is None:
        raise ConfigurationError(f"--key-block: {path} cannot be read.")
    if len(content) > _MOST_BYTES or not content.isascii():
        raise ConfigurationError(
            f"--key-block: {path} is no key block: that is up to {MOST_CHARACTERS} ASCII characters."
        )
    return content.decode("ascii").strip()
