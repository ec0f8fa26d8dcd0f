"""What the service would make of a payload as it is sent now, and what to change."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from payment_token.domain.device_payload import KeyVariant
from payment_token.domain.diagnosis.inquiry import Finding, Inquiry
from payment_token.domain.diagnosis.published_keys import digits_of, is_published
from payment_token.domain.diagnosis.ranking import chosen_by_service
from payment_token.domain.diagnosis.remark import Mistake, Remark
from payment_token.domain.enrolment import BaseDerivationKey

_FAULTS = {
    "luhn": "The check digit of the card number is wrong: refused under CARD_CHECKS=strict. A made-up card, or a"
    " ciphertext that was changed.",
    "expiry": "The card's expiry has a month that does not exist: refused under CARD_CHECKS=strict.",
    "two-pans": "The parts hold two card numbers: decryption_failed. They are of two reads, or the ciphertext was changed.",
    "two-expiries": "The parts hold two expiry dates: decryption_failed. They are of two reads.",
    "duplicate-part": "Two parts are of one format: decryption_failed. Send each once.",
    "pin-data": "There is PIN data in it, which this service never takes: decryption_failed.",
}


def advised(found: Finding, inquiry: Inquiry, bdks: Sequence[BaseDerivationKey]) -> Finding:
    """The finding with all that can be said of it."""
    advice = (
        *_faults(found),
        *_odd_key(found),
        *_formats(found, inquiry),
        *_stated(found, inquiry),
        *_unused_iv(found, inquiry),
        *_key(found, bdks),
        *_profile(found),
    )
    return replace(found, remarks=(*found.remarks, *advice))


def _faults(found: Finding) -> Iterator[Remark]:
    for stage in found.reading.faults:
        text = _FAULTS.get(stage, f"The service refuses it at {stage}: decryption_failed.")
        yield Remark(Mistake.REFUSED, text)
    if found.reading.card is None and not found.reading.faults:
        text = "There is no card number in it: by itself it is decryption_failed (no-pan). Send it with the other parts."
        yield Remark(Mistake.REFUSED, text)


def _odd_key(found: Finding) -> Iterator[Remark]:
    if found.attempt.oddity:
        yield Remark(
            Mistake.OTHER_PROFILE,
            f"The payload is under {found.attempt.oddity}: no profile has that, and the service never decrypts so."
            " Correct the software that encrypts.",
        )


def _formats(found: Finding, inquiry: Inquiry) -> Iterator[Remark]:
    pairs = zip(inquiry.formats, found.reading.parts, strict=False)
    for number, (stated, part) in enumerate(pairs, 1):
        if stated not in (None, part.format):
            text = f"Ciphertext {number} is {part.form}: send it as {part.format}, not as {stated}."
            yield Remark(Mistake.OTHER_FORMAT, text)


def _stated(found: Finding, inquiry: Inquiry) -> Iterator[Remark]:
    """A message may say under which variant and cipher it is, and then the service goes by that."""
    frame, attempt = inquiry.frame, found.attempt
    if frame is None:
        return
    for name, says, is_under in (
        ("key variant", frame.key_variant, attempt.variant),
        ("cipher", frame.cipher, attempt.cipher),
    ):
        if says not in (None, is_under):
            yield Remark(
                Mistake.STATED_OTHERWISE,
                f"The message states the {name} {says}, and is under {is_under}: decryption_failed. Correct the setting of"
                " the reader.",
            )


def _unused_iv(found: Finding, inquiry: Inquiry) -> Iterator[Remark]:
    if inquiry.iv is not None and found.attempt.iv is None:
        yield Remark(Mistake.UNUSED_IV, "The IV is the zero block, or none: leave it out.")


def _key(found: Finding, bdks: Sequence[BaseDerivationKey]) -> Iterator[Remark]:
    attempt, name = found.attempt, found.attempt.bdk.bdk_id
    if is_published(attempt.bdk):
        yield _import_published(attempt.bdk)
        return
    if attempt.algorithm is not attempt.bdk.algorithm:
        yield Remark(
            Mistake.OTHER_ALGORITHM,
            f"The key {name} is registered for {attempt.bdk.algorithm} and was made for {attempt.algorithm}. Import it"
            f" again with --algorithm {attempt.algorithm}.",
        )
        return
    chosen = chosen_by_service(bdks, attempt.ksn)
    if chosen is None or chosen.bdk_id != name:
        takes = "takes no key" if chosen is None else f"takes {chosen.bdk_id}"
        yield Remark(
            Mistake.OTHER_KEY,
            f"Without a registration the service {takes} for this KSN. Register the device with --bdk {name}, or import"
            " the key with a --ksn-prefix.",
        )
    if attempt.variant is KeyVariant.PIN and not attempt.bdk.allow_pin_variant:
        yield Remark(
            Mistake.PIN_VARIANT,
            f"The key {name} does not allow the pin variant: invalid_field. Import it with --allow-pin-variant.",
        )


def _import_published(bdk: BaseDerivationKey) -> Remark:
    return Remark(
        Mistake.PUBLISHED_KEY,
        "The terminal has a key that is published for tests, and this deployment has not. Import it: payment-token bdk"
        f" import --id {bdk.bdk_id} --algorithm {bdk.algorithm} --component {digits_of(bdk)}",
    )


def _profile(found: Finding) -> Iterator[Remark]:
    bdk = found.attempt.bdk
    if (
        found.attempt.variant is None
        or is_published(bdk)
        or found.attempt.algorithm is not bdk.algorithm
    ):
        return
    taken, found_profile = bdk.profile.over(bdk.encryption_defaults), found.profile
    names = ("key_variant", "cipher", "mode", "iv", "container")
    other = [name for name in names if getattr(taken, name) != getattr(found_profile, name)]
    if other:
        words = ", ".join(name.replace("_", "-") for name in other)
        yield Remark(
            Mistake.OTHER_PROFILE,
            f"Neither the profile of {bdk.bdk_id} nor its defaults have this {words}. Give the profile to the device or the"
            " key. In development a request may say it instead; elsewhere it is refused.",
        )
