"""The tree of an archive, beside the definition of RFC 6962 §2.1."""

import os

import pytest

from payment_token.domain.audit_archive.growing_tree import GrowingTree
from payment_token.domain.audit_archive.layout import TilePlace, packed, places_over, unpacked
from payment_token.domain.transparency.hashes import EMPTY_ROOT, leaf_hash, node_hash


def defined_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(defined_root(leaves[:half]), defined_root(leaves[half:]))


def test_its_root_is_that_of_the_definition_at_every_size() -> None:
    leaves = [leaf_hash(os.urandom(9)) for _ in range(1100)]
    tree = GrowingTree()
    for size in range(len(leaves) + 1):
        if size in {0, 1, 2, 3, 7, 255, 256, 257, 511, 512, 1023, 1100}:
            assert tree.root() == defined_root(leaves[:size])
        if size < len(leaves):
            tree.add(leaves[size])


def test_tiles_come_out_when_they_are_full_one_level_after_the_other() -> None:
    tree = GrowingTree()
    places = [
        tile.place for number in range(2 * 256**2) for tile in tree.add(leaf_hash(b"%d" % number))
    ]

    assert places[:2] == [TilePlace(0, 0), TilePlace(0, 1)]
    assert places[255:258] == [TilePlace(0, 255), TilePlace(1, 0), TilePlace(0, 256)]
    assert [place for place in places if place.level == 1] == [TilePlace(1, 0), TilePlace(1, 1)]
    assert [tile.place for tile in tree.partial_tiles()] == [TilePlace(2, 0, 2)]


def test_it_goes_on_from_its_partial_tiles() -> None:
    tree = GrowingTree()
    for number in range(70_000):
        tree.add(leaf_hash(b"%d" % number))
    edge: list[list[bytes]] = []
    for tile in tree.partial_tiles():
        edge += [[] for _ in range(tile.place.level + 1 - len(edge))]
        edge[tile.place.level] = [
            tile.hashes[begin : begin + 32] for begin in range(0, len(tile.hashes), 32)
        ]
    again = GrowingTree(tree.size, edge)
    for number in range(600):
        assert again.add(leaf_hash(b"%d" % number)) == tree.add(leaf_hash(b"%d" % number))
    assert again.root() == tree.root()


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (TilePlace(0, 0), "tile/0/000"),
        (TilePlace(1, 1_234_067), "tile/1/x001/x234/067"),
        (TilePlace(0, 1000, 7), "tile/0/x001/000.p/7"),
    ],
)
def test_paths_are_those_of_tlog_tiles(place: TilePlace, path: str) -> None:
    assert place.path == path


def test_the_tiles_over_a_month_are_those_that_its_root_needs() -> None:
    assert list(places_over(600, 66_000)) == [
        *(TilePlace(0, index) for index in range(2, 257)),
        TilePlace(0, 257, 208),
        TilePlace(1, 0),
        TilePlace(1, 1, 1),
        TilePlace(2, 0, 1),
    ]


def test_a_bundle_is_read_as_it_was_written() -> None:
    entries = [os.urandom(length) for length in (0, 1, 300, 8220)]

    assert unpacked(packed(entries)) == entries
    assert packed(entries) == packed(entries)
