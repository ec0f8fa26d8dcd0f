"""The tree and its proofs: published answers, the definitions of the RFC, and a second implementation."""

import importlib
import warnings
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.transparency.frontier import Frontier, Tile, TileName, widths
from payment_token.domain.transparency.hashes import (
    EMPTY_ROOT,
    leaf_hash,
    node_hash,
    root_of,
)
from payment_token.domain.transparency.proofs import consistency_proof, inclusion_proof
from payment_token.domain.transparency.verification import (
    ProofError,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.transparency.memory_tiles import LEAVES, ROOTS, MemoryTiles, entries

# The same tests of Certificate Transparency: index from 0, size, proof.
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

SIZES = st.integers(1, 700)


def head(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, word for word."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else EMPTY_ROOT
    split = largest_power_below(len(hashes))
    return node_hash(head(hashes[:split]), head(hashes[split:]))


def path(index: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(hashes) == 1:
        return []
    split = largest_power_below(len(hashes))
    if index < split:
        return [*path(index, hashes[:split]), head(hashes[split:])]
    return [*path(index - split, hashes[split:]), head(hashes[:split])]


def subproof(old: int, hashes: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1."""
    if old == len(hashes):
        return [] if whole else [head(hashes)]
    split = largest_power_below(len(hashes))
    if old <= split:
        return [*subproof(old, hashes[:split], whole=whole), head(hashes[split:])]
    return [*subproof(old - split, hashes[split:], whole=False), head(hashes[:split])]


def largest_power_below(number: int) -> int:
    power = 1
    while power * 2 < number:
        power *= 2
    return power


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    tree = MemoryTiles(LEAVES[:size])

    assert tree.frontier.root.hex() == ROOTS[size - 1]
    assert root_of(list(map(leaf_hash, LEAVES[:size]))).hex() == ROOTS[size - 1]


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root == EMPTY_ROOT == root_of([])


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
async def test_inclusion_proofs_are_the_published_ones(
    index: int, size: int, proof: list[str]
) -> None:
    found = await inclusion_proof(MemoryTiles(LEAVES[:size]), index, size)

    assert [part.hex() for part in found] == proof
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, found, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
async def test_consistency_proofs_are_the_published_ones(
    old: int, size: int, proof: list[str]
) -> None:
    found = await consistency_proof(MemoryTiles(LEAVES[:size]), old, size)

    assert [part.hex() for part in found] == proof
    roots = bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[size - 1])
    verify_consistency(old, roots[0], size, roots[1], found)


@given(st.lists(st.integers(0, 300), max_size=5))
def test_the_root_is_the_one_of_the_definition_however_leaves_come(steps: list[int]) -> None:
    hashes = list(map(leaf_hash, entries(sum(steps))))
    frontier, place, full = Frontier(), 0, []
    for step in steps:
        full += frontier.append(hashes[place : place + step])
        place += step
        assert frontier.root == head(hashes[:place])
        # Whoever starts again from what is stored goes on from the same place.
        frontier = frontier.copy()

    assert frontier.size == len(hashes)
    assert [tile.hashes for tile in full if tile.name.level == 0] == [
        b"".join(hashes[start : start + 256]) for start in range(0, len(hashes) - 255, 256)
    ]


def test_tiles_are_handed_out_from_the_bottom() -> None:
    frontier = Frontier()
    full = frontier.append(list(map(leaf_hash, entries(65_536 + 257))))

    assert [tile.name for tile in full[254:]] == [
        TileName(0, 254),
        TileName(0, 255),
        TileName(1, 0),
        TileName(0, 256),
    ]
    assert full[256].split() == [tile.root for tile in full if tile.name.level == 0][:256]
    assert widths(frontier.size) == [1, 1, 1]
    assert frontier.root == root_of(list(map(leaf_hash, entries(65_536 + 257))))


@pytest.mark.parametrize("levels", [[], [[b"1" * 32] * 2], [[b"1" * 32], [b"1" * 32]]])
def test_an_edge_that_does_not_fit_the_size_is_refused(levels: list[list[bytes]]) -> None:
    with pytest.raises(ValueError, match="edge"):
        Frontier.of(1, levels)


@pytest.mark.parametrize("length", [0, 31, 33, 257 * 32])
def test_a_tile_is_whole_hashes(length: int) -> None:
    with pytest.raises(ValueError, match="tile"):
        Tile(TileName(0, 0), bytes(length))


@given(SIZES, st.data())
async def test_inclusion_is_as_defined_and_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree, hashes = MemoryTiles(entries(size)), list(map(leaf_hash, entries(size)))

    proof = await inclusion_proof(tree, index, size)

    assert proof == path(index, hashes)
    verify_inclusion(hashes[index], index, size, proof, tree.frontier.root)
    assert len(tree.read_names) == len(set(tree.read_names)), "a tile was read twice"


@given(SIZES, st.data())
async def test_consistency_is_as_defined_and_verifies(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    tree, hashes = MemoryTiles(entries(size)), list(map(leaf_hash, entries(size)))

    proof = await consistency_proof(tree, old, size)

    assert proof == subproof(old, hashes, whole=True)
    verify_consistency(old, head(hashes[:old]), size, tree.frontier.root, proof)


@given(st.integers(2, 40), st.data())
async def test_no_other_leaf_place_size_proof_or_root_verifies(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree = MemoryTiles(entries(size))
    leaf, root = leaf_hash(entries(size)[index]), tree.frontier.root
    proof = await inclusion_proof(tree, index, size)
    place = data.draw(st.integers(0, len(proof) - 1))
    wrong = data.draw(st.binary(min_size=32, max_size=32))
    other_index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))

    for attempt in (
        (wrong, index, size, proof, root),
        (leaf, other_index, size, proof, root),
        (leaf, index, size, [*proof[:place], wrong, *proof[place + 1 :]], root),
        (leaf, index, size, [*proof[:place], *proof[place + 1 :]], root),
        (leaf, index, size, [*proof, wrong], root),
        (leaf, index, size, proof, wrong),
        (leaf, index, 0, proof, root),
    ):
        with pytest.raises(ProofError):
            verify_inclusion(*attempt)


@given(st.integers(2, 40), st.data())
async def test_no_other_history_verifies(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    tree = MemoryTiles(entries(size))
    root, old_root = tree.frontier.root, MemoryTiles(entries(old)).frontier.root
    proof = await consistency_proof(tree, old, size)
    place = data.draw(st.integers(0, len(proof) - 1))
    wrong = data.draw(st.binary(min_size=32, max_size=32))

    for attempt in (
        (old, wrong, size, root, proof),
        (old, old_root, size, wrong, proof),
        (size, old_root, old, root, proof),
        (old, old_root, size, root, [*proof[:place], wrong, *proof[place + 1 :]]),
        (old, old_root, size, root, [*proof[:place], *proof[place + 1 :]]),
        (old, old_root, size, root, [*proof, wrong]),
        (old, old_root, size, root, []),
        (size, old_root, size, root, []),
        (size, root, size, root, [wrong]),
        (0, wrong, size, root, []),
        (0, EMPTY_ROOT, size, root, proof),
    ):
        with pytest.raises(ProofError):
            verify_consistency(*attempt)


async def test_every_tree_grows_out_of_an_empty_one() -> None:
    tree = MemoryTiles(LEAVES)

    assert await consistency_proof(tree, 0, 8) == []
    verify_consistency(0, EMPTY_ROOT, 8, tree.frontier.root, [])


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0)])
async def test_what_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        await inclusion_proof(MemoryTiles(LEAVES), index, size)


@pytest.mark.parametrize(("old", "size"), [(-1, 8), (8, 7)])
async def test_a_tree_that_shrinks_has_no_proof(old: int, size: int) -> None:
    with pytest.raises(IndexError):
        await consistency_proof(MemoryTiles(LEAVES), old, size)


@pytest.fixture(scope="module")
def sigstore() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("sigstore._internal.merkle")


@given(size=st.integers(1, 1200), data=st.data())
async def test_sigstore_agrees(sigstore: ModuleType, size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree = MemoryTiles(entries(size))
    proof = await inclusion_proof(tree, index, size)

    def ask(entry: bytes) -> None:
        inclusion = SimpleNamespace(
            log_index=index, tree_size=size, hashes=proof, root_hash=tree.frontier.root
        )
        inner = SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=entry)
        sigstore.verify_merkle_inclusion(SimpleNamespace(_inner=inner))

    ask(entries(size)[index])
    with pytest.raises(sigstore.VerificationError):
        ask(b"another")
