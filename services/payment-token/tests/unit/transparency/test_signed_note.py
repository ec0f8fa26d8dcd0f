"""Notes and checkpoints: published answers, and whatever somebody may put in their place."""

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.keys import NamedKey
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import (
    MOST_BYTES,
    NoteError,
    SignedNote,
    VerifierKey,
    sign_note,
    split_notes,
)

# The example of C2SP signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

ORIGIN = "payment-token/test/decrypt-audit"
KEY = NamedKey("v1", SecretKey(bytes(range(32))))
OTHER_KEY = NamedKey("v2", SecretKey(bytes(range(1, 33))))
VERIFIER = VerifierKey.of(ORIGIN, KEY)
CHECKPOINT = Checkpoint(ORIGIN, 4711, bytes(range(32)))
NOTE = CHECKPOINT.signed(KEY)


def test_the_published_note_verifies() -> None:
    key = VerifierKey.parse(EXAMPLE_KEY)

    assert SignedNote.parse(EXAMPLE).check([key]) == key
    assert str(key) == EXAMPLE_KEY
    assert SignedNote.parse(EXAMPLE).text == "This is an example message.\n"


def test_sigstore_reads_our_checkpoint() -> None:
    note = pytest.importorskip("sigstore._internal.rekor.checkpoint")
    read = note.SignedNote.from_text(NOTE)

    assert read.note == CHECKPOINT.text
    assert [signature.sig_hash for signature in read.signatures] == [VERIFIER.key_id]
    parsed = note.LogCheckpoint.from_text(read.note)
    assert (parsed.origin, parsed.log_size) == (ORIGIN, 4711)
    assert parsed.log_hash == CHECKPOINT.root.hex()


def test_a_checkpoint_is_what_the_contract_says() -> None:
    text, signatures = NOTE.split("\n\n")

    assert text == f"{ORIGIN}\n4711\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert signatures.startswith(f"\u2014 {ORIGIN} ")
    assert Checkpoint.verified(NOTE, ORIGIN, [VERIFIER]) == CHECKPOINT
    assert Checkpoint.read(NOTE) == CHECKPOINT


def test_keys_of_one_name_are_told_apart() -> None:
    other = VerifierKey.of(ORIGIN, OTHER_KEY)
    signed_by_both = NOTE + CHECKPOINT.signed(OTHER_KEY).split("\n\n")[1]

    assert SignedNote.parse(NOTE).check([other, VERIFIER]) == VERIFIER
    assert SignedNote.parse(signed_by_both).check([other]) == other
    with pytest.raises(NoteError, match="no key"):
        SignedNote.parse(NOTE).check([other])


def test_a_signature_that_nobody_knows_does_no_harm_and_a_false_one_does() -> None:
    witness = VerifierKey.of("witness.example", OTHER_KEY)
    strange = f"\u2014 witness.example {b64encode(witness.key_id + bytes(64)).decode()}\n"

    assert Checkpoint.verified(NOTE + strange, ORIGIN, [VERIFIER]) == CHECKPOINT
    with pytest.raises(NoteError, match="does not verify"):
        Checkpoint.verified(NOTE + strange, ORIGIN, [VERIFIER, witness])


def test_a_checkpoint_of_another_log_is_refused() -> None:
    elsewhere = replace(CHECKPOINT, origin="payment-token/production/decrypt-audit")
    note = sign_note(elsewhere.text, ORIGIN, KEY)

    with pytest.raises(NoteError, match="another log"):
        Checkpoint.verified(note, ORIGIN, [VERIFIER])


@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_no_flipped_bit_verifies(bit: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteError):
        Checkpoint.verified(changed.decode(errors="surrogateescape"), ORIGIN, [VERIFIER])


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (SignedNote.parse, Checkpoint.parse, Checkpoint.read, VerifierKey.parse):
        with pytest.raises(NoteError):
            read(text)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        EXAMPLE[:-1],
        EXAMPLE.replace("\n\n", "\n"),
        EXAMPLE.replace("\u2014", "-"),
        EXAMPLE.replace("\u2014 ", "\u2014"),
        EXAMPLE.replace("\u2014 example.com/foo", "\u2014 "),
        EXAMPLE.replace("example.com/foo", "example.com+foo"),
        EXAMPLE.replace("example.com/foo", "example.com\u00a0foo"),
        EXAMPLE.replace("aQM=", "aQN="),
        EXAMPLE.replace("aQM=", "aQM"),
        EXAMPLE.replace("aQM=", "a QM="),
        EXAMPLE.replace("This", "Th\x00is"),
        EXAMPLE.replace("message.", "message.\r"),
        EXAMPLE.replace("This", "\ud800"),
        EXAMPLE + "\n",
        EXAMPLE + "\u2014 short AAAAAA==\n",
        "text\n\n" + EXAMPLE.split("\n\n")[1] * 101,
        "x" * MOST_BYTES + EXAMPLE,
    ],
)
def test_what_is_not_a_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        SignedNote.parse(note).check([VerifierKey.parse(EXAMPLE_KEY)])


@pytest.mark.parametrize(
    "text",
    [
        CHECKPOINT.text[:-1],
        CHECKPOINT.text + "an extension\n",
        CHECKPOINT.text.replace("4711", "04711"),
        CHECKPOINT.text.replace("4711", "-1"),
        CHECKPOINT.text.replace("4711", "+4711"),
        CHECKPOINT.text.replace("4711", "\u0664"),
        CHECKPOINT.text.replace("4711", "9223372036854775808"),
        CHECKPOINT.text.replace("4711", "9" * 5000),
        CHECKPOINT.text.replace("Hh8=", "Hh9="),
        CHECKPOINT.text.replace("AAEC", "AAE"),
        CHECKPOINT.text.replace(ORIGIN, ""),
        "a\n1\n\n",
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        EXAMPLE_KEY.replace("+AeK", "+AuK").replace("+Aek", "+Auk"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY.replace("example.com/foo", "example.com/fo"),
        EXAMPLE_KEY.replace("example.com/foo", ""),
    ],
)
def test_what_is_not_a_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(vkey)


def test_what_is_no_point_of_the_curve_verifies_nothing() -> None:
    key = VerifierKey("name", b"\xff" * 32)

    assert not key.verifies("text\n", bytes(64))


@pytest.mark.parametrize("text", ["no newline", "control\x07\n", "x" * MOST_BYTES + "\n"])
def test_nothing_is_signed_that_would_not_be_read(text: str) -> None:
    with pytest.raises(NoteError):
        sign_note(text, ORIGIN, KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_no_key_has_a_name_that_cannot_stand_in_a_note(name: str) -> None:
    with pytest.raises(NoteError):
        sign_note("text\n", name, KEY)


def test_notes_one_after_the_other_are_told_apart_and_a_torn_one_is_left_out() -> None:
    notes = [replace(CHECKPOINT, size=size).signed(KEY) for size in (1, 2, 3)]
    document = "".join(f"{note}\n" for note in notes)

    assert split_notes(document) == notes
    for cut in range(1, len(notes[2]) + 1):
        assert split_notes(document[:-cut]) == notes[:2]
    assert split_notes("") == []
