"""Several combinations may give the same card. Which one is meant, and why."""

from collections.abc import Sequence
from contextlib import suppress

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode
from payment_token.domain.diagnosis.inquiry import Finding
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Enrolment, choose_bdk
from payment_token.domain.errors import PaymentTokenError

_VARIANTS, _MODES, _CIPHERS = tuple(KeyVariant), tuple(Mode), tuple(Cipher)


def in_order(findings: Sequence[Finding], bdks: Sequence[BaseDerivationKey]) -> list[Finding]:
    """The likeliest first. What only almost fits is left out where something does."""
    findings = list({found.attempt: found for found in reversed(findings)}.values())
    settled = [found for found in findings if found.settled]
    return sorted(settled or findings, key=lambda found: _rank(found, bdks))


def chosen_by_service(bdks: Sequence[BaseDerivationKey], ksn: KSN) -> BaseDerivationKey | None:
    """The key that the service takes for a KSN when no registration names one; ``None`` where it refuses."""
    with suppress(PaymentTokenError):
        return choose_bdk(Enrolment(None, bdks), str(ksn), ksn.scheme)
    return None


def why_the_first(ordered: Sequence[Finding], bdks: Sequence[BaseDerivationKey]) -> str:
    """Empty where only one fits."""
    if len(ordered) < 2:  # noqa: PLR2004
        return ""
    first, second = ordered[0].attempt, ordered[1].attempt
    if first.bdk.bdk_id != second.bdk.bdk_id:
        others = sorted({found.attempt.bdk.bdk_id for found in ordered} - {first.bdk.bdk_id})
        return (
            f"{first.bdk.bdk_id} and {', '.join(others)} are the same key:"
            f" {_why_this_key(first.bdk, chosen_by_service(bdks, first.ksn))}."
        )
    if first.mode is not second.mode:
        return (
            f"with one block, {first.mode} and {second.mode} under a zero IV are the same: {first.mode} is what"
            " terminals do, and the default. A longer read would tell."
        )
    if first.iv != second.iv:
        return "the IV that was given does not matter here: the zero block fits as well."
    return (
        "it is the most usual of those that fit. Another read would tell: try one that is longer."
    )


def _why_this_key(bdk: BaseDerivationKey, chosen: BaseDerivationKey | None) -> str:
    if chosen is not None and chosen.bdk_id == bdk.bdk_id:
        return f"the service takes {bdk.bdk_id} for this KSN"
    return f"neither serves this KSN without a registration, so either may be named; {bdk.bdk_id} is the first"


def _rank(found: Finding, bdks: Sequence[BaseDerivationKey]) -> tuple[object, ...]:
    attempt = found.attempt
    chosen = chosen_by_service(bdks, attempt.ksn)
    return (
        len(found.reading.faults),
        attempt.variant is None,
        len(found.remarks),
        attempt.algorithm is not attempt.bdk.algorithm,
        chosen is None or chosen.bdk_id != attempt.bdk.bdk_id,
        _VARIANTS.index(attempt.variant) if attempt.variant else 0,
        _MODES.index(attempt.mode),
        attempt.iv is not None,
        _CIPHERS.index(attempt.cipher),
    )
