"""Every combination is found, what is close is said to be, and the usual mistakes have a name."""

import itertools
import os
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.diagnosis import Inquiry, diagnose, read_ciphertext
from payment_token.domain.dukpt import KSN
from payment_token.domain.dukpt import tdes as tdes_dukpt
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.payload_cipher import block_bytes
from payment_token.domain.reader_frames.opened_frame import OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes, SensitiveText
from tests.support.diagnosing import (
    AES_BDK,
    AES_KSN,
    NOW,
    TDES_BDK,
    TDES_KSN,
    TRACK1,
    TRACK2,
    TWO_KEYS,
    Keys,
    aes,
    diagnosed,
    encrypted,
    mistakes,
    tdes,
    transaction_key,
)

PACKED_TRACK2 = bytes.fromhex("4111111111111111D301220100001234567F")
EMV = bytes.fromhex("5A084111111111111111570F4111111111111111D3012201000012")
CARD_JSON = b'{"pan": "4111111111111111", "exp_month": 12, "exp_year": 2030}'
READS = {
    "track1": TRACK1,
    "track2": TRACK2,
    "emv-tlv": EMV,
    "card-json": CARD_JSON,
}
TDES_COMBINATIONS = list(
    itertools.product(
        (KeyVariant.DATA_REQUEST, KeyVariant.DATA_RESPONSE, KeyVariant.PIN),
        (Cipher.TDES_2KEY, Cipher.AES_128),
        Mode,
    )
)
AES_COMBINATIONS = list(itertools.product(KeyVariant, (Cipher.AES_128, Cipher.TDES_2KEY), Mode))


@pytest.mark.parametrize(("variant", "cipher", "mode"), TDES_COMBINATIONS)
@pytest.mark.parametrize("read", READS)
def test_every_combination_of_tdes_is_found(variant, cipher, mode, read):
    profile = tdes(variant, cipher, mode)

    (found,) = diagnosed(encrypted(READS[read], profile)).findings

    assert found.profile == profile
    assert found.reading.parts[0].format == read


@pytest.mark.parametrize(("variant", "cipher", "mode"), AES_COMBINATIONS)
def test_every_combination_of_aes_is_found(variant, cipher, mode):
    profile = aes(variant, cipher, mode)
    ciphertext = encrypted(TRACK2, profile, AES_BDK, AES_KSN)

    (found,) = diagnosed(ciphertext, ksn=AES_KSN).findings

    assert found.profile == profile


@pytest.mark.parametrize("mode", [Mode.CBC, Mode.OFB])
@pytest.mark.parametrize("cipher", [Cipher.TDES_2KEY, Cipher.AES_128])
def test_a_given_iv_is_tried(cipher, mode):
    iv = os.urandom(block_bytes(cipher))
    ciphertext = encrypted(TRACK1, tdes(cipher=cipher, mode=mode, iv=iv))

    (found,) = diagnosed(ciphertext, iv=iv).findings
    assert found.profile.iv == iv
    assert found.profile.mode is mode


def test_an_iv_that_is_not_used_is_said_to_be_none():
    diagnosis = diagnosed(encrypted(TRACK1, tdes()), iv=bytes(range(8)))

    assert diagnosis.findings[0].profile.iv is None
    assert "unused_iv" in mistakes(diagnosis)


@pytest.mark.parametrize("filler", [b"", b"\x00", b"\xff", b"\x04"], ids=repr)
def test_every_padding_that_the_readers_know_is_read(filler):
    track = TRACK2[:-4] + b"?" if filler else TRACK2[:-1] + b"9?"
    (found,) = diagnosed(encrypted(track + filler * 4, tdes())).findings
    assert found.reading.parts[0].form == "track 2"


def test_a_packed_track_2_is_named_as_such():
    (found,) = diagnosed(encrypted(PACKED_TRACK2, tdes())).findings
    assert found.reading.parts[0].form == "track 2, packed"
    assert found.settled


