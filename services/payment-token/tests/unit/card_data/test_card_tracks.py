import pytest

from payment_token.domain.card_data.tracks import discard_track3, read_track1, read_track2
from tests.unit.card_data.card_reads import PAN, TRACK1, TRACK2, TRACK2_PACKED, refusal, shown

TRACK1_BARE = TRACK1.strip("%?")
TRACK2_BARE = TRACK2.strip(";?")

PADDINGS = {
    "none": b"",
    "zero": b"\x00" * 7,
    "FF": b"\xff" * 9,
    "pkcs7": b"\x05" * 5,
    "pkcs7 whole block": b"\x10" * 16,
    "wide field of zeros": b"\x00" * 112,
}


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("lrc", ["", "!", "?", "_", "0"])
@pytest.mark.parametrize("start", ["%", ""])
def test_track_1_ends_at_its_sentinel(start, lrc, padding):
    track = start + TRACK1.removeprefix("%")

    card = read_track1((track + lrc).encode() + padding)

    assert card.pan.reveal() == PAN
    assert (card.expiry.month, card.expiry.year) == (12, 2030)
    assert shown(card.cardholder_name) == "DOE/JANE"
    assert shown(card.service_code) == "201"
    assert shown(card.track1) == track


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("track", [TRACK1_BARE, "%" + TRACK1_BARE])
def test_track_1_without_end_sentinel_ends_at_its_padding(track, padding):
    assert shown(read_track1(track.encode() + padding).track1) == track


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("lrc", ["", "0", "?", ";"])
@pytest.mark.parametrize("start", [";", ""])
def test_track_2_ends_at_its_sentinel(start, lrc, padding):
    track = start + TRACK2.removeprefix(";")

    card = read_track2((track + lrc).encode() + padding)

    assert card.pan.reveal() == PAN
    assert (card.expiry.month, card.expiry.year) == (12, 2030)
    assert shown(card.service_code) == "201"
    assert shown(card.track2) == track


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("track", [TRACK2_BARE, ";" + TRACK2_BARE])
def test_track_2_without_end_sentinel_ends_at_its_padding(track, padding):
    assert shown(read_track2(track.encode() + padding).track2) == track


@pytest.mark.parametrize(
    ("track", "expiry", "service_code"),
    [
        (f"%B{PAN}^DOE/JANE^^201000?", None, "201"),
        (f"%B{PAN}^DOE/JANE^3012^000?", (12, 2030), None),
        (f"%B{PAN}^DOE/JANE^^^000?", None, None),
        (f"%B{PAN}^DOE/JANE^3012201?", (12, 2030), "201"),
    ],
)
def test_track_1_may_lack_expiry_and_service_code(track, expiry, service_code):
    card = read_track1(track.encode())
    assert (card.expiry and (card.expiry.month, card.expiry.year)) == expiry
    assert shown(card.service_code) == service_code


@pytest.mark.parametrize(
    ("track", "expiry", "service_code"),
    [
        (f";{PAN}==201000?", None, "201"),
        (f";{PAN}=3012=000?", (12, 2030), None),
        (f";{PAN}===000?", None, None),
        (f";{PAN}=3012201?", (12, 2030), "201"),
    ],
)
def test_track_2_may_lack_expiry_and_service_code(track, expiry, service_code):
    card = read_track2(track.encode())
    assert (card.expiry and (card.expiry.month, card.expiry.year)) == expiry
    assert shown(card.service_code) == service_code


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HOGAN/PAUL      ", "HOGAN/PAUL"),
        ("A" * 26, "A" * 26),
        ("A" * 20 + " " * 11, "A" * 20),
        (" /", None),
        ("", None),
        ("  ", None),
        ("BUSH JR/GEORGE W.MR", "BUSH JR/GEORGE W.MR"),
    ],
)
def test_a_name_loses_the_blanks_that_fill_its_field(name, expected):
    card = read_track1(f"%B{PAN}^{name}^3012201?".encode())
    assert shown(card.cardholder_name) == expected


@pytest.mark.parametrize("length", [12, 13, 15, 18, 19])
def test_a_pan_has_12_to_19_digits(length):
    pan = "4" * length
    assert read_track1(f"%B{pan}^A^3012201?".encode()).pan.reveal() == pan
    assert read_track2(f";{pan}=3012201?".encode()).pan.reveal() == pan


