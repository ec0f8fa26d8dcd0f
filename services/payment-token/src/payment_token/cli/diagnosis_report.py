"""What a diagnosis found, for people and for programs. Cards are masked, and no line holds a plaintext or a key."""

from collections.abc import Iterator, Sequence
from typing import Any

from payment_token.cli.profile_text import as_fields, as_options, as_profile
from payment_token.domain.card_data import MaskedCard
from payment_token.domain.diagnosis import (
    AEADFinding,
    Attempt,
    Closest,
    Diagnosis,
    Finding,
    Reading,
    Remark,
)

_INDENT = "  "


def document(diagnosis: Diagnosis, before: Sequence[Remark]) -> dict[str, Any]:
    """``before`` are remarks on how the input was written."""
    return {
        "verdict": verdict(diagnosis),
        "findings": [_finding(found) for found in diagnosis.findings],
        "why": diagnosis.why or None,
        "closest": [_closest(near) for near in diagnosis.closest],
        "remarks": [_remark(remark) for remark in (*before, *diagnosis.remarks)],
        "keys": diagnosis.keys,
        "combinations": diagnosis.combinations,
    }


def verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.findings:
        return "found" if diagnosis.findings[0].settled else "closest"
    return "closest" if diagnosis.closest else "nothing"


def lines(diagnosis: Diagnosis, before: Sequence[Remark]) -> Iterator[str]:
    yield from _as_points(before)
    if diagnosis.findings:
        yield from _found(diagnosis)
    elif diagnosis.combinations:
        yield f"Nothing in {_tried(diagnosis)} gives card data."
        yield from _nearest(diagnosis.closest)
    yield from _as_points(diagnosis.remarks)


def _found(diagnosis: Diagnosis) -> Iterator[str]:
    first, *others = diagnosis.findings
    kind = "Found" if first.settled else "Closest"
    yield f"{kind}: {_read(first.reading)}"
    yield ""
    yield from _combination(first)
    yield ""
    if first.attempt.variant is not None:
        yield from _to_paste(first)
    if others:
        yield f"{len(others)} more fit; this one is meant: {diagnosis.why}"
        yield from (f"{_INDENT}also: {_named(found.attempt)}" for found in others)
    yield from _as_points(first.remarks)


def _combination(found: Finding) -> Iterator[str]:
    attempt = found.attempt
    rows = {
        "key": attempt.bdk.bdk_id,
        "KSN": str(attempt.ksn),
        "scheme": attempt.ksn.scheme,
        "key variant": attempt.variant or f"none: {attempt.oddity}",
        "cipher": attempt.cipher,
        "mode": _mode(attempt),
    }
    if found.container is not None:
        rows["container"] = found.container
    for number, part in enumerate(found.reading.parts, 1):
        rows[f"part {number}"] = f"{part.form} ({part.format})"
    yield from (f"{_INDENT}{name:12} {value}" for name, value in rows.items())


def _to_paste(found: Finding) -> Iterator[str]:
    name = found.attempt.bdk.bdk_id
    fields = ", ".join(f'"{key}": "{value}"' for key, value in as_fields(found.profile).items())
    yield f"{_INDENT}for a device  payment-token devices register --device-id … --merchant … --bdk {name} {as_options(found.profile)}"
    yield f"{_INDENT}for its key   --profile {as_profile(found.profile)}"
    yield f"{_INDENT}in a request  {fields}"
    yield ""


def _nearest(closest: Sequence[Closest]) -> Iterator[str]:
    for near in closest:
        yield f"{_INDENT}closest: {_named(near.attempt)}: ciphertext {near.part} {near.clue.text}"


def _as_points(remarks: Sequence[Remark]) -> Iterator[str]:
    yield from (f"- {remark.text} ({remark.mistake})" for remark in remarks)


def _tried(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.combinations} combinations of {diagnosis.keys} keys"


def _named(attempt: Attempt) -> str:
    variant = attempt.variant or attempt.oddity
    return f"{attempt.bdk.bdk_id} {attempt.ksn.scheme} {variant} {attempt.cipher} {_mode(attempt)}"


def _mode(attempt: Attempt) -> str:
    if attempt.mode == "ecb":
        return "ecb, no IV"
    return f"{attempt.mode}, {'zero IV' if attempt.iv is None else 'the given IV'}"


def _read(reading: Reading) -> str:
    forms = ", ".join(part.form for part in reading.parts)
    return forms if reading.card is None else f"{forms} of {_masked(reading.card)}"


def _masked(card: MaskedCard) -> str:
    return f"{card.bin}…{card.last4} ({card.brand})"


def _finding(found: Finding) -> dict[str, Any]:
    attempt, card = found.attempt, found.reading.card
    return {
        "bdk": attempt.bdk.bdk_id,
        "algorithm": attempt.algorithm,
        "ksn": str(attempt.ksn),
        **_fields(attempt),
        "container": found.container,
        "parts": [{"format": part.format, "form": part.form} for part in found.reading.parts],
        "card": card and {"brand": card.brand, "bin": card.bin, "last4": card.last4},
        "profile": as_profile(found.profile) if attempt.variant else None,
        "register": as_options(found.profile) if attempt.variant else None,
        "remarks": [_remark(remark) for remark in found.remarks],
    }


def _closest(near: Closest) -> dict[str, Any]:
    return {
        "bdk": near.attempt.bdk.bdk_id,
        **_fields(near.attempt),
        "ciphertext": near.part,
        "why": near.clue.text,
    }


def _fields(attempt: Attempt) -> dict[str, Any]:
    return {
        "scheme": attempt.ksn.scheme,
        "key_variant": attempt.variant,
        "cipher": attempt.cipher,
        "mode": attempt.mode,
        "iv": attempt.iv and attempt.iv.hex().upper(),
        "oddity": attempt.oddity or None,
    }


def _remark(remark: Remark) -> dict[str, str]:
    return {"mistake": remark.mistake, "text": remark.text}


def aead_document(opened: Sequence[AEADFinding | None], before: Sequence[Remark]) -> dict[str, Any]:
    whole = bool(opened) and all(found and found.reading for found in opened)
    findings = [_aead_finding(found) for found in opened if found is not None]
    return {
        "verdict": "found" if whole else "closest" if findings else "nothing",
        "findings": findings,
        "remarks": [_remark(remark) for remark in before],
    }


def _aead_finding(found: AEADFinding) -> dict[str, Any]:
    card = found.reading and found.reading.card
    return {
        "bdk": found.bdk.bdk_id,
        "scheme": "device-aead",
        "key_epoch": found.name.key_epoch,
        "parts": [{"format": found.format}],
        "card": card and {"brand": card.brand, "bin": card.bin, "last4": card.last4},
    }


def aead_lines(opened: Sequence[AEADFinding | None], before: Sequence[Remark]) -> Iterator[str]:
    yield from _as_points(before)
    for number, found in enumerate(opened, 1):
        if found is None:
            yield f"Ciphertext {number}: no tag verifies."
            yield (
                "- Merchant, device, key epoch and format are bound into it: one of them, or the key, is another than the"
                " terminal's, or a byte was changed. (wrong_key)"
            )
            continue
        read = _read(found.reading) if found.reading else "the tag verifies, but it is no card data"
        yield f"Found: {read}"
        yield f"{_INDENT}{found.bdk.bdk_id} device-aead, key epoch {found.name.key_epoch}, sealed as {found.format}"