def test_the_tags_of_a_chip_read_are_named():
    (found,) = diagnosed(encrypted(EMV, tdes())).findings
    assert found.reading.parts[0].form == "EMV tags 5A, 57"


def test_nothing_of_the_plaintext_is_in_the_answer():
    for text in (TRACK1, TRACK2, EMV, CARD_JSON, TRACK1[:39], TRACK2[:20]):
        shown = repr(diagnosed(encrypted(text, tdes())))
        assert "4111111111111111" not in shown
        assert "DOE" not in shown
        assert "3012" not in shown


# --- Several combinations fit ---------------------------------------------------------------------------------------


def test_one_block_is_the_same_in_cbc_and_ecb():
    clear = bytes.fromhex("5A084111111111111111") + bytes(6)
    diagnosis = diagnosed(encrypted(clear, tdes(cipher=Cipher.AES_128)))

    assert [found.profile.mode for found in diagnosis.findings] == [Mode.CBC, Mode.ECB]
    assert "one block" in diagnosis.why
    assert "default" in diagnosis.why


def test_a_key_that_was_imported_twice_is_the_one_that_the_service_takes():
    keys = Keys(
        first=(TDES_BDK, "tdes-2key"), second=(TDES_BDK, "tdes-2key"), aes=(AES_BDK, "aes-128")
    )
    keys.bdks[1] = _with_prefix(keys.bdks[1], TDES_KSN[:8])

    diagnosis = diagnosed(encrypted(TRACK2, tdes()), keys=keys)

    assert [found.attempt.bdk.bdk_id for found in diagnosis.findings] == ["second", "first"]
    assert "same key" in diagnosis.why
    assert "the service takes second" in diagnosis.why


# --- What is close --------------------------------------------------------------------------------------------------


def test_a_wrong_check_digit_is_found_with_text_and_only_close_with_packed_digits():
    text = diagnosed(encrypted(TRACK2.replace(b"1=", b"2="), tdes()))
    packed = diagnosed(encrypted(PACKED_TRACK2.replace(b"\x11\xd3", b"\x12\xd3"), tdes()))

    assert text.findings[0].settled
    assert not packed.findings[0].settled
    for diagnosis in (text, packed):
        assert diagnosis.findings[0].profile == tdes()
        assert "refused" in mistakes(diagnosis)
        assert any("check digit" in remark.text for remark in diagnosis.findings[0].remarks)


@pytest.mark.parametrize("iv", [bytes(range(1, 9))])
def test_another_iv_is_seen_by_its_first_block(iv):
    diagnosis = diagnosed(encrypted(TRACK1, tdes(iv=iv)))

    assert not diagnosis.findings
    assert diagnosis.closest[0].attempt.profile == tdes()
    assert "the IV is another one" in diagnosis.closest[0].clue.text


def test_an_iv_in_front_of_the_ciphertext_is_named():
    iv = os.urandom(8)
    diagnosis = diagnosed(iv + encrypted(TRACK1, tdes(iv=iv)))

    assert "sends its IV in front" in diagnosis.closest[0].clue.text


def test_a_changed_block_is_named():
    ciphertext = bytearray(encrypted(TRACK1, tdes()))
    ciphertext[25] ^= 1

    diagnosis = diagnosed(bytes(ciphertext))

    (closest,) = diagnosis.closest
    assert closest.attempt.profile == tdes()
    assert "block 4 of 7 is the first that does not read" in closest.clue.text
    assert "wrong_key" not in mistakes(diagnosis)


def test_a_track_that_was_cut_is_named():
    diagnosis = diagnosed(encrypted(TRACK1[:24], tdes()))
    assert "cut short" in diagnosis.closest[0].clue.text


def test_two_tracks_in_one_ciphertext_are_an_id_tech_message():
    diagnosis = diagnosed(encrypted(TRACK1 + b"5" + TRACK2 + b"1", tdes()))
    assert "idtech-msr" in diagnosis.closest[0].clue.text