REFUSED_TRACK1 = {
    "no bytes": (b"", "track1-syntax"),
    "only padding": (b"\x00" * 64, "track1-syntax"),
    "too many bytes": (TRACK1.encode() + b"\x00" * 256, "part-size"),
    "longer than a track 1": (TRACK1.replace("?", "0" * 79 + "?"), "track1-syntax"),
    "track 2": (TRACK2, "track1-syntax"),
    "format code A": (TRACK1.replace("%B", "%A"), "track1-format"),
    "format code of a read error": ("%E?", "track1-format"),
    "format code C without sentinel": (TRACK1_BARE.replace("B4", "C4"), "track1-format"),
    "digit as format code": (TRACK1.replace("%B", "%1"), "track1-syntax"),
    "lower case": (TRACK1.lower(), "track1-syntax"),
    "two start sentinels": ("%" + TRACK1, "track1-syntax"),
    "a sentinel inside": (TRACK1.replace("DOE", "D%E"), "track1-syntax"),
    "a letter in the PAN": (TRACK1.replace("411", "4I1", 1), "track1-syntax"),
    "masked PAN": (TRACK1.replace("111111", "******", 1), "track1-syntax"),
    "eleven digits": (f"%B{'4' * 11}^A^3012201?", "pan"),
    "twenty digits": (f"%B{'4' * 20}^A^3012201?", "track1-syntax"),
    "no PAN": ("%B^DOE/JANE^3012201?", "track1-syntax"),
    "name too long": (f"%B{PAN}^{'A' * 27}^3012201?", "name"),
    "no name field": (f"%B{PAN}^3012201?", "track1-syntax"),
    "short expiry": (f"%B{PAN}^A^301^201?", "track1-syntax"),
    "short service code": (f"%B{PAN}^A^301220?", "track1-syntax"),
    "a byte above ASCII": (TRACK1.replace("DOE", "D\xc9E"), "track1-syntax"),
    "a zero byte inside": (TRACK1.replace("DOE", "D\0E"), "track1-syntax"),
    "digits of another script": (
        TRACK1.encode().replace(b"411", "4\u0661".encode(), 1),
        "track1-syntax",
    ),
    "a line end": (TRACK1_BARE + "\r\n", "track1-syntax"),
    "something after the LRC": (TRACK1 + "0X", "track1-syntax"),
    "another track behind": (TRACK1 + "!" + TRACK2, "track1-syntax"),
    "wrong PKCS#7": (TRACK1.encode() + b"\x03\x03\x04", "track1-syntax"),
}


@pytest.mark.parametrize(("data", "stage"), REFUSED_TRACK1.values(), ids=REFUSED_TRACK1)
def test_track_1_is_refused(data, stage):
    data = data if isinstance(data, bytes) else data.encode("latin-1")
    assert refusal(read_track1, data) == stage


REFUSED_TRACK2 = {
    "no bytes": (b"", "track2-syntax"),
    "only padding": (b"\x00" * 40, "track2-syntax"),
    "too many bytes": (TRACK2.encode() + b"\x00" * 256, "part-size"),
    "too many bytes packed": (b"\x41" * 257, "part-size"),
    "longer than a track 2": (TRACK2.replace("?", "0" * 20 + "?"), "track2-syntax"),
    "track 1": (TRACK1, "track2-syntax"),
    "a read error": (";E?", "track2-syntax"),
    "two start sentinels": (";" + TRACK2, "track2-syntax"),
    "a letter in the PAN": (TRACK2.replace("411", "4I1", 1), "track2-syntax"),
    "masked PAN": (TRACK2.replace("111111", "******", 1), "track2-syntax"),
    "eleven digits": (f";{'4' * 11}=3012201?", "pan"),
    "twenty digits": (f";{'4' * 20}=3012201?", "track2-syntax"),
    "no PAN": (";=3012201?", "track2-syntax"),
    "no separator": (f";{PAN}3012201?", "track2-syntax"),
    "short expiry": (f";{PAN}=301?", "track2-syntax"),
    "short service code": (f";{PAN}=301220?", "track2-syntax"),
    "the EMV separator in text": (TRACK2.replace("=", "D"), "track2-syntax"),
    "a letter in the discretionary data": (TRACK2.replace("5678", "567A"), "track2-syntax"),
    "something after the LRC": (TRACK2 + "0X", "track2-syntax"),
    "a line end": (TRACK2_BARE + "\n", "track2-syntax"),
}


