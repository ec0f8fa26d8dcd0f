"""The key block protection key (KBPK) of a command: what two parties agreed on to exchange keys under."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import typer

from payment_token.cli.key_components import (
    MOST_COMPONENTS,
    KeyForm,
    check_dual_control,
    collect,
    combine,
    read_component,
)
from payment_token.domain.key_block import KeyBlockVersion
from payment_token.domain.sensitive import SecretKey
from payment_token.settings import Settings

KBPKFileOption = typer.Option(
    [],
    "--kbpk-file",
    help="A file with a component of the key block protection key; up to three are XORed.",
)
ComponentsOption = typer.Option(
    1, "--components", min=1, max=MOST_COMPONENTS, help="How many to prompt for."
)


class KBPKAlgorithm(StrEnum):
    AES = "aes"
    TDES = "tdes"

    @property
    def version(self) -> KeyBlockVersion:
        return KeyBlockVersion[self.name]


def enter_protection_key(
    settings: Settings,
    version: KeyBlockVersion,
    files: Sequence[Path],
    prompts: int,
    key_uri: str,
) -> tuple[SecretKey, str]:
    """The key and its check value. ``key_uri`` names the BDK that is at stake. Raises ConfigurationError."""
    form = KeyForm.of_kbpk(version)
    given = [read_component(path, "--kbpk-file", settings) for path in files]
    check_dual_control(len(given) or prompts, key_uri)
    kbpk = combine(collect(form, given, prompts))
    return kbpk, form.check_value(kbpk)
