"""A BDK that arrives: which genuine blocks are taken, and which are not."""

from dataclasses import replace

import pytest

from payment_token.domain.block_ciphers import tdes
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.key_block import (
    KeyBlockHeader,
    KeyBlockVersion,
    OptionalBlock,
    RefusedKeyBlockError,
    UnverifiedKeyBlockError,
    wrap,
)
from payment_token.domain.key_block.check_values import check_values_block
from payment_token.domain.key_block.received_key import receive_bdk
from payment_token.domain.key_check_value import zeros_authenticated
from payment_token.domain.sensitive import SecretKey
from tests.unit.key_block.key_block_vectors import entry, secret

KBPK = SecretKey(bytes(range(32)))
KEY = SecretKey(bytes(range(100, 116)))
HEADER = KeyBlockHeader(KeyBlockVersion.AES, "B0", "T", "X", "N")


def stating(block_id: str, data: str) -> KeyBlockHeader:
    return replace(HEADER, optional_blocks=(OptionalBlock(block_id, data),))


@pytest.mark.parametrize("vector_id", ["tr31-a-7-3-2", "payshield-tdes-bdk"])
def test_the_published_bdks_are_taken(vector_id: str) -> None:
    vector = entry(vector_id)

    received = receive_bdk(secret(vector["kbpk"]), vector["key_block"], BDKAlgorithm.TDES_2KEY)

    assert received.key == secret(vector["key"])
    assert received.key_set == vector["optional_blocks"].get("KS")


@pytest.mark.parametrize(
    ("vector_id", "said"),
    [
        ("tr31-a-7-2-2", "usage is not B0"),
        ("tr31-a-7-4", "usage is not B0"),
        ("payshield-tdes-kek", "usage is not B0"),
        ("payshield-aes-256", "usage is not B0"),
        ("openemv-initial-key", "usage is not B0"),
    ],
)
def test_published_blocks_of_other_keys_are_refused(vector_id: str, said: str) -> None:
    vector = entry(vector_id)
    with pytest.raises(RefusedKeyBlockError, match=said):
        receive_bdk(secret(vector["kbpk"]), vector["key_block"], BDKAlgorithm.TDES_2KEY)


@pytest.mark.parametrize("mode", ["X", "N"])
@pytest.mark.parametrize("exportability", ["E", "N", "S"])
def test_each_allowed_header_is_taken(mode: str, exportability: str) -> None:
    header = replace(HEADER, mode_of_use=mode, exportability=exportability)
    received = receive_bdk(KBPK, wrap(KBPK, header, KEY), BDKAlgorithm.TDES_2KEY)
    assert received.key == KEY


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"usage": "B1"}, "usage"),
        ({"usage": "D0"}, "usage"),
        ({"usage": "00"}, "usage"),
        ({"mode_of_use": "E"}, "mode of use"),
        ({"mode_of_use": "Y"}, "mode of use"),
        ({"algorithm": "D"}, "algorithm"),
        ({"algorithm": "H"}, "algorithm"),
        ({"algorithm": "R"}, "algorithm"),
        ({"exportability": "0"}, "exportability"),
        ({"key_version": "c1"}, "component"),
        ({"algorithm": "A"}, "AES key of 128 bits, which is not tdes-2key"),
    ],
)
def test_a_genuine_block_of_something_else_is_refused(changes: dict[str, str], said: str) -> None:
    block = wrap(KBPK, replace(HEADER, **changes), KEY)  # type: ignore[arg-type]
    with pytest.raises(RefusedKeyBlockError, match=said):
        receive_bdk(KBPK, block, BDKAlgorithm.TDES_2KEY)


@pytest.mark.parametrize("algorithm", list(BDKAlgorithm))
@pytest.mark.parametrize(
    ("letter", "size"), [("T", 16), ("T", 24), ("A", 16), ("A", 24), ("A", 32)]
)
def test_algorithm_and_size_must_be_the_stated_ones(
    algorithm: BDKAlgorithm, letter: str, size: int
) -> None:
    key = SecretKey(bytes(range(size)))
    block = wrap(KBPK, replace(HEADER, algorithm=letter), key)
    fits = {
        BDKAlgorithm.TDES_2KEY: ("T", 16),
        BDKAlgorithm.AES_128: ("A", 16),
        BDKAlgorithm.AES_192: ("A", 24),
        BDKAlgorithm.AES_256: ("A", 32),
    }
    if fits.get(algorithm) == (letter, size):
        assert receive_bdk(KBPK, block, algorithm).key == key
    else:
        with pytest.raises(RefusedKeyBlockError, match=algorithm):
            receive_bdk(KBPK, block, algorithm)