@pytest.mark.parametrize(
    ("clear", "said"),
    [
        (TRACK2.hex().encode(), "hexadecimal text"),
        (b"4111111111111111", "a card number and nothing else"),
        (b"this is a text that is no card data", "is text"),
    ],
)
def test_what_else_a_terminal_may_have_encrypted(clear, said):
    diagnosis = diagnosed(encrypted(clear, tdes()))
    assert said in diagnosis.closest[0].clue.text


def test_cfb_and_ctr_share_their_first_block_with_ofb():
    ciphertext = encrypted(TRACK2, tdes(mode=Mode.OFB))
    diagnosis = diagnosed(ciphertext[:8] + os.urandom(31))
    assert "CFB or CTR" in diagnosis.closest[0].clue.text


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (bytes(16), "without a variant"),
        (tdes_dukpt.DATA_REQUEST_MASK, "without its one-way step"),
        (tdes_dukpt.MAC_REQUEST_MASK, "MAC request"),
    ],
)
def test_keys_of_half_finished_implementations_are_named(mask, said):
    ksn = KSN.from_hex(TDES_KSN, Scheme.DUKPT_TDES)
    key = tdes_dukpt.variant_key(transaction_key(TDES_BDK, ksn), mask)

    diagnosis = diagnosed(encrypted(TRACK1, tdes(), key=key))

    (found,) = diagnosis.findings
    assert not found.settled
    assert said in found.attempt.oddity
    assert "other_profile" in mistakes(diagnosis)


def test_under_aes_the_transaction_key_itself_is_named():
    key = transaction_key(AES_BDK, KSN.from_hex(AES_KSN, Scheme.DUKPT_AES))
    ciphertext = encrypted(TRACK1, aes(), AES_BDK, AES_KSN, key=key)

    (found,) = diagnosed(ciphertext, ksn=AES_KSN).findings
    assert "without the step to a working key" in found.attempt.oddity


def test_random_bytes_give_nothing():
    chance = random.Random(20260101)  # noqa: S311  the same bytes in every run
    for length in (8, 16, 24, 40, 64, 128, 512):
        for _ in range(40):
            diagnosis = diagnosed(chance.randbytes(length))
            assert not diagnosis.findings
            assert not diagnosis.closest
            assert mistakes(diagnosis) == {"wrong_key"}


# --- Parts ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_read_must_all_fit():
    both = diagnosed(encrypted(TRACK1, tdes()), encrypted(TRACK2, tdes()))
    (found,) = both.findings
    assert [part.form for part in found.reading.parts] == ["track 1", "track 2"]

    mixed = diagnosed(encrypted(TRACK1, tdes(KeyVariant.PIN)), encrypted(TRACK2, tdes()))
    assert not mixed.findings
    assert {near.part for near in mixed.closest} == {1, 2}
    assert all("not every ciphertext" in near.clue.text for near in mixed.closest)


def test_two_cards_in_one_read_are_refused():
    other = TRACK2.replace(b"4111111111111111", b"5555555555554444")
    diagnosis = diagnosed(encrypted(TRACK1, tdes()), encrypted(other, tdes()))
    assert "refused" in mistakes(diagnosis)
    assert not diagnosis.findings[0].settled


def test_a_format_that_is_stated_wrongly_is_said():
    diagnosis = diagnosed(encrypted(TRACK1, tdes()), formats=[PartFormat.TRACK2])
    assert "other_format" in mistakes(diagnosis)
    right = diagnosed(encrypted(TRACK1, tdes()), formats=[PartFormat.TRACK1])
    assert "other_format" not in mistakes(right)


