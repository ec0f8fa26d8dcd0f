"""The tree and its proofs, against the published vectors of RFC 6962 and a tree that is made by its definition."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.audit_verifier.proofs import (
    ProofError,
    check_consistency,
    consistency_path,
    inclusion_path,
    root_of_inclusion,
    root_over,
)
from payment_token.audit_verifier.tree import EMPTY_ROOT, GrowingTree, leaf_hash

# The test data of certificate-transparency-go (Apache-2.0), merkletree/merkle_tree_test.go: entries, and the root after each.
_ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _leaves(count: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest() for number in range(count)]


def _by_definition(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + _by_definition(leaves[:split]) + _by_definition(leaves[split:])).digest()


class _Hashes:
    """All levels of tiles over some leaves, by definition."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) >= 256:
            self._levels.append(
                [_by_definition(below[n : n + 256]) for n in range(0, len(below) - 255, 256)]
            )

    def at(self, level: int, first: int, end: int) -> list[bytes]:
        hashes = self._levels[level][first:end]
        assert len(hashes) == end - first
        return hashes


def test_the_published_roots() -> None:
    tree = GrowingTree()
    for entry, root in zip(_ENTRIES, _ROOTS, strict=True):
        tree.append([leaf_hash(bytes.fromhex(entry))])
        assert tree.root().hex() == root


def test_an_empty_tree() -> None:
    assert GrowingTree().root() == EMPTY_ROOT == sha256(b"").digest()


@given(st.lists(st.integers(0, 300), max_size=8))
def test_it_grows_by_any_number_of_leaves_at_once(counts: list[int]) -> None:
    leaves, tree, tiles, size = _leaves(sum(counts)), GrowingTree(), [], 0
    for count in counts:
        tiles += tree.append(leaves[size : size + count])
        size += count
        assert tree.root() == _by_definition(leaves[:size])
    joined = b"".join(leaves)
    assert {(tile.number, tile.hashes) for tile in tiles if tile.level == 0} == {
        (number, joined[number * 8192 : number * 8192 + 8192]) for number in range(size // 256)
    }


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600, 65_535, 65_536, 66_000])
def test_it_goes_on_from_tiles_alone(size: int) -> None:
    leaves = _leaves(size + 700)
    tree = GrowingTree.of_size(size, _Hashes(leaves[:size]).at)
    whole = GrowingTree()
    whole.append(leaves[:size])

    assert tree.root() == whole.root()
    assert tree.append(leaves[size:]) == whole.append(leaves[size:])
    assert tree.root() == whole.root()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 65, 100])
def test_every_leaf_is_proven_in_every_tree(size: int) -> None:
    leaves = _leaves(size)
    root, hashes = _by_definition(leaves), _Hashes(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(index, size, hashes.at)
        assert root_of_inclusion(leaf, index, size, path) == root
        for other in range(size):
            if other != index:
                assert _leads_elsewhere(leaf, other, size, path, root)


def _leads_elsewhere(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    try:
        return root_of_inclusion(leaf, index, size, path) != root
    except ProofError:
        return True


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 65])
def test_every_tree_is_proven_to_be_the_beginning(size: int) -> None:
    leaves = _leaves(size)
    root, hashes = _by_definition(leaves), _Hashes(leaves)
    for old in range(size + 1):
        path = consistency_path(old, size, hashes.at)
        check_consistency(old, _by_definition(leaves[:old]), size, root, path)
        if old:
            other = _by_definition([*leaves[: old - 1], b"x" * 32])
            with pytest.raises(ProofError):
                check_consistency(old, other, size, root, path)
        for place in range(len(path)):
            with pytest.raises(ProofError):
                check_consistency(
                    old,
                    _by_definition(leaves[:old]),
                    size,
                    root,
                    [*path[:place], b"x" * 32, *path[place + 1 :]],
                )


@pytest.mark.parametrize(("old", "size"), [(300, 70_000), (65_536, 70_000), (69_999, 70_000)])
def test_proofs_of_a_large_tree_come_from_its_tiles(old: int, size: int) -> None:
    leaves = _leaves(size)
    hashes = _Hashes(leaves)
    root = root_over(0, size, hashes.at)
    tree = GrowingTree()
    tree.append(leaves)

    assert root == tree.root()
    check_consistency(
        old, root_over(0, old, hashes.at), size, root, consistency_path(old, size, hashes.at)
    )
    path = inclusion_path(old, size, hashes.at)
    assert root_of_inclusion(leaves[old], old, size, path) == root


@pytest.mark.parametrize("change", ["longer", "shorter"])
def test_a_path_has_one_length(change: str) -> None:
    leaves = _leaves(10)
    path = inclusion_path(3, 10, _Hashes(leaves).at)
    with pytest.raises(ProofError):
        root_of_inclusion(leaves[3], 3, 10, [*path, path[0]] if change == "longer" else path[:-1])


def test_there_is_no_proof_of_what_is_not_there() -> None:
    hashes = _Hashes(_leaves(4))
    with pytest.raises(ProofError):
        inclusion_path(4, 4, hashes.at)
    with pytest.raises(ProofError):
        consistency_path(5, 4, hashes.at)
    with pytest.raises(ProofError):
        check_consistency(5, b"", 4, b"", [])