@pytest.mark.parametrize(("data", "stage"), REFUSED_TRACK2.values(), ids=REFUSED_TRACK2)
def test_track_2_is_refused(data, stage):
    assert refusal(read_track2, data if isinstance(data, bytes) else data.encode()) == stage


PACKED = {
    "as EMV tag 57 has it": TRACK2_PACKED + "F",
    "fill of two bytes of F": TRACK2_PACKED + "FFFFF",
    "zero padding after the end": TRACK2_PACKED + "F" + "00" * 5,
    "FF padding after the end": TRACK2_PACKED + "F" + "FF" * 5,
    "PKCS#7 after the end": TRACK2_PACKED + "F" + "05" * 5,
    "start sentinel": "B" + TRACK2_PACKED + "FF",
    "start sentinel and LRC": "B" + TRACK2_PACKED + "F7",
    "start sentinel, LRC and zeros": "B" + TRACK2_PACKED + "F7" + "00" * 4,
    "start sentinel and zeros": "B" + TRACK2_PACKED + "F0" + "00" * 4,
    "start sentinel and PKCS#7": "B" + TRACK2_PACKED + "F0" + "04" * 4,
}


@pytest.mark.parametrize("nibbles", PACKED.values(), ids=PACKED)
def test_packed_track_2_becomes_text(nibbles):
    card = read_track2(bytes.fromhex(nibbles))
    assert card.pan.reveal() == PAN
    assert (card.expiry.month, card.expiry.year) == (12, 2030)
    assert shown(card.service_code) == "201"
    assert shown(card.track2) == f"{PAN}=30122010000012345678"


def test_packed_track_2_of_an_even_number_of_digits_has_its_lrc_in_a_byte_of_its_own():
    nibbles = f"B{PAN}D301220100000000F" + "5F" + "00" * 3
    card = read_track2(bytes.fromhex(nibbles))
    assert shown(card.track2) == f"{PAN}=301220100000000"


def test_packed_track_2_without_end_keeps_the_zeros_that_fit_on_a_track():
    card = read_track2(bytes.fromhex(f"{PAN}D301220100000000"))
    assert shown(card.track2) == f"{PAN}=301220100000000"


def test_packed_track_2_without_end_loses_zeros_past_the_length_of_a_track():
    card = read_track2(bytes.fromhex(f"{PAN}D301220112345678" + "00" * 12))
    assert shown(card.track2) == f"{PAN}=301220112345678"


@pytest.mark.parametrize("pan", ["371449635398431", "30569309025904", "353011133330000" + "0" * 4])
def test_a_packed_pan_of_ascii_looking_bytes_is_not_taken_for_text(pan):
    nibbles = f"{pan}D3012201"
    card = read_track2(bytes.fromhex(nibbles + "F" * (2 - len(nibbles) % 2)))
    assert card.pan.reveal() == pan


REFUSED_PACKED = {
    "a letter A": TRACK2_PACKED.replace("30122", "301A2") + "F",
    "a start sentinel inside": TRACK2_PACKED.replace("D", "BD") + "FF",
    "an end where the separator belongs": TRACK2_PACKED.replace("D", "F") + "F",
    "digits after the end": TRACK2_PACKED + "F" + "1234",
    "an LRC without sentinels": f"{PAN}D301220100000F" + "15",
    "masked digits": "4111CCCCCCCC1111D3012CCCCCCCCCCCCCCC",
    "more digits than a track": f"{PAN}D3012201{'1' * 18}",
    "eleven digits": "4" * 11 + "D3012201F",
}


@pytest.mark.parametrize("nibbles", REFUSED_PACKED.values(), ids=REFUSED_PACKED)
def test_packed_track_2_is_refused(nibbles):
    even = nibbles if len(nibbles) % 2 == 0 else nibbles + "F"
    assert refusal(read_track2, bytes.fromhex(even)) in ("track2-syntax", "pan")


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("track", ["+5163499080020445=000000000000?", ";3333=0?2", ";3333"])
def test_track_3_gives_nothing(track, padding):
    card = discard_track3(track.encode() + padding)
    assert card.pan is None
    assert card.sad_part() is None


@pytest.mark.parametrize(
    ("data", "stage"),
    [
        (b";33\x0133?", "track3-syntax"),
        (b";\xe933?", "track3-syntax"),
        (b";" + b"3" * 107 + b"?", "track3-syntax"),
        (b";3333?0X", "track3-syntax"),
        (b"3" * 257, "part-size"),
    ],
)
def test_track_3_is_refused(data, stage):
    assert refusal(discard_track3, data) == stage
