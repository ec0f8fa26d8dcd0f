import pytest

from payment_token.audit_verifier.checkpoint import Checkpoint, TrustedKeys, split_notes
from payment_token.audit_verifier.signed_note import NoteError, SignedNote, VerifierKey
from tests.support.made_logs import KEY, ORIGIN, OTHER_KEY, checkpoint, signed_note, vkey

# The example of C2SP signed-note: a key and a note that Go's golang.org/x/mod/sumdb/note made (BSD-3-Clause).
_GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
_GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
_GO_NOTE = (
    _GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

_ROOT = bytes(range(32))
_KEYS = TrustedKeys([VerifierKey.parse(vkey())])


def test_a_note_that_another_implementation_signed() -> None:
    key = VerifierKey.parse(_GO_KEY)
    note = SignedNote.parse(_GO_NOTE)

    assert str(key) == _GO_KEY
    assert note.text == _GO_TEXT
    assert note.signed_by(key)


def test_a_checkpoint_opens() -> None:
    opened = _KEYS.open(checkpoint(7, _ROOT))

    assert opened.checkpoint == Checkpoint(ORIGIN, 7, _ROOT)
    assert opened.key.public_key == KEY.public_key().public_bytes_raw()


def test_no_bit_of_a_checkpoint_may_change() -> None:
    note = checkpoint(12_345, _ROOT)
    for place in range(len(note)):
        for bit in range(7):
            changed = note[:place] + chr(ord(note[place]) ^ 1 << bit) + note[place + 1 :]
            with pytest.raises(NoteError):
                _KEYS.open(changed)
        with pytest.raises(NoteError):
            _KEYS.open(note[:place] + note[place + 1 :])
    for more in ("\n", " ", "x"):
        with pytest.raises(NoteError):
            _KEYS.open(note + more)


@pytest.mark.parametrize(
    "note",
    [
        checkpoint(7, _ROOT, OTHER_KEY),
        checkpoint(7, _ROOT, origin="another/log"),
        signed_note(f"another/log\n7\n{'A' * 43}=\n"),
        signed_note(f"{ORIGIN}\n07\n{'A' * 43}=\n"),
        signed_note(f"{ORIGIN}\n-7\n{'A' * 43}=\n"),
        signed_note(f"{ORIGIN}\n7\n{'A' * 42}B=\n"),
        signed_note(f"{ORIGIN}\n7\n{'A' * 42}=\n"),
        signed_note(f"{ORIGIN}\n7\n{'A' * 43}=\nextension\n"),
        signed_note(f"{ORIGIN}\n7\n"),
        "",
        "\n\n",
        "x\n\n\n",
        f"{ORIGIN}\n7\n{'A' * 43}=\n",
    ],
)
def test_what_is_no_checkpoint_of_this_log(note: str) -> None:
    with pytest.raises(NoteError):
        _KEYS.open(note)


def test_more_signatures_do_no_harm() -> None:
    note = checkpoint(7, _ROOT)
    other = checkpoint(7, _ROOT, OTHER_KEY).rpartition("\n\n")[2]

    assert _KEYS.open(note + other).checkpoint.size == 7
    assert _KEYS.open(
        f"{note.partition(chr(10) * 2)[0]}\n\n{other}{note.rpartition(chr(10) * 2)[2]}"
    )


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a+b",
        "+00000000+" + vkey().rpartition("+")[2],
        vkey().replace("699fe544", "699fe545"),
        vkey()[:-1],
        vkey().rpartition("+")[0] + "+AQ==",
        vkey().rpartition("+")[0] + "+" + "/" * 44,
    ],
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(key)


def test_keys_are_of_one_log() -> None:
    with pytest.raises(NoteError):
        TrustedKeys([])
    with pytest.raises(NoteError):
        TrustedKeys(map(VerifierKey.parse, (vkey(), vkey(name="another/log"))))


def test_a_file_of_notes_is_split() -> None:
    notes = [checkpoint(size, _ROOT) for size in (1, 2, 3)]
    lines = "".join(f"{note}\n" for note in notes).splitlines(keepends=True)

    assert list(split_notes(lines)) == notes


def test_half_a_note_does_not_take_the_next_one_with_it() -> None:
    notes = [checkpoint(size, _ROOT) for size in (1, 2, 3)]
    torn = notes[1].rpartition("\n\n")[0] + "\n\n"
    text = f"{notes[0]}\n{torn}{notes[2]}\n"

    found = list(split_notes(text.splitlines(keepends=True)))

    assert [found[0], found[-1]] == [notes[0], notes[2]]
    assert len(found) == 3
