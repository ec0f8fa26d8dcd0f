"""Nothing but a card or a ``DecryptionFailedError`` comes out, and neither shows what it holds."""

import dataclasses
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payment_token.domain.card_data import (
    CardChecksPolicy,
    PaymentData,
    encode_pan_part,
    encode_sad_part,
    mask,
)
from payment_token.domain.card_data.ber_tlv import read_tlv
from payment_token.domain.card_data.card_json import read_card_json
from payment_token.domain.card_data.emv import read_emv
from payment_token.domain.card_data.tracks import read_track1, read_track2
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from tests.unit.card_data.card_reads import (
    EMV,
    PAN,
    TRACK1,
    TRACK2,
    TRACK2_PACKED,
    TRACK3,
    read,
    tlv,
    typed,
)

READS = {
    "track1": TRACK1.encode(),
    "track2": TRACK2.encode(),
    "track3": TRACK3.encode(),
    "emv-tlv": tlv(EMV),
    "card-json": typed(),
}
PACKED = tlv(TRACK2_PACKED + "F")
SECRETS = (PAN, PAN[6:12], "123456", "DOE/JANE", "Jane", "123", "201")

formats = st.sampled_from([part.value for part in PartFormat])
policies = st.sampled_from(list(CardChecksPolicy))
# Nearly right bytes reach further into a parser than random ones.
MARKS = (b"%B", b";", b"=", b"^", b"?", b"{", b"}", b"[", b'"pan":', b"3012", PAN.encode())
TAGS = (b"\x57\x13", b"\x5a\x08", b"\x70", b"\x99", b"\xff", b"\x00", b"\xd3\x01\x22\x01", tlv(PAN))
card_like = st.lists(st.sampled_from(MARKS + TAGS) | st.binary(max_size=4), max_size=20).map(
    b"".join
)


def outcome(
    *parts: tuple[str, bytes], policy: CardChecksPolicy
) -> PaymentData | DecryptionFailedError:
    try:
        return read(*parts, policy=policy)
    except DecryptionFailedError as error:
        return error


def assert_hidden(result: object) -> None:
    if isinstance(result, DecryptionFailedError):
        assert result.args == (DecryptionFailedError.default_detail,)
        assert result.__context__ is None
        assert result.__cause__ is None
        shown = "".join(traceback.format_exception(result)) + repr(result) + str(vars(result))
    else:
        shown = repr(result) + str(result) + f"{result}"
    assert PAN not in shown
    assert bytes.fromhex(PAN).hex() not in shown


@given(formats, st.binary(max_size=300) | card_like, policies)
@example("emv-tlv", b"\x5f\x20\x00" * 300, CardChecksPolicy.LENIENT)
@example("card-json", b"[" * 5000, CardChecksPolicy.LENIENT)
@example("track1", bytes(100_000), CardChecksPolicy.LENIENT)
def test_any_bytes_of_any_format(name, data, policy):
    assert_hidden(outcome((name, data), policy=policy))


@given(st.lists(st.tuples(formats, card_like | st.sampled_from(list(READS.values())))), policies)
def test_any_parts(parts, policy):
    assert_hidden(outcome(*parts, policy=policy))


@given(st.sampled_from([*READS.items(), ("track2", PACKED)]), st.data(), policies)
def test_a_flipped_bit(part, data, policy):
    name, whole = part
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    result = outcome((name, bytes(changed)), policy=policy)
    if isinstance(result, PaymentData):
        assert result.pan_part.pan.reveal() == PAN or policy is CardChecksPolicy.LENIENT
    else:
        assert_hidden(result)


@given(st.sampled_from([*READS.items(), ("track2", PACKED)]), st.data())
def test_a_cut_part(part, data):
    name, whole = part
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert_hidden(outcome((name, cut), policy=CardChecksPolicy.LENIENT))


def objects_of(value: object) -> Iterator[object]:
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from objects_of(getattr(value, field.name))


RESULTS = {
    "payment data": read(*READS.items()),
    "masked card": mask(read(*READS.items())),
    "encoded PAN part": encode_pan_part(read(*READS.items()).pan_part),
    "encoded SAD part": encode_sad_part(read(*READS.items()).sad_part),
    "track 1": read_track1(READS["track1"]),
    "track 2": read_track2(READS["track2"]),
    "packed track 2": read_track2(PACKED),
    "EMV": read_emv(READS["emv-tlv"]),
    "TLV": read_tlv(READS["emv-tlv"]),
    "JSON": read_card_json(READS["card-json"]),
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_a_result_shows_nothing(result):
    for value in objects_of(result):
        if isinstance(value, str | int):  # fields that may be shown, such as the expiry
            continue
        text = repr(value) + str(value) + f"{value}"
        assert not [secret for secret in SECRETS if secret in text]


def test_payment_data_cannot_be_copied_out():
    with pytest.raises(TypeError):
        dataclasses.asdict(RESULTS["payment data"])
    with pytest.raises(TypeError):
        hash(RESULTS["payment data"])
