"""Key components, as the custodians of a key ceremony bring them: one to three hexadecimal strings that are XORed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import typer

from payment_token.cli.terminal import console
from payment_token.domain.custody import Custodian, custodian_of
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.key_block import KeyBlockVersion
from payment_token.domain.key_check_value import (
    aes_check_value,
    key_check_value,
    tdes_check_value,
)
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.private_file import readable_by_others
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.settings import ConfigurationError, Settings

MOST_COMPONENTS = 3


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What the components are to make. ``sizes`` are in bytes."""

    name: str
    sizes: tuple[int, ...]
    check_value: Callable[[SecretKey], str]

    @classmethod
    def of_bdk(cls, algorithm: BDKAlgorithm) -> Self:
        return cls(algorithm, (algorithm.key_bytes,), lambda key: key_check_value(key, algorithm))

    @classmethod
    def of_kbpk(cls, version: KeyBlockVersion) -> Self:
        if version is KeyBlockVersion.TDES:
            return cls("a TDES key block protection key", (16, 24), tdes_check_value)
        return cls("an AES key block protection key", (16, 24, 32), aes_check_value)


def read_component(path: Path, option: str, settings: Settings) -> SensitiveText:
    """Raises ConfigurationError for a file that cannot be read, or outside development one that others can read too."""
    try:
        text = SensitiveText(path.read_text())
        open_to_others = readable_by_others(path)
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{option}: {path} cannot be read.") from None
    if open_to_others and not settings.in_development:
        raise ConfigurationError(f"{option}: {path} can be read by others: chmod 600 it.")
    return text


def collect(form: KeyForm, given: Sequence[SensitiveText], prompts: int) -> list[SecretKey]:
    """The components that were given, else as many as ``prompts`` says, asked for. Raises ConfigurationError."""
    forbid_core_dumps()
    if given:
        return [_parsed(text, number, form) for number, text in enumerate(given, 1)]
    asked = []
    for number in range(1, prompts + 1):
        text = typer.prompt(f"Component {number} of {prompts} of {form.name}", hide_input=True)
        component = _parsed(SensitiveText(text), number, form)
        # Each custodian compares this with the paper, before the next one is called in.
        console.print(f"Component {number} has the check value {form.check_value(component)}.")
        asked.append(component)
    return asked


def _parsed(component: SensitiveText, number: int, form: KeyForm) -> SecretKey:
    text = "".join(component.reveal().split())
    raw = b""
    if text.isascii() and text.isalnum():
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
    if len(raw) not in form.sizes:
        digits = " or ".join(str(size * 2) for size in form.sizes)
        raise ConfigurationError(
            f"Component {number} must be {digits} hexadecimal digits for {form.name}."
        )
    return SecretKey(raw)


def combine(components: Sequence[SecretKey]) -> SecretKey:
    """Parity bits of TDES keys are neither checked nor adjusted: DUKPT uses all bits as they are.

    Raises ConfigurationError for components that are not of one size, or of which one is there twice.
    """
    if not 1 <= len(components) <= MOST_COMPONENTS:
        raise ConfigurationError("A key comes in one to three components.")
    raw = [component.reveal() for component in components]
    size = len(raw[0])
    if any(len(component) != size for component in raw):
        raise ConfigurationError("The components are not all of the same length.")
    if len(set(raw)) != len(raw):
        # The two cancel each other out, and what is left is known to one person, or is zero.
        raise ConfigurationError("The same component was given twice.")
    total = 0
    for component in raw:
        total ^= int.from_bytes(component, "big")
    if not total:
        raise ConfigurationError("The components make a key of zeros: one of them is wrong.")
    return SecretKey(total.to_bytes(size, "big"))


def check_dual_control(components: int, key_uri: str) -> None:
    """Before anybody types. Raises ConfigurationError where one person would know a whole key of real terminals."""
    if components == 1 and custodian_of(key_uri) is not Custodian.LOCAL:
        raise ConfigurationError(
            "A key in one piece is taken for the development keystore only: nobody may know a whole key."
            " Bring it in two or three components."
        )
