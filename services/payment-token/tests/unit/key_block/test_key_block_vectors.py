import json

import pytest

from payment_token.domain.key_block import UnverifiedKeyBlockError, unwrap, wrap
from payment_token.domain.key_block.header import KeyBlockHeader
from payment_token.domain.key_block.protection import expose, protect
from payment_token.domain.key_check_value import aes_check_value, tdes_check_value
from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import VECTORS
from tests.unit.key_block.key_block_vectors import DOCUMENT, KEY_BLOCKS, Vector, entry, secret


@pytest.mark.parametrize("vector", KEY_BLOCKS)
def test_a_published_key_block_gives_its_key(vector: Vector) -> None:
    unwrapped = unwrap(secret(vector["kbpk"]), vector["key_block"])

    header = unwrapped.header
    assert unwrapped.key == secret(vector["key"])
    assert header.version == vector["key_block"][0]
    for name in ("usage", "algorithm", "mode_of_use", "key_version", "exportability"):
        assert getattr(header, name) == vector[name]
    assert {block.block_id: block.data for block in header.optional_blocks} == vector[
        "optional_blocks"
    ]


@pytest.mark.parametrize("vector", KEY_BLOCKS)
def test_the_same_key_data_protected_again_gives_the_published_text(vector: Vector) -> None:
    text, kbpk = vector["key_block"], secret(vector["kbpk"])
    header, end = KeyBlockHeader.parse(text)
    body, block = bytes.fromhex(text[end:]), header.version.cipher_block
    data = expose(header.version, kbpk, text[:end], body[:-block], body[-block:])

    ciphertext, mac = protect(header.version, kbpk, text[:end], data)

    assert text[:end] + (ciphertext + mac).hex().upper() == text


@pytest.mark.parametrize("vector", KEY_BLOCKS)
def test_a_published_check_value_is_the_one_of_its_key(vector: Vector) -> None:
    check_value = {"T": tdes_check_value, "A": aes_check_value}[vector["algorithm"]]
    assert check_value(secret(vector["key"])) == vector["check_value"]
    if "kbpk_check_value" in vector:
        assert tdes_check_value(secret(vector["kbpk"])) == vector["kbpk_check_value"]


@pytest.mark.parametrize("vector", KEY_BLOCKS)
def test_another_kbpk_looks_like_a_changed_block(vector: Vector) -> None:
    kbpk = bytearray.fromhex(vector["kbpk"])
    kbpk[0] ^= 0x80
    changed = vector["key_block"][:-1] + ("0" if vector["key_block"][-1] != "0" else "1")

    refusals = []
    for key, text in ((bytes(kbpk), vector["key_block"]), (bytes.fromhex(vector["kbpk"]), changed)):
        with pytest.raises(UnverifiedKeyBlockError) as refused:
            unwrap(SecretKey(key), text)
        refusals.append(refused.value)

    assert {type(refusal) for refusal in refusals} == {UnverifiedKeyBlockError}
    assert len({str(refusal) for refusal in refusals}) == 1


def test_a_key_that_was_read_is_wrapped_as_it_was_but_for_the_padding() -> None:
    vector = entry("openemv-initial-key")
    kbpk = secret(vector["kbpk"])
    unwrapped = unwrap(kbpk, vector["key_block"])

    again = unwrap(kbpk, wrap(kbpk, unwrapped.header, unwrapped.key))

    assert again.header == unwrapped.header
    assert again.key == unwrapped.key


def test_every_source_is_described_in_the_file_and_in_the_readme() -> None:
    readme = (VECTORS / "README.md").read_text("utf-8")
    assert {vector["source"] for vector in DOCUMENT["key_blocks"]} == set(DOCUMENT["sources"])
    for name, text in DOCUMENT["sources"].items():
        assert f"`{name}`" in readme
        assert text in readme


def test_the_file_is_plain_json() -> None:
    assert json.loads((VECTORS / "key-blocks.json").read_text("ascii")) == DOCUMENT
