"""Which combination of scheme, key, variant, cipher, mode and IV makes card data of a payload, or comes closest.

1. read the KSN as it may be meant
2. try every combination under each
3. if none fits: cut what is no whole block, and try again
4. if none comes close: try the counters beside
5. if none fits: try the keys that are published for tests
6. put what was found in order, and say what the service would make of it
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from payment_token.domain.diagnosis.advice import advised
from payment_token.domain.diagnosis.attempts import InitialKeyTried
from payment_token.domain.diagnosis.inquiry import Closest, Diagnosis, Finding, Inquiry
from payment_token.domain.diagnosis.neighbours import neighbours
from payment_token.domain.diagnosis.published_keys import (
    PUBLISHED_KEYS,
    initial_key_of_published,
)
from payment_token.domain.diagnosis.ranking import in_order, why_the_first
from payment_token.domain.diagnosis.remark import Mistake, Remark
from payment_token.domain.diagnosis.search import Search
from payment_token.domain.diagnosis.written import KSNReading, read_ksn
from payment_token.domain.enrolment import BaseDerivationKey

# Reading the counters beside for more keys than this would take longer than a person waits.
_MOST_NEIGHBOURS = 400
_FARTHEST = 32
_MOST_CLOSEST = 5
_TDES_BLOCK, _AES_BLOCK = 8, 16


def diagnose(
    inquiry: Inquiry, bdks: Sequence[BaseDerivationKey], initial_key_tried: InitialKeyTried
) -> Diagnosis:
    """Never raises for what a payload is; ``initial_key_tried`` may raise what its custodian raises."""
    # 1.
    readings, remarks = read_ksn(inquiry.ksn)
    search = Search(inquiry, list(bdks), initial_key_tried)
    published = Search(inquiry, list(PUBLISHED_KEYS), initial_key_of_published)
    # 2. to 5.
    findings = (
        list(_as_given(search, readings))
        or list(_in_whole_blocks(search, readings))
        or list(_beside(search, readings))
        or list(_as_given(published, readings))
    )
    # 6.
    ordered = in_order(findings, bdks)
    return Diagnosis(
        findings=tuple(advised(found, inquiry, bdks) for found in ordered),
        why=why_the_first(ordered, bdks),
        closest=() if ordered else _nearest(search.closest),
        remarks=(*remarks, *_general(inquiry, readings, search, ordered)),
        keys=len(bdks),
        combinations=search.combinations + published.combinations,
    )


def _as_given(search: Search, readings: list[KSNReading]) -> Iterator[Finding]:
    for reading in readings:
        for found in search.thorough(reading.ksn, search.inquiry.ciphertexts):
            yield _with(found, reading.remarks)


def _in_whole_blocks(search: Search, readings: list[KSNReading]) -> Iterator[Finding]:
    """Of one ciphertext that has a length, a MAC or a line end with it."""
    ciphertexts = search.inquiry.ciphertexts
    if search.inquiry.frame is not None or not any(len(text) % _TDES_BLOCK for text in ciphertexts):
        return
    longer = any(len(text) % _AES_BLOCK > _TDES_BLOCK for text in ciphertexts)
    for block in (_TDES_BLOCK, _AES_BLOCK) if longer else (_TDES_BLOCK,):
        at_end = [text[: len(text) - len(text) % block] for text in ciphertexts]
        in_front = [text[len(text) % block :] for text in ciphertexts]
        for where, cut in (("last", at_end), ("first", in_front)):
            for reading in readings if all(cut) else ():
                for found in search.thorough(reading.ksn, cut):
                    yield _with(found, (*reading.remarks, _not_part_of_it(where, block)))


def _beside(search: Search, readings: list[KSNReading]) -> Iterator[Finding]:
    if search.closest:
        return  # The key is the right one, so the KSN is as well.
    likely = [reading for reading in readings[:1] if search.keys_for(reading.ksn)]
    for reading in likely:
        keys = len(search.keys_for(reading.ksn))
        reach = max(1, min(_FARTHEST, _MOST_NEIGHBOURS // (2 * keys)))
        for step, ksn in neighbours(reading.ksn, reach):
            found = [
                _with(finding, (*reading.remarks, _off_by(step)))
                for finding in search.quick(ksn, search.inquiry.ciphertexts)
            ]
            if found:
                yield from found
                return


def _with(found: Finding, remarks: tuple[Remark, ...]) -> Finding:
    return Finding(found.attempt, found.reading, found.container, (*found.remarks, *remarks))


def _off_by(step: int) -> Remark:
    counter = f"{abs(step)} {'higher' if step > 0 else 'lower'}"
    return Remark(
        Mistake.KSN_OFF,
        f"The counter of the KSN is not the one that encrypted: that is {counter}. Take the KSN of the read itself,"
        " before the terminal counts on.",
    )


def _not_part_of_it(where: str, block: int) -> Remark:
    return Remark(
        Mistake.NOT_WHOLE_BLOCKS,
        f"The {where} bytes, which make no whole block of {block}, are none of the ciphertext: leave them out.",
    )


def _nearest(closest: list[Closest]) -> tuple[Closest, ...]:
    """One for each key and ciphertext: modes that share a first block are all alike there."""
    usual_first = sorted(
        closest,
        key=lambda near: (
            near.clue.rank,
            -near.clue.blocks,
            near.attempt.variant is None,
            near.part,
        ),
    )
    best: dict[object, Closest] = {}
    for near in usual_first:
        attempt = near.attempt
        name = (attempt.bdk.bdk_id, attempt.variant, attempt.oddity, attempt.cipher, near.part)
        best.setdefault(name, near)
    return tuple(best.values())[:_MOST_CLOSEST]


def _general(
    inquiry: Inquiry, readings: list[KSNReading], search: Search, ordered: list[Finding]
) -> Iterator[Remark]:
    """What is wrong where nothing was found."""
    if ordered or not readings:
        return
    yield from dict.fromkeys(chain.from_iterable(reading.remarks for reading in readings[:1]))
    if any(len(text) % _TDES_BLOCK for text in inquiry.ciphertexts):
        yield Remark(
            Mistake.NOT_WHOLE_BLOCKS,
            "A ciphertext is no whole blocks of 8 or 16 bytes: invalid_field. Was it cut, or does something else come"
            " with it?",
        )
    scheme = readings[0].ksn.scheme
    if not search.keys_for(readings[0].ksn):
        yield Remark(
            Mistake.OTHER_SCHEME,
            f"By its length the KSN is one of {scheme}, and none of the {len(search.bdks)} keys can serve that."
            f" Import the key of these terminals: payment-token bdk import",
        )
    elif not search.closest:
        tried = len({key.bdk.bdk_id for key in search.keys_for(readings[0].ksn)})
        yield Remark(
            Mistake.WRONG_KEY,
            f"None of {tried} keys of {scheme} makes anything of it, nor of the counters beside: the base derivation"
            " key is another one, or KSN and ciphertext are of two different reads.",
        )