@pytest.mark.parametrize("block_id", ["KC", "KP"])
def test_stated_check_values_are_verified(block_id: str) -> None:
    key, letter = (KEY, "T") if block_id == "KC" else (KBPK, "A")
    right = check_values_block(block_id, key, letter)
    block = wrap(KBPK, replace(HEADER, optional_blocks=(right,)), KEY)
    assert receive_bdk(KBPK, block, BDKAlgorithm.TDES_2KEY).key == KEY

    wrong = right.data[:-1] + ("0" if right.data[-1] != "0" else "1")
    with pytest.raises(RefusedKeyBlockError, match=f"{block_id} of the key block is not the one"):
        receive_bdk(KBPK, wrap(KBPK, stating(block_id, wrong), KEY), BDKAlgorithm.TDES_2KEY)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0",
        "00",
        "00AA",
        "0011223344",
        "02112233",
        "01",
        "01112233445566",
        "00ABCDEg",
        "00abcdef",
        "00 ABCD",
    ],
)
def test_a_check_value_of_no_known_form_is_refused(data: str) -> None:
    with pytest.raises(RefusedKeyBlockError, match="in no form"):
        receive_bdk(KBPK, wrap(KBPK, stating("KC", data), KEY), BDKAlgorithm.TDES_2KEY)


@pytest.mark.parametrize("digits", [4, 6, 8, 10])
def test_a_cmac_check_value_of_two_to_five_bytes_is_read(digits: int) -> None:
    value = zeros_authenticated(tdes(KEY)).hex().upper()[:digits]
    block = wrap(KBPK, stating("KC", "01" + value), KEY)
    assert receive_bdk(KBPK, block, BDKAlgorithm.TDES_2KEY).key == KEY


def test_blocks_that_say_nothing_to_us_are_skipped() -> None:
    header = replace(
        HEADER,
        optional_blocks=(
            OptionalBlock("TS", "1320241008034229Z"),
            OptionalBlock("LB", "our BDK; ~!"),
            OptionalBlock("10", "proprietary" * 40),
            OptionalBlock("KS", "FFFF012345"),
        ),
    )
    received = receive_bdk(KBPK, wrap(KBPK, header, KEY), BDKAlgorithm.TDES_2KEY)
    assert received.key_set == "FFFF012345"


@pytest.mark.parametrize(
    ("version", "kbpk", "algorithm", "size"),
    [
        (KeyBlockVersion.TDES, bytes(range(24)), "A", 16),
        (KeyBlockVersion.TDES, bytes(range(16)), "A", 16),
        (KeyBlockVersion.AES, bytes(range(16)), "A", 24),
        (KeyBlockVersion.AES, bytes(range(24)), "A", 32),
        (KeyBlockVersion.TDES, bytes(range(8)) * 2, "T", 16),
        (KeyBlockVersion.TDES, bytes(range(8)) * 3, "T", 16),
        (KeyBlockVersion.TDES, bytes(range(8)) * 2 + bytes(range(8, 16)), "T", 16),
    ],
)
def test_a_key_that_travelled_under_a_weaker_one_is_refused(
    version: KeyBlockVersion, kbpk: bytes, algorithm: str, size: int
) -> None:
    header = replace(HEADER, version=version, algorithm=algorithm)
    block = wrap(SecretKey(kbpk), header, SecretKey(bytes(range(50, 50 + size))))
    asked = {
        ("T", 16): BDKAlgorithm.TDES_2KEY,
        ("A", 16): BDKAlgorithm.AES_128,
        ("A", 24): BDKAlgorithm.AES_192,
        ("A", 32): BDKAlgorithm.AES_256,
    }[algorithm, size]

    with pytest.raises(RefusedKeyBlockError, match="weaker"):
        receive_bdk(SecretKey(kbpk), block, asked)


def test_a_block_is_verified_before_a_word_of_its_header_is_believed() -> None:
    block = wrap(KBPK, replace(HEADER, usage="P0"), KEY)
    with pytest.raises(UnverifiedKeyBlockError):
        receive_bdk(KBPK, block[:5] + "B0" + block[7:], BDKAlgorithm.TDES_2KEY)