# --- KSN and key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, -1, 3, -6, 20])
def test_a_counter_that_is_off_is_found(step):
    sent = f"{int(TDES_KSN, 16) + 40:020X}"
    given = f"{int(sent, 16) + step:020X}"

    diagnosis = diagnosed(encrypted(TRACK1, tdes(), ksn=sent), ksn=given)

    (found,) = diagnosis.findings
    assert str(found.attempt.ksn) == sent
    assert "ksn_off" in mistakes(diagnosis)
    direction = "lower" if step > 0 else "higher"
    assert f"{abs(step)} {direction}" in found.remarks[0].text


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        (TDES_KSN.lower(), None),
        (" ".join(TDES_KSN[at : at + 2] for at in range(0, 20, 2)), "ksn_not_hex"),
        (f"0x{TDES_KSN}", "ksn_not_hex"),
        (f"0000{TDES_KSN}", "ksn_padded"),
        (f"FFFF{TDES_KSN}", "ksn_padded"),
        (f"{TDES_KSN}0000", "ksn_padded"),
        ("uKOZu5kyGKAAAQ==", "ksn_not_hex"),
    ],
)
def test_a_ksn_is_read_as_it_is_meant(given, mistake):
    diagnosis = diagnosed(encrypted(TRACK1, tdes()), ksn=given)

    assert str(diagnosis.findings[0].attempt.ksn) == TDES_KSN
    named = {name for name in mistakes(diagnosis) if name.startswith("ksn")}
    assert named == ({mistake} if mistake else set())


@pytest.mark.parametrize("given", ["", "nonsense", "ÄÖÜ", "12", "0" * 40, "F" * 30, "\x00"])
def test_what_is_no_ksn_at_all_is_said_to_be_none(given):
    diagnosis = diagnosed(encrypted(TRACK1, tdes()), ksn=given)
    assert not diagnosis.findings
    assert mistakes(diagnosis) & {"ksn_not_hex", "ksn_length"}


def test_lost_leading_zeros_of_a_ksn_are_put_back():
    ksn = "00001234567890E00001"
    for sent in (ksn[1:], ksn[3:]):
        diagnosis = diagnosed(encrypted(TRACK1, tdes(), ksn=ksn), ksn=sent)
        assert str(diagnosis.findings[0].attempt.ksn) == ksn
        assert "ksn_length" in mistakes(diagnosis)


def test_a_counter_of_zero_is_not_a_read():
    ksn = TDES_KSN[:-1] + "0"
    diagnosis = diagnosed(encrypted(TRACK1, tdes(), ksn=TDES_KSN), ksn=ksn)
    assert {"ksn_counter", "ksn_off"} <= mistakes(diagnosis)


def test_a_key_that_was_imported_for_another_algorithm_is_named():
    keys = Keys(wrong=(TDES_BDK, "aes-128"))

    diagnosis = diagnosed(encrypted(TRACK1, tdes()), keys=keys)

    assert diagnosis.findings[0].attempt.algorithm is BDKAlgorithm.TDES_2KEY
    assert "other_algorithm" in mistakes(diagnosis)
    assert "--algorithm tdes-2key" in diagnosis.findings[0].remarks[-1].text


def test_a_scheme_that_no_key_can_serve_is_named():
    keys = Keys(aes=("00" * 32, "aes-256"))
    diagnosis = diagnosed(os.urandom(40), keys=keys)
    assert mistakes(diagnosis) == {"other_scheme"}


def test_the_key_that_the_service_would_take_instead_is_named():
    keys = Keys(right=(TDES_BDK, "tdes-2key"), other=("11" * 16, "tdes-2key"))
    keys.bdks[1] = _with_prefix(keys.bdks[1], TDES_KSN[:6])

    diagnosis = diagnosed(encrypted(TRACK1, tdes()), keys=keys)

    (remark,) = [one for one in diagnosis.findings[0].remarks if one.mistake == "other_key"]
    assert "takes other" in remark.text
    assert "--bdk right" in remark.text


