"""What published and generated readers sent, once decrypted."""

import pytest

from payment_token.domain.card_data import CardChecksPolicy, PaymentData
from tests.unit.card_data.card_reads import VECTORS, read, refusal, shown

CARDS = [vector for vector in VECTORS["card_data"] if "expect_card" in vector]
FRAMES = [frame for frame in VECTORS["frames"] if "track1" in frame["expect"]]


def by_id(vector):
    return vector["id"]


def expiry(card: PaymentData) -> str:
    return f"{card.pan_part.exp_year % 100:02}{card.pan_part.exp_month:02}"


@pytest.mark.parametrize("vector", CARDS, ids=by_id)
def test_a_decrypted_track_gives_its_card(vector):
    plaintext = bytes.fromhex(vector["plaintext_hex"])

    card = read((vector["content"], plaintext), policy=CardChecksPolicy.LENIENT)

    assert card.pan_part.pan.reveal() == vector["expect_card"]["pan"]
    assert expiry(card) == vector["expect_card"]["expiry_yymm"]
    assert shown(getattr(card.sad_part, vector["content"])) == vector["plaintext_ascii"]
    assert card.entry_mode == "swipe"


def test_every_vector_is_covered():
    others = {vector["id"] for vector in VECTORS["card_data"]} - set(map(by_id, CARDS))
    assert others == {"magtek-t3", "shopify-emv-block"}


def test_a_zero_padded_emv_block_gives_its_card():
    (vector,) = (v for v in VECTORS["card_data"] if v["id"] == "shopify-emv-block")

    card = read(("emv-tlv", bytes.fromhex(vector["plaintext_hex"])))

    assert card.pan_part.pan.reveal() == "4761739001010010"
    assert expiry(card) == "1512"
    assert card.checks.expired
    assert shown(card.sad_part.track2) == "4761739001010010=15122011143878089"
    assert shown(card.sad_part.emv) == vector["plaintext_hex"].removesuffix("000000")


def test_track_3_gives_no_card():
    (vector,) = (v for v in VECTORS["card_data"] if v["id"] == "magtek-t3")
    assert refusal(read, ("track3", bytes.fromhex(vector["plaintext_hex"]))) == "no-pan"


@pytest.mark.parametrize("frame", FRAMES, ids=by_id)
def test_the_tracks_of_a_frame_are_one_card(frame):
    expected = frame["expect"]
    tracks = [(name, expected[name]) for name in ("track1", "track2", "track3")]

    card = read(*tracks, policy=CardChecksPolicy.LENIENT)

    assert card.pan_part.pan.reveal() == expected["pan"]
    assert expiry(card) == expected["expiry_yymm"]
    assert shown(card.pan_part.cardholder_name) == expected["name"]
    assert shown(card.sad_part.service_code) == expected["service_code"]
    assert shown(card.sad_part.track1) == expected["track1"]
    assert shown(card.sad_part.track2) == expected["track2"]


@pytest.mark.parametrize(("track", "lrc"), [("track1", "!"), ("track2", "0"), ("track3", "2")])
@pytest.mark.parametrize("frame", FRAMES, ids=by_id)
def test_a_frame_s_track_may_end_with_its_lrc(frame, track, lrc):
    """``!``, ``0`` and ``2`` are the characters that ID TECH's own frames have there."""
    others = [(name, frame["expect"][name]) for name in ("track1", "track2") if name != track]

    card = read(
        *others,
        (track, frame["expect"][track] + lrc + "\0" * 5),
        policy=CardChecksPolicy.LENIENT,
    )

    if track != "track3":
        assert shown(getattr(card.sad_part, track)) == frame["expect"][track]


def test_the_elements_of_an_id_tech_emv_frame_are_one_card():
    (frame,) = (frame for frame in VECTORS["frames"] if "decrypted_tlv" in frame["expect"])
    expected = frame["expect"]
    # The vector shows them without the zeros that fill their blocks, some of which are the issuer's.
    elements = "".join(
        decrypted.ljust(len(expected["encrypted"][tag]), "0")
        for tag, decrypted in expected["decrypted_tlv"].items()
    )

    card = read(("emv-tlv", bytes.fromhex(f"{elements}5F2403{expected['expiry_5F24']}")))

    assert card.pan_part.pan.reveal() == expected["pan"]
    assert expiry(card) == expected["expiry_5F24"][:4]
    assert shown(card.sad_part.service_code) == "201"
