"""A whole tree in memory, as its tiles, and the leaves of the published vectors."""

from collections.abc import Sequence

from payment_token.domain.transparency.frontier import Frontier, Tile, TileName
from payment_token.domain.transparency.hashes import HASH_BYTES, leaf_hash

# testonly/constants.go of transparency-dev/merkle, from the tests of Certificate Transparency: leaves, and the root of a
# tree of the first one, the first two, and so on.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class MemoryTiles:
    """``read_names`` are the tiles that were read."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.frontier = Frontier()
        self.full = {
            tile.name: tile.hashes for tile in self.frontier.append(list(map(leaf_hash, entries)))
        }
        self.read_names: list[TileName] = []

    async def read(self, name: TileName, width: int) -> Tile:
        self.read_names.append(name)
        if name in self.full:
            return Tile(name, self.full[name][: width * HASH_BYTES])
        partial = self.frontier._levels[name.level]
        assert name.index == self.frontier.size >> 8 * (name.level + 1)
        assert len(partial) >= width
        return Tile(name, b"".join(partial[:width]))


def entries(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]
