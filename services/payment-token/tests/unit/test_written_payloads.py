"""Ciphertexts, and readers' messages, as people paste them."""

import base64
import io
import random
from types import SimpleNamespace

import pytest

from payment_token.cli.opened_frames import open_frame, read_frame
from payment_token.domain.device_payload import Container
from payment_token.domain.diagnosis import read_ciphertext
from payment_token.domain.sensitive import SensitiveBytes, SensitiveText
from payment_token.settings import ConfigurationError
from tests.support.vectors import dukpt_vectors

DATA = bytes.fromhex("724C5DB7D6F901C7F0FEAE7908801093B3DBFE51CCF6D483E789D7D2C007D539FBEF")


def written(text):
    return read_ciphertext(SensitiveText(text))


def named(text):
    return [str(remark.mistake) for remark in written(text).remarks]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (DATA.hex(), []),
        (DATA.hex().upper(), []),
        (f" {DATA.hex()}\n", []),
        (base64.b64encode(DATA).decode(), []),
        (DATA.hex(" "), ["written_otherwise"]),
        (DATA.hex(":"), ["written_otherwise"]),
        (f"0x{DATA.hex()}", ["written_otherwise"]),
        (base64.urlsafe_b64encode(DATA).decode(), ["written_otherwise"]),
        (base64.b64encode(DATA).decode().rstrip("="), ["written_otherwise"]),
        (f"data:;base64,{base64.b64encode(DATA).decode()}", ["written_otherwise"]),
        (base64.b64encode(DATA.hex().encode()).decode(), ["encoded_twice"]),
        (base64.b64encode(base64.b64encode(DATA)).decode(), ["encoded_twice"]),
        (DATA.hex().encode().hex(), ["encoded_twice"]),
    ],
)
def test_a_ciphertext_is_read_however_it_is_written(text, mistakes):
    assert written(text).data == DATA
    assert named(text) == mistakes


@pytest.mark.parametrize(
    "text", ["", "zz!", "4C5", "ÄÖÜ", "a" * 5 + "=" * 9, "\x00", "-", "\u2013"]
)
def test_what_cannot_be_read_is_said(text):
    assert written(text).data is None
    assert named(text) == ["not_ciphertext"]


TRACK = b";4111111111111111=30122010000012345678?"


@pytest.mark.parametrize(
    "text",
    [
        TRACK.decode(),
        "%B4111111111111111^DOE/JANE^30122010000000123000000?",
        "4111111111111111",
        "4111 1111 1111 1111",
        '{"pan": "4111111111111111"}',
        TRACK.hex(),
        base64.b64encode(TRACK).decode(),
        "5A084111111111111111",
        base64.b64encode(TRACK.hex().encode()).decode(),
    ],
)
def test_card_data_in_clear_is_recognised_and_not_kept(text):
    assert written(text).data is None
    assert "clear_text" in named(text)
    assert "4111" not in repr(written(text))


def test_random_ciphertexts_are_not_taken_for_card_data():
    chance = random.Random(20260101)  # noqa: S311
    for _ in range(3000):
        data = chance.randbytes(chance.randrange(8, 300))
        for text in (data.hex(), base64.b64encode(data).decode()):
            assert written(text).data == data
            assert named(text) == []


# --- Messages of readers --------------------------------------------------------------------------------------------


def frames():
    for frame in dukpt_vectors()["frames"][:3]:
        yield (
            bytes.fromhex(frame["frame_hex"])
            if "frame_hex" in frame
            else frame["frame_ascii"].encode()
        )


@pytest.mark.parametrize("message", list(frames()))
def test_a_message_is_read_however_it_is_written(message, tmp_path, monkeypatch):
    file = tmp_path / "frame"
    for content in (
        message,
        message.hex().encode(),
        message.hex().upper().encode() + b"\n",
        base64.b64encode(message),
        base64.encodebytes(message),
    ):
        file.write_bytes(content)
        assert read_frame(str(file)).reveal() == message
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert read_frame("-").reveal() == message
    assert read_frame(message.hex()).reveal() == message
    if message.isascii() and b"|" in message:
        assert read_frame(message.decode()).reveal() == message
        file.write_bytes(message + b"\r\n")
        assert read_frame(str(file)).reveal() == message


def test_a_container_is_found_or_named_as_it_is_told(tmp_path):
    original, _, swipe = frames()
    assert open_frame(SensitiveBytes(original), None)[0] is Container.IDTECH_MSR
    assert open_frame(SensitiveBytes(swipe), None)[0] is Container.MAGTEK_SWIPE
    with pytest.raises(ConfigurationError, match="magtek-swipe: ") as refused:
        open_frame(SensitiveBytes(original), Container.MAGTEK_SWIPE)
    assert "idtech" not in str(refused.value)


def test_what_is_no_message_is_refused_with_the_reason_of_each():
    with pytest.raises(ConfigurationError) as refused:
        open_frame(SensitiveBytes(TRACK), None)
    assert "idtech-msr: does not begin with STX" in str(refused.value)
    assert "4111" not in str(refused.value)


def test_a_message_that_is_too_long_is_refused(tmp_path):
    file = tmp_path / "frame"
    file.write_bytes(bytes(65 * 1024))
    with pytest.raises(ConfigurationError, match="at most 65536 bytes"):
        read_frame(str(file))
