"""Simulated readers build their messages to the byte as the published ones are, and the service reads them back."""

from binascii import crc_hqx

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.readers import idtech_msr, magtek_swipe
from payment_token.cli.readers.builders import BUILDERS, builder_of
from payment_token.cli.readers.tracks import Tracks, with_lrc
from payment_token.domain.card_data import CardChecksPolicy, read_card
from payment_token.domain.card_data.ber_tlv import read_tlv
from payment_token.domain.device_payload import (
    Cipher,
    Container,
    KeyVariant,
    Mode,
    ReaderFrame,
    Scheme,
)
from payment_token.domain.dukpt import KSN, payload_key
from payment_token.domain.payload_cipher import block_bytes, decrypt, encrypt
from payment_token.domain.reader_frames.open_frame import open_frame
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import written
from payment_token.settings import ConfigurationError
from tests.support.diagnosing import NOW, transaction_key
from tests.support.vectors import dukpt_vectors

BDK = "0123456789ABCDEFFEDCBA9876543210"


def published(frame_id):
    return next(frame for frame in dukpt_vectors()["frames"] if frame["id"] == frame_id)


def key_of(ksn, variant, cipher=Cipher.TDES_2KEY):
    return payload_key(transaction_key(BDK, ksn), ksn, variant, cipher)


def encrypter(key, cipher=Cipher.TDES_2KEY):
    def encrypted(clear):
        padded = clear + bytes(-len(clear) % block_bytes(cipher))
        return encrypt(key, cipher, Mode.CBC, None, SensitiveBytes(padded))

    return encrypted


def tracks_of(frame):
    expected = frame["expect"]
    return Tracks(expected["track1"], expected["track2"], expected["track3"])


@pytest.mark.parametrize(
    ("frame_id", "build"),
    [
        ("idtech-original-01", idtech_msr.original),
        ("idtech-enhanced-03", idtech_msr.enhanced),
    ],
)
def test_a_message_of_id_tech_is_the_published_one(frame_id, build):
    frame = published(frame_id)
    ksn = KSN.from_hex(frame["expect"]["ksn"], Scheme.DUKPT_TDES)
    encrypted = encrypter(key_of(ksn, KeyVariant.DATA_REQUEST))

    assert build(ksn, encrypted, tracks_of(frame), "") == bytes.fromhex(frame["frame_hex"])


def test_a_swipe_of_magtek_is_the_published_one_but_for_its_masked_track_3():
    frame = published("magtek-kb-string-08")
    ksn = KSN.from_hex(frame["expect"]["ksn"], Scheme.DUKPT_TDES)
    key = key_of(ksn, KeyVariant.PIN)
    fields = frame["frame_ascii"].split("|")
    magneprint = decrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, bytes.fromhex(fields[6]))

    built = magtek_swipe.swipe(
        ksn, encrypter(key), tracks_of(frame), "", magneprint.reveal()[:54]
    ).decode()

    masked = fields[0].partition("+")[0]
    assert built.startswith(masked)
    assert built.split("|")[1:10] == fields[1:10]
    assert built.split("|")[11:] == fields[11:]
    # Its CRC is that of its own characters, as the published one is.
    for text in (built, frame["frame_ascii"]):
        before, crc = text.rsplit("|", 3)[0] + "|", text.rsplit("|", 3)[1]
        assert crc_hqx(before.encode(), 0xFFFF).to_bytes(2, "little").hex().upper() == crc


@pytest.mark.parametrize(
    ("track", "lrc"),
    [
        ("%B4266841088889999^BUSH JR/GEORGE W.MR^0809101100001100000000046000000?", "!"),
        (";4266841088889999=080910110000046?", "0"),
        ("", ""),
    ],
)
def test_the_lrc_of_a_track(track, lrc):
    assert with_lrc(track) == track + lrc


@pytest.mark.parametrize(("container", "cipher"), BUILDERS)
@pytest.mark.parametrize("serial", ["", "T06-123456"])
@pytest.mark.parametrize("card", PUBLISHED_CARDS, ids=lambda card: card.pan[:6])
def test_the_service_reads_what_is_built(container, cipher, serial, card):
    ksn = KSN.from_hex("62994901190000000001", Scheme.DUKPT_TDES)
    variant = KeyVariant.PIN if container is Container.MAGTEK_SWIPE else KeyVariant.DATA_REQUEST
    key = key_of(ksn, variant, cipher)
    built = builder_of(container, cipher)(ksn, encrypter(key, cipher), Tracks.of(card), serial)

    opened = open_frame(ReaderFrame(container, SensitiveBytes(built)))
    clear = [decrypt(key, cipher, Mode.CBC, None, text) for text in opened.ciphertexts]
    read = read_card(opened.assemble(clear), CardChecksPolicy.STRICT, NOW)

    assert opened.ksn == str(ksn)
    assert opened.serial in (None, serial)
    assert read.pan_part.pan.reveal() == card.pan
    assert f"{read.pan_part.exp_year % 100:02}{read.pan_part.exp_month:02}" == card.expiry_yymm
    # One published number is zeros where a reader masks with zeros.
    assert card.pan.encode() not in built or card.pan[4:-4].strip("0") == ""
    assert bytes.fromhex(card.pan + "F" * (len(card.pan) % 2)) not in built


def test_an_element_of_any_length_is_read_back():
    for size in (0, 1, 127, 128, 255, 256, 2000):
        built = written(b"\xdf\xae\x02", bytes(size)) + written(b"\xc0", b"x")
        assert [one.tag.hex() for one in read_tlv(built).elements] == ["dfae02", "c0"]
        assert len(read_tlv(built).elements[0].value.reveal()) == size


def test_a_reader_that_is_not_simulated_is_named():
    with pytest.raises(ConfigurationError, match="magtek-swipe under aes-128"):
        builder_of(Container.MAGTEK_SWIPE, Cipher.AES_128)
