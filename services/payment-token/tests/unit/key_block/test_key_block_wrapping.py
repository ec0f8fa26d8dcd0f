"""Wrap and unwrap, with psec as the other side."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payment_token.domain.key_block import (
    KeyBlockError,
    KeyBlockHeader,
    KeyBlockVersion,
    OptionalBlock,
    UnverifiedKeyBlockError,
    unwrap,
    wrap,
)
from payment_token.domain.key_block.protection import protect
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from tests.unit.key_block.key_block_vectors import PSEC_WARNS, tr31

KBPK_BYTES = {KeyBlockVersion.TDES: (16, 24), KeyBlockVersion.AES: (16, 24, 32)}
KEY_BYTES = {"T": (16, 24), "A": (16, 24, 32)}

upper = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=1)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300)


@st.composite
def headers(draw: st.DrawFn) -> KeyBlockHeader:
    blocks = draw(
        st.dictionaries(
            st.text("ABCDEFGHIJKLMNOQRSTUVWXYZ0123456789", min_size=2, max_size=2),
            printable,
            max_size=4,
        )
    )
    return KeyBlockHeader(
        version=draw(st.sampled_from(KeyBlockVersion)),
        usage=draw(upper) + draw(upper),
        algorithm=draw(st.sampled_from("TA")),
        mode_of_use=draw(upper),
        exportability=draw(upper),
        key_version=draw(st.sampled_from(["00", "12", "c1"])),
        optional_blocks=tuple(OptionalBlock(*item) for item in blocks.items()),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[bytes, KeyBlockHeader, bytes]:
    header = draw(headers())
    length = draw(st.sampled_from(KBPK_BYTES[header.version]))
    kbpk = draw(st.binary(min_size=length, max_size=length))
    length = draw(st.sampled_from(KEY_BYTES[header.algorithm]))
    return kbpk, header, draw(st.binary(min_size=length, max_size=length))


@given(cases())
def test_what_was_wrapped_unwraps_to_the_same(case: tuple[bytes, KeyBlockHeader, bytes]) -> None:
    kbpk, header, key = case

    unwrapped = unwrap(SecretKey(kbpk), wrap(SecretKey(kbpk), header, SecretKey(key)))

    assert unwrapped.key.reveal() == key
    assert unwrapped.header == header


@PSEC_WARNS
@given(cases())
def test_psec_reads_ours(case: tuple[bytes, KeyBlockHeader, bytes]) -> None:
    kbpk, header, key = case

    theirs, read = tr31.unwrap(kbpk, wrap(SecretKey(kbpk), header, SecretKey(key)))

    assert read == key
    assert theirs.key_usage == header.usage
    assert theirs.exportability == header.exportability
    assert dict(theirs.blocks) == {block.block_id: block.data for block in header.optional_blocks}


@PSEC_WARNS
@given(cases())
def test_we_read_psecs(case: tuple[bytes, KeyBlockHeader, bytes]) -> None:
    kbpk, header, key = case
    theirs = tr31.Header(
        header.version,
        header.usage,
        header.algorithm,
        header.mode_of_use,
        header.key_version,
        header.exportability,
    )
    for block in header.optional_blocks:
        theirs.blocks[block.block_id] = block.data

    unwrapped = unwrap(SecretKey(kbpk), tr31.wrap(kbpk, theirs, key))

    assert unwrapped.key.reveal() == key
    assert unwrapped.header == header


@PSEC_WARNS
@pytest.mark.parametrize("masked", [0, 24, 32])
def test_a_block_that_hides_less_or_more_of_the_length_is_read_too(masked: int) -> None:
    kbpk, key = bytes(range(32)), bytes(range(16))

    block = tr31.wrap(kbpk, "D0000B0AX00N0000", key, masked)

    assert unwrap(SecretKey(kbpk), block).key.reveal() == key


@pytest.mark.parametrize("algorithm", ["T", "A"])
@pytest.mark.parametrize("version", list(KeyBlockVersion))
def test_a_block_does_not_tell_how_long_its_key_is(
    version: KeyBlockVersion, algorithm: str
) -> None:
    kbpk = SecretKey(bytes(range(16)))
    header = KeyBlockHeader(version, "B0", algorithm, "X", "N")

    lengths = {len(wrap(kbpk, header, SecretKey(bytes(size)))) for size in KEY_BYTES[algorithm]}

    assert len(lengths) == 1


def test_the_padding_is_random_and_so_is_all_that_is_encrypted() -> None:
    kbpk, key = SecretKey(bytes(range(16))), SecretKey(bytes(range(16)))
    header = KeyBlockHeader(KeyBlockVersion.AES, "B0", "A", "X", "N")

    assert len({wrap(kbpk, header, key)[16:] for _ in range(20)}) == 20
    assert wrap(kbpk, header, key, bytes) == wrap(kbpk, header, key, bytes)


@pytest.mark.parametrize("version", list(KeyBlockVersion))
def test_no_character_can_be_changed_for_any_other(version: KeyBlockVersion) -> None:
    """Each position, and for each what is nearest to it: another digit, the other case, a space, a control character."""
    kbpk = SecretKey(bytes(range(16)))
    header = KeyBlockHeader(
        version, "B0", "T", "X", "N", optional_blocks=(OptionalBlock("KS", "FFFF0123456789E00000"),)
    )
    block = wrap(kbpk, header, SecretKey(bytes(range(16, 32))))

    for position, character in enumerate(block):
        for other in {"0", "1", "F", "B", "D", " ", "\n", "é", character.lower()} - {character}:
            with pytest.raises(UnverifiedKeyBlockError):
                unwrap(kbpk, block[:position] + other + block[position + 1 :])


@settings(max_examples=300)
@given(cases(), st.data())
def test_any_changed_character_fails(
    case: tuple[bytes, KeyBlockHeader, bytes], data: st.DataObject
) -> None:
    kbpk, header, key = case
    block = wrap(SecretKey(kbpk), header, SecretKey(key))
    position = data.draw(st.integers(0, len(block) - 1))
    other = data.draw(st.characters().filter(lambda character: character != block[position]))

    with pytest.raises(UnverifiedKeyBlockError):
        unwrap(SecretKey(kbpk), block[:position] + other + block[position + 1 :])


@given(st.data())
def test_a_block_that_is_cut_or_grows_is_refused(data: st.DataObject) -> None:
    kbpk = SecretKey(bytes(range(16)))
    block = wrap(
        kbpk, KeyBlockHeader(KeyBlockVersion.AES, "B0", "A", "X", "N"), SecretKey(bytes(16))
    )
    end = data.draw(st.integers(0, len(block) - 1))
    more = data.draw(st.text(min_size=1, max_size=40))

    for text in (block[:end], block[end + 1 :], block + more, more + block):
        with pytest.raises(UnverifiedKeyBlockError):
            unwrap(kbpk, text)


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=200),
        st.from_regex(r"[BD]0[01][0-9]{2}B0[TA]X00[NES]0[0-3]00[A-Z0-9]{0,160}", fullmatch=True),
    ),
    st.sampled_from([0, 8, 16, 24, 32, 33]),
)
def test_arbitrary_text_and_keys_raise_nothing_but_ours(text: str, length: int) -> None:
    with pytest.raises(UnverifiedKeyBlockError):
        unwrap(SecretKey(bytes(length)), text)
    with pytest.raises(UnverifiedKeyBlockError):
        unwrap(SecretKey(bytes(length)), text[:1] + f"{len(text) % 10_000:04}" + text[5:])


@pytest.mark.parametrize("version", list(KeyBlockVersion))
def test_a_kbpk_of_another_size_is_refused_with_the_sizes(version: KeyBlockVersion) -> None:
    header = KeyBlockHeader(version, "B0", "T", "X", "N")
    with pytest.raises(KeyBlockError, match="16 or 24"):
        wrap(SecretKey(bytes(15)), header, SecretKey(bytes(16)))


@pytest.mark.parametrize("bits", [0, 127, 129, 1024, 0xFFFF])
def test_a_wrong_length_inside_an_authentic_block_is_refused(bits: int) -> None:
    kbpk = SecretKey(bytes(range(16)))
    head = KeyBlockHeader(KeyBlockVersion.AES, "B0", "A", "X", "N").text(rest=2 * (32 + 16))
    data = SensitiveBytes(bits.to_bytes(2, "big") + bytes(30))
    ciphertext, mac = protect(KeyBlockVersion.AES, kbpk, head, data)

    with pytest.raises(UnverifiedKeyBlockError, match="states a length"):
        unwrap(kbpk, head + (ciphertext + mac).hex().upper())


def test_neither_keys_nor_blocks_show_in_errors() -> None:
    kbpk = SecretKey(bytes(range(16)))
    block = wrap(
        kbpk, KeyBlockHeader(KeyBlockVersion.AES, "B0", "A", "X", "N"), SecretKey(bytes(16))
    )
    for text in (block[:-1] + "!", block[:-2] + "00", block[:40]):
        with pytest.raises(UnverifiedKeyBlockError) as refused:
            unwrap(kbpk, text)
        assert text[20:40] not in str(refused.value)
        assert refused.value.__cause__ is None
