"""The text before the key: what is malformed is refused before any key is tried."""

import pytest

from payment_token.domain.key_block import (
    KeyBlockHeader,
    KeyBlockVersion,
    MalformedKeyBlockError,
    OptionalBlock,
    unwrap,
    wrap,
)
from payment_token.domain.key_block.optional_blocks import parse_blocks
from tests.unit.key_block.key_block_vectors import entry, secret

VECTOR = entry("tr31-a-7-3-2")
KBPK = secret(VECTOR["kbpk"])


def with_length(header: str, rest: int = 80) -> str:
    """A text that states its own length rightly, so that the next rule is the one that refuses."""
    text = header + "0" * rest
    return text[:1] + f"{len(text):04}" + text[5:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not start"),
        ("B0104", "does not start"),
        ("b" + VECTOR["key_block"][1:], "does not start"),
        (" " + VECTOR["key_block"], "does not start"),
        (VECTOR["key_block"] + "\n", "copied whole"),
        (VECTOR["key_block"][:-1], "copied whole"),
        (VECTOR["key_block"] + "00", "copied whole"),
        ("B9999" + "0" * 10_000, "9999 characters at the most"),
        (with_length("A0000B0TX00N0000"), "version B or D"),
        (with_length("C0000B0TX00N0000"), "version B or D"),
        (with_length("E0000B0AX00N0000"), "version B or D"),
        (with_length("10000B0AX00N0000"), "version B or D"),
        (with_length("B0000B0TX00N0X00"), "does not start"),
        (with_length("B0000B0TX00N0009"), "does not start"),
        (with_length("B0000B0TX00N9900"), "optional block"),
        (with_length("B0000B0TX00N0100KS08AAAAKC"), "not hexadecimal in upper case"),
        (with_length("B0000B0TX00N0100KS07AAA"), "padded to whole blocks"),
        (with_length("D0000B0TX00N0100KS08AAAA"), "padded to whole blocks"),
        (with_length("B0000B0TX00N0000", 14), "whole blocks"),
        (with_length("B0000B0TX00N0000", 15), "hexadecimal"),
        (with_length("B0000B0TX00N0000", 16), "whole blocks"),
        (with_length("D0000B0TX00N0000", 80), "whole blocks"),
        (with_length("B0000B0TX00N0000", 0), "hexadecimal"),
        (with_length("B0000B0TX00N0000" + "ab" * 8), "hexadecimal"),
        ("B\u0660104" + VECTOR["key_block"][5:], "does not start"),
    ],
)
def test_a_malformed_text_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(MalformedKeyBlockError, match=said):
        unwrap(KBPK, text)


@pytest.mark.parametrize(
    ("blocks", "count"),
    [
        ("", 1),
        ("K", 1),
        ("KS", 1),
        ("KS1", 1),
        ("KS1Y", 1),
        ("KS1a", 1),
        ("ks04", 1),
        ("**04", 1),
        ("KS01", 1),
        ("KS02", 1),
        ("KS03", 1),
        ("KS071", 1),
        ("KSFF", 1),
        ("KS05\x03", 1),
        ("KS05\x7f", 1),
        ("KS05é", 1),
        ("KS00", 1),
        ("KS001", 1),
        ("KS001S", 1),
        ("KS0000", 1),
        ("KS0001", 1),
        ("KS00010", 1),
        ("KS00010H", 1),
        ("KS000101", 1),
        ("KS000107", 1),
        ("KS0001FF", 1),
        ("KS0002000", 1),
        ("KS0005000000000E", 1),
        ("KS00FF0E", 1),
        ("KS04", 2),
        ("KS04KS04", 2),
        ("KS04KS05A", 2),
        ("PB04KS04", 2),
        ("PB04PB04", 2),
        ("KS0600T", 2),
        ("KS07000T", 2),
    ],
)
def test_malformed_optional_blocks_are_refused(blocks: str, count: int) -> None:
    with pytest.raises(MalformedKeyBlockError):
        parse_blocks(blocks, count)


@pytest.mark.parametrize(
    ("text", "count", "blocks"),
    [
        ("", 0, {}),
        ("KS1800604B120F9292800000", 1, {"KS": "00604B120F9292800000"}),
        ("KS1200604B120F9292PB0600", 2, {"KS": "00604B120F9292"}),
        ("KS00011600604B120F9292PB0A000000", 2, {"KS": "00604B120F9292"}),
        ("KS0002010A" + "P" * 256 + "PB0600", 2, {"KS": "P" * 256}),
        ("KS000400000010AB", 1, {"KS": "AB"}),
        (
            "KS1800604B120F9292800000T104T20600PB0600",
            4,
            {"KS": "00604B120F9292800000", "T1": "", "T2": "00"},
        ),
        ("1704NN06~ ", 2, {"17": "", "NN": "~ "}),
    ],
)
def test_optional_blocks_are_read(text: str, count: int, blocks: dict[str, str]) -> None:
    parsed, end = parse_blocks(text, count)

    assert {block.block_id: block.data for block in parsed} == blocks
    assert end == len(text)


def test_what_follows_the_counted_blocks_is_not_one_of_them() -> None:
    assert parse_blocks("KS06ABKC04", 1) == ((OptionalBlock("KS", "AB"),), 6)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 11, 250, 251, 252, 253, 254, 255, 256, 4000])
@pytest.mark.parametrize("version", list(KeyBlockVersion))
def test_an_optional_block_of_any_length_is_padded_and_read_again(
    version: KeyBlockVersion, length: int
) -> None:
    header = KeyBlockHeader(
        version, "B0", "T", "X", "N", optional_blocks=(OptionalBlock("LB", "x" * length),)
    )

    read, end = KeyBlockHeader.parse(header.text(rest=64) + "0" * 64)

    assert read == header
    assert end % version.cipher_block == 0


def test_a_block_that_would_be_too_long_is_not_made() -> None:
    header = KeyBlockHeader(
        KeyBlockVersion.AES, "B0", "A", "X", "N", optional_blocks=(OptionalBlock("LB", "x" * 9900),)
    )
    with pytest.raises(ValueError, match="too long"):
        wrap(KBPK, header, secret("00" * 16))
