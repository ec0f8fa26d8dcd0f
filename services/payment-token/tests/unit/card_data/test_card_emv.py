import pytest

from payment_token.domain.card_data.emv import read_emv
from tests.unit.card_data.card_reads import EMV, OTHER_PAN, PAN, refusal, shown, tlv

T57 = f"57 13 {PAN}D30122010000012345678F"
T9F6B = f"9F6B 13 {PAN}D30122010000099999999F"
T5A = f"5A 08 {PAN}"
EXPIRY = "5F24 03 301231"


def expiry(card):
    return card.expiry and (card.expiry.month, card.expiry.year)


def test_a_chip_read():
    card = read_emv(tlv(EMV))
    assert card.pan.reveal() == PAN
    assert expiry(card) == (12, 2030)
    assert shown(card.cardholder_name) == "DOE/JANE"
    assert shown(card.service_code) == "201"
    assert shown(card.track2) == f"{PAN}=30122010000012345678"
    assert shown(card.emv) == EMV.replace(" ", "")
    assert card.entry_mode == "chip"


@pytest.mark.parametrize("text", [T57, T9F6B, T5A])
def test_any_of_three_tags_gives_the_pan(text):
    assert read_emv(tlv(text)).pan.reveal() == PAN


def test_tag_57_gives_the_track_before_9f6b():
    card = read_emv(tlv(T57 + T9F6B))
    assert shown(card.track2) == f"{PAN}=30122010000012345678"


def test_tags_in_templates_are_found():
    body = tlv(T5A + EXPIRY)
    card = read_emv(b"\x70" + bytes([len(body)]) + body)
    assert card.pan.reveal() == PAN
    assert expiry(card) == (12, 2030)


@pytest.mark.parametrize("pan", ["371449635398431", "4111111111111111110", "501800000009"])
def test_5a_is_filled_with_f(pan):
    filled = pan + "F" * (20 - len(pan))
    assert read_emv(tlv(f"5A 0A {filled}")).pan.reveal() == pan


def test_5f30_gives_the_service_code():
    assert shown(read_emv(tlv(T5A + "5F30 02 0201")).service_code) == "201"


@pytest.mark.parametrize(
    ("entry", "mode"),
    [("07", "contactless"), ("91", "contactless"), ("05", "chip"), ("90", "chip"), ("", "chip")],
)
def test_9f39_tells_contactless_from_chip(entry, mode):
    text = T5A + f"9F39 {len(entry) // 2:02} {entry}"
    assert read_emv(tlv(text)).entry_mode == mode


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"DOE/JANE   ", "DOE/JANE"), (b" /", None), (b"M\xdcLLER/JO", "MÜLLER/JO"), (b"", None)],
)
def test_5f20_is_latin_1(name, expected):
    data = tlv(T5A + f"5F20 {len(name):02X}") + name
    assert shown(read_emv(data).cardholder_name) == expected


@pytest.mark.parametrize(
    "text",
    [T5A * 2, T57 * 2, EXPIRY * 2 + T5A, T5A + f"5A 0A {PAN}FFFF", T57 + T5A + T9F6B + EXPIRY],
)
def test_tags_that_agree_may_repeat(text):
    card = read_emv(tlv(text))
    assert card.pan.reveal() == PAN


def test_no_tag_gives_no_pan():
    assert read_emv(tlv("9F2608 0102030405060708")).pan is None


REFUSED = {
    "5A differs from 57": (T57 + f"5A 08 {OTHER_PAN}", "two-pans"),
    "9F6B differs from 57": (T57 + T9F6B.replace(PAN, OTHER_PAN), "two-pans"),
    "9F6B differs from 5A": (T5A + T9F6B.replace(PAN, OTHER_PAN), "two-pans"),
    "5A repeats and differs": (T5A + f"5A 08 {OTHER_PAN}", "two-pans"),
    "57 repeats and differs": (T57 + T57.replace(PAN, OTHER_PAN), "two-pans"),
    "second PAN in a template": (T5A + f"70 0A 5A 08 {OTHER_PAN}", "two-pans"),
    "5F24 has another year": (T57 + "5F24 03 311231", "two-expiries"),
    "5F24 has another month": (T57 + "5F24 03 301131", "two-expiries"),
    "5F24 repeats and differs": (T5A + EXPIRY + "5F24 03 311231", "two-expiries"),
    "PIN data": (T57 + "99 08 0412345678901234", "pin-data"),
    "empty PIN data": (T57 + "99 00", "pin-data"),
    "PIN data in a template": (T57 + "70 03 99 01 00", "pin-data"),
    "5A with letters": ("5A 08 4111CCCCCCCC1111", "pan"),
    "5A with F inside": ("5A 08 41111111F1111111", "pan"),
    "5A too short": ("5A 05 4111111111", "pan"),
    "5A too long": ("5A 0A 41111111111111111111", "pan"),
    "5A empty": ("5A 00", "pan"),
    "57 masked": ("57 12 4111CCCCCCCC1111D3012CCCCCCCCCCCCCCC", "track2-syntax"),
    "57 empty": ("57 00", "track2-syntax"),
    "57 as text": ("57 18" + f"{PAN}=3012201".encode().hex(), "track2-syntax"),
    "5F24 of two bytes": (T5A + "5F24 02 3012", "expiry"),
    "5F24 with letters": (T5A + "5F24 03 30AA31", "expiry"),
    "5F30 of one byte": (T5A + "5F30 01 01", "service-code"),
    "5F30 of four digits": (T5A + "5F30 02 1201", "service-code"),
    "name too long": (T5A + "5F20 1B" + "41" * 27, "name"),
    "name with a control character": (T5A + "5F20 02 4107", "name"),
    "truncated": ("57 13 4111", "tlv-truncated"),
}


@pytest.mark.parametrize(("text", "stage"), REFUSED.values(), ids=REFUSED)
def test_is_refused(text, stage):
    assert refusal(read_emv, tlv(text)) == stage
