import itertools
from enum import StrEnum

import pytest

from payment_token.domain.card_data import CardChecksPolicy, mask, read_card
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.sensitive import SensitiveBytes
from tests.unit.card_data.card_reads import (
    EMV,
    NOW,
    OTHER_PAN,
    PAN,
    TRACK1,
    TRACK2,
    TRACK3,
    read,
    refusal,
    shown,
    tlv,
    typed,
)

SWIPE = (("track1", TRACK1), ("track2", TRACK2), ("track3", TRACK3))
CHIP = ("emv-tlv", tlv(EMV))
TYPED = ("card-json", typed())


def test_three_tracks_are_one_swipe():
    card = read(*SWIPE)
    assert card.pan_part.pan.reveal() == PAN
    assert (card.pan_part.exp_month, card.pan_part.exp_year) == (12, 2030)
    assert shown(card.pan_part.cardholder_name) == "DOE/JANE"
    assert shown(card.sad_part.service_code) == "201"
    assert shown(card.sad_part.track1) == TRACK1
    assert shown(card.sad_part.track2) == TRACK2
    assert card.sad_part.emv is None
    assert card.sad_part.cvv is None
    assert card.entry_mode == "swipe"


@pytest.mark.parametrize("parts", list(itertools.permutations((*SWIPE, CHIP, TYPED))))
def test_the_order_of_parts_does_not_matter(parts):
    card = read(*parts)
    assert card == read(*SWIPE, CHIP, TYPED)
    assert card.entry_mode == "chip"
    assert shown(card.sad_part.track2) == TRACK2
    assert shown(card.sad_part.cvv) == "123"
    assert shown(card.pan_part.cardholder_name) == "DOE/JANE"


@pytest.mark.parametrize(
    ("parts", "mode"),
    [
        ([SWIPE[0]], "swipe"),
        ([SWIPE[1], TYPED], "swipe"),
        ([CHIP], "chip"),
        ([("emv-tlv", tlv(EMV[:-2] + "07")), *SWIPE], "contactless"),
        ([TYPED], "manual"),
        ([TYPED, SWIPE[2]], "manual"),
    ],
)
def test_the_entry_mode_follows_from_the_parts(parts, mode):
    assert read(*parts).entry_mode == mode


def test_a_field_may_come_from_any_part():
    card = read(("track2", f";{PAN}==="), ("card-json", typed(cvv=None)))
    assert (card.pan_part.exp_month, card.pan_part.exp_year) == (12, 2030)
    assert shown(card.pan_part.cardholder_name) == "Jane Doe"


def test_a_card_without_sad_has_no_sad_part():
    assert read(("card-json", typed(cvv=None))).sad_part is None


REFUSED = {
    "nothing": ([], "no-pan"),
    "only track 3": ([SWIPE[2]], "no-pan"),
    "EMV without PAN": ([("emv-tlv", tlv("9A03241223"))], "no-pan"),
    "track 1 twice": ([SWIPE[0], SWIPE[0]], "duplicate-part"),
    "track 3 twice": ([*SWIPE, SWIPE[2]], "duplicate-part"),
    "tracks of two cards": (
        [SWIPE[0], ("track2", TRACK2.replace(PAN, OTHER_PAN))],
        "two-pans",
    ),
    "chip and stripe of two cards": (
        [CHIP, ("track2", TRACK2.replace(PAN, OTHER_PAN))],
        "two-pans",
    ),
    "chip and typed": ([CHIP, ("card-json", typed(pan=OTHER_PAN))], "two-pans"),
    "tracks of two expiries": (
        [SWIPE[0], ("track2", TRACK2.replace("3012", "3112"))],
        "two-expiries",
    ),
    "chip and typed of two expiries": ([CHIP, ("card-json", typed(exp_month=11))], "two-expiries"),
    "one part is not card data": ([SWIPE[0], ("track2", "garbage")], "track2-syntax"),
    "track 3 is not text": ([SWIPE[0], ("track3", "\x01\x02")], "track3-syntax"),
}


@pytest.mark.parametrize("policy", CardChecksPolicy)
@pytest.mark.parametrize(("parts", "stage"), REFUSED.values(), ids=REFUSED)
def test_is_refused(parts, stage, policy):
    assert refusal(read, *parts, policy=policy) == stage


def test_a_format_that_is_not_card_data_is_refused():
    class Container(StrEnum):
        FRAME = "vendor-frame"

    parts = [
        (PartFormat.TRACK2, SensitiveBytes(TRACK2.encode())),
        (Container.FRAME, SensitiveBytes(b"")),
    ]
    assert refusal(read_card, parts, CardChecksPolicy.LENIENT, NOW) == "part-format"


def test_the_masked_card_is_what_may_be_shown():
    masked = mask(read(*SWIPE, CHIP))
    assert (masked.brand, masked.bin, masked.last4) == ("visa", "411111", "1111")
    assert (masked.exp_month, masked.exp_year) == (12, 2030)
    assert masked.entry_mode == "chip"
    assert (masked.checks.luhn, masked.checks.expired, masked.checks.expiry_valid) == (
        True,
        False,
        True,
    )
