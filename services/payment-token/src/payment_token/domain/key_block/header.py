"""The header of a key block, X9.143 §6.2: what the key is, in 16 characters and its optional blocks.

======  ==========  ===========================================================================
offset  characters  meaning
======  ==========  ===========================================================================
0       1           version: how the block is protected
1       4           length of the whole block in characters, decimal
5       2           usage: ``B0`` base derivation key, ``B1`` initial key, ``D0`` data encryption
7       1           algorithm: ``T`` TDES, ``A`` AES
8       1           mode of use: ``X`` derivation, ``E`` encryption, ``N`` whatever the usage implies
9       2           version of the key: ``00`` none, ``c…`` a component only
11      1           exportability: ``E`` under a trusted key, ``N`` never, ``S`` also under another
12      2           number of optional blocks, decimal
14      2           key context, reserved
======  ==========  ===========================================================================
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from payment_token.domain.key_block.errors import MalformedKeyBlockError
from payment_token.domain.key_block.optional_blocks import (
    OptionalBlock,
    blocks_text,
    parse_blocks,
)

FIXED_CHARACTERS = 16
MOST_CHARACTERS = 9999

_FIXED = re.compile(
    r"([A-Z0-9])([0-9]{4})([A-Z0-9]{2})([A-Z0-9])([A-Z0-9])([A-Za-z0-9]{2})([A-Z0-9])([0-9]{2})([0-2]0)"
)


class KeyBlockVersion(StrEnum):
    TDES = "B"
    AES = "D"

    @property
    def cipher_block(self) -> int:
        """Bytes of a block of the protecting cipher, and of the MAC."""
        return 8 if self is KeyBlockVersion.TDES else 16


@dataclass(frozen=True, slots=True)
class KeyBlockHeader:
    """``optional_blocks`` are those without the padding."""

    version: KeyBlockVersion
    usage: str
    algorithm: str
    mode_of_use: str
    exportability: str
    key_version: str = "00"
    optional_blocks: tuple[OptionalBlock, ...] = ()

    @classmethod
    def parse(cls, text: str) -> tuple[Self, int]:
        """The header of a whole key block, and where it ends. Raises MalformedKeyBlockError."""
        if len(text) > MOST_CHARACTERS:
            raise MalformedKeyBlockError(f"a key block is {MOST_CHARACTERS} characters at the most")
        fixed = _FIXED.match(text)
        if fixed is None:
            raise MalformedKeyBlockError("this does not start as a key block does")
        if int(fixed[2]) != len(text):
            raise MalformedKeyBlockError(
                "the key block is not as long as it says: was it copied whole, and nothing else?"
            )
        version = _version(fixed[1])
        blocks, length = parse_blocks(text[FIXED_CHARACTERS:], int(fixed[8]))
        if length % version.cipher_block:
            raise MalformedKeyBlockError("the optional blocks are not padded to whole blocks")
        return (
            cls(version, fixed[3], fixed[4], fixed[5], fixed[7], fixed[6], blocks),
            FIXED_CHARACTERS + length,
        )

    def text(self, rest: int) -> str:
        """As it stands before ``rest`` more characters. Raises ValueError for a block that would be too long."""
        blocks, count = blocks_text(self.optional_blocks, self.version.cipher_block)
        total = FIXED_CHARACTERS + len(blocks) + rest
        if total > MOST_CHARACTERS:
            raise ValueError("the optional blocks are too long for a key block")
        kind = (
            f"{self.usage}{self.algorithm}{self.mode_of_use}{self.key_version}{self.exportability}"
        )
        return f"{self.version}{total:04}{kind}{count:02}00{blocks}"

    def block(self, block_id: str) -> str | None:
        """The data of an optional block."""
        found = [block.data for block in self.optional_blocks if block.block_id == block_id]
        return found[0] if found else None


def _version(letter: str) -> KeyBlockVersion:
    if letter not in set(KeyBlockVersion):
        raise MalformedKeyBlockError(
            "the key block is not of version B or D, the two that this service takes"
        )
    return KeyBlockVersion(letter)
