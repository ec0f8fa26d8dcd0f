"""``payment-token diagnose``: finds out how a payload was encrypted, or why it does not decrypt."""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer

from payment_token.cli import diagnosis_report as report
from payment_token.cli.deployment import load_settings, with_custody
from payment_token.cli.diagnosis_input import of_frame, of_parts, read_ciphertexts
from payment_token.cli.terminal import console
from payment_token.domain.custody import Custodian, custodian_of
from payment_token.domain.device_aead import MOST_KEY_EPOCH, AEADKeyName
from payment_token.domain.device_payload import Container, PartFormat, Scheme
from payment_token.domain.device_registry import checked_device, checked_merchant
from payment_token.domain.diagnosis import (
    AEADFinding,
    Diagnosis,
    Inquiry,
    diagnose_aead,
)
from payment_token.domain.diagnosis import diagnose as diagnose_payload
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.local_keystore import LocalKeystore
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

Result = TypeVar("Result")

_EPOCHS_BESIDE = 8


def diagnose(
    ciphertext: list[str] = typer.Argument(
        None, metavar="[CIPHERTEXT]…", help="Hexadecimal or base64; - is lines of standard input."
    ),
    ksn: str | None = typer.Option(
        None, "--ksn", metavar="HEX", help="The KSN of the read; a --frame states it itself."
    ),
    part: list[PartFormat] = typer.Option(
        [], "--part", help="What the ciphertexts are said to be, in their order."
    ),
    frame: str | None = typer.Option(
        None, "--frame", metavar="FILE|-|HEX", help="A whole message of a reader."
    ),
    container: Container | None = typer.Option(
        None, "--container", help="What --frame is. Default: whatever it can be."
    ),
    bdk: list[str] = typer.Option(
        [], "--bdk", metavar="ID", help="Keys to try. Default: all of the development keystore."
    ),
    iv: str | None = typer.Option(None, "--iv", metavar="HEX", help="An IV that may be meant."),
    merchant: str | None = typer.Option(None, "--merchant", help="Of a device-aead terminal."),
    device_id: str | None = typer.Option(None, "--device-id", help="Of a device-aead terminal."),
    key_epoch: int = typer.Option(
        1, "--key-epoch", min=0, max=MOST_KEY_EPOCH, help="Of a device-aead terminal."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Find out how a payload was encrypted, or why it does not decrypt. Development keystore only."""
    settings = load_settings()
    _check_development(settings)
    now = datetime.now(UTC)
    if frame is not None:
        if ciphertext or ksn is not None or part:
            raise ConfigurationError(
                "--frame brings KSN and ciphertexts: leave out --ksn, --part and ciphertexts."
            )
        _answer(_diagnosed(settings, of_frame(frame, container, iv, now), bdk), (), as_json=as_json)
        return
    texts, before = read_ciphertexts(ciphertext or [])
    if merchant is not None and device_id is not None and ksn is None:
        names = _key_names(device_id, merchant, key_epoch)
        opened = _opened(settings, texts, names, bdk)
        _print(as_json, report.aead_document(opened, before), report.aead_lines(opened, before))
        _end(found=bool(opened) and all(one and one.reading for one in opened))
        return
    inquiry = of_parts(ksn, texts, part, iv, now) if texts else None
    _answer(_diagnosed(settings, inquiry, bdk), before, as_json=as_json)


def _answer(diagnosis: Diagnosis, before: Sequence[Any], *, as_json: bool) -> None:
    _print(as_json, report.document(diagnosis, before), report.lines(diagnosis, before))
    _end(found=report.verdict(diagnosis) == "found")


def _end(*, found: bool) -> None:
    if not found:
        raise typer.Exit(1)


def _print(as_json: bool, document: dict[str, Any], lines: Iterable[str]) -> None:
    text = json.dumps(document, indent=1) if as_json else "\n".join(lines)
    console.print(text, markup=False)


def _check_development(settings: Settings) -> None:
    # Whoever can ask this can decrypt what is not theirs, and learns more of a ciphertext than an API ever tells.
    if settings.in_production:
        raise ConfigurationError(
            "Payloads are diagnosed outside production only. Take one of a test card, with a test key, and diagnose it in"
            " development."
        )


def _key_names(device_id: str, merchant: str, key_epoch: int) -> tuple[AEADKeyName, ...]:
    """That of the epoch, and those of the epochs beside."""
    device, owner = checked_device(device_id), checked_merchant(merchant)
    first, last = max(0, key_epoch - _EPOCHS_BESIDE), min(
        MOST_KEY_EPOCH, key_epoch + _EPOCHS_BESIDE
    )
    nearest_first = sorted(range(first, last + 1), key=lambda epoch: abs(epoch - key_epoch))
    return tuple(AEADKeyName(owner, device, epoch) for epoch in nearest_first)


def _diagnosed(settings: Settings, inquiry: Inquiry | None, chosen: list[str]) -> Diagnosis:
    if inquiry is None:
        return Diagnosis((), "", (), (), 0, 0)

    async def search(bdks: list[BaseDerivationKey], keystore: LocalKeystore) -> Diagnosis:
        dukpt = [bdk for bdk in bdks if bdk.algorithm.scheme is not Scheme.DEVICE_AEAD]
        return diagnose_payload(inquiry, dukpt, keystore.initial_key_tried)

    return _with_keys(settings, chosen, search)


def _opened(
    settings: Settings, texts: list[bytes], names: tuple[AEADKeyName, ...], chosen: list[str]
) -> list[AEADFinding | None]:
    async def search(
        bdks: list[BaseDerivationKey], keystore: LocalKeystore
    ) -> list[AEADFinding | None]:
        aead = [bdk for bdk in bdks if bdk.algorithm.scheme is Scheme.DEVICE_AEAD]
        keys = [(bdk, name, await keystore.device_key(bdk, name)) for name in names for bdk in aead]
        return [diagnose_aead(text, keys, datetime.now(UTC)) for text in texts]

    return _with_keys(settings, chosen, search)


def _with_keys(
    settings: Settings,
    chosen: list[str],
    work: Callable[[list[BaseDerivationKey], LocalKeystore], Awaitable[Result]],
) -> Result:
    async def run(pool: Pool, custodians: Custodians) -> Result:
        known = [one.bdk for one in await PostgresDeviceDirectory(pool).list_bdks()]
        return await work(_tried(known, chosen), custodians.local_keystore)

    return with_custody(settings, run)


def _tried(known: list[BaseDerivationKey], chosen: list[str]) -> list[BaseDerivationKey]:
    """Raises ConfigurationError for a key that is not there, or that another custodian has."""
    missing = set(chosen) - {bdk.bdk_id for bdk in known}
    if missing:
        raise ConfigurationError(
            f"--bdk: there is no key {min(missing)}. `payment-token bdk list` shows them."
        )
    named = [bdk for bdk in known if not chosen or bdk.bdk_id in chosen]
    ours = [bdk for bdk in named if custodian_of(bdk.key_uri) is Custodian.LOCAL]
    if chosen and len(ours) < len(named):
        other = next(bdk for bdk in named if bdk not in ours)
        raise ConfigurationError(
            f"--bdk: {other.bdk_id} is with {custodian_of(other.key_uri)}. A diagnosis works with the development"
            " keystore alone: try the same payload of a test card under a test key."
        )
    if not ours:
        raise ConfigurationError(
            "There is no key in the development keystore. Import one: payment-token bdk import"
        )
    return ours