@pytest.mark.parametrize("allowed", [True, False])
def test_the_pin_variant_must_be_allowed(allowed):
    keys = Keys(tdes=(TDES_BDK, "tdes-2key"))
    keys.bdks[0] = _with_prefix(keys.bdks[0], TDES_KSN[:6], allow_pin_variant=allowed)

    diagnosis = diagnosed(encrypted(TRACK1, tdes(KeyVariant.PIN)), keys=keys)

    assert ("pin_variant" in mistakes(diagnosis)) is not allowed
    assert "other_profile" in mistakes(diagnosis)


def test_a_payload_that_the_service_would_take_has_no_remarks():
    keys = Keys(tdes=(TDES_BDK, "tdes-2key"))
    keys.bdks[0] = _with_prefix(keys.bdks[0], TDES_KSN[:6])
    assert mistakes(diagnosed(encrypted(TRACK1, tdes()), keys=keys)) == set()


# --- Blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [1, 4, 7])
def test_what_stands_before_or_behind_the_ciphertext_is_found(extra):
    ciphertext = encrypted(TRACK1, tdes())
    for sent, where in (
        (ciphertext + os.urandom(extra), "last"),
        (os.urandom(extra) + ciphertext, "first"),
    ):
        diagnosis = diagnosed(sent)
        (found,) = diagnosis.findings
        assert found.profile == tdes()
        assert f"The {where} bytes" in found.remarks[0].text


def test_a_ciphertext_that_is_no_whole_blocks_is_said_to_be_none():
    assert "not_whole_blocks" in mistakes(diagnosed(os.urandom(41)))
    assert "not_whole_blocks" in mistakes(diagnosed(os.urandom(3)))


# --- Messages of readers --------------------------------------------------------------------------------------------


def _frame(assemble):
    ciphertext = encrypted(TRACK1 + b"5" + TRACK2, tdes())
    frame = OpenedFrame(TDES_KSN, (ciphertext,), assemble)
    inquiry = Inquiry(TDES_KSN, frame.ciphertexts, (None,), NOW, None, frame)
    return diagnose(inquiry, TWO_KEYS.bdks, TWO_KEYS.initial_key)


def test_a_message_is_read_as_it_says_itself():
    def assemble(clear):
        text = clear[0].reveal()
        if not text.startswith(b"%"):
            raise DecryptionFailedError("sha-1")
        return [
            (PartFormat.TRACK1, SensitiveBytes(text[: len(TRACK1)])),
            (PartFormat.TRACK2, SensitiveBytes(text[len(TRACK1) + 1 :])),
        ]

    (found,) = _frame(assemble).findings
    assert found.profile == tdes()
    assert [part.form for part in found.reading.parts] == ["track 1", "track 2"]


def test_a_message_whose_hashes_are_wrong_is_close():
    def assemble(clear):
        raise DecryptionFailedError("sha-1")

    diagnosis = _frame(assemble)
    assert not diagnosis.findings
    assert diagnosis.closest[0].attempt.profile == tdes()


def _with_prefix(bdk, prefix, **changes):
    return replace(bdk, ksn_prefix=prefix, **changes)


@settings(max_examples=60)
@given(
    ksn=st.one_of(st.text(max_size=30), st.text("0123456789ABCDEFabcdef", max_size=26)),
    ciphertexts=st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=3),
    iv=st.one_of(st.none(), st.binary(min_size=8, max_size=8), st.binary(min_size=16, max_size=16)),
)
def test_nothing_that_is_asked_raises(ksn, ciphertexts, iv):
    diagnosis = diagnosed(*ciphertexts, ksn=ksn, iv=iv)
    assert diagnosis.findings or diagnosis.remarks or diagnosis.closest


@settings(max_examples=300)
@given(st.text(max_size=120))
def test_no_text_of_a_ciphertext_raises(text):
    written = read_ciphertext(SensitiveText(text))
    assert written.data is None or isinstance(written.data, bytes)
    assert written.data or written.remarks
