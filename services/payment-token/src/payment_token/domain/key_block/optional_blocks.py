"""Optional blocks of a key block's header, X9.143 §6.3.6: what else its maker says about the key.

==============  ==========================================================================================
id              2 characters
length          2 hexadecimal digits, of the whole block; or ``00``, then 2 digits that say how many bytes
                of length follow, then these in hexadecimal
data            printable ASCII
==============  ==========================================================================================

The last one may be ``PB``, whose random data pads all of them to whole blocks of the cipher.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from payment_token.domain.key_block.errors import MalformedKeyBlockError

PADDING = "PB"

_HEAD = re.compile(r"([A-Z0-9]{2})([0-9A-F]{2})")
_LENGTH_BYTES = re.compile(r"[0-9A-F]{2}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_EXTENDED = 0
_MOST_LENGTH_BYTES = 4
_MOST_SHORT = 0xFF


@dataclass(frozen=True, slots=True)
class OptionalBlock:
    block_id: str
    data: str

    def __str__(self) -> str:
        length = 4 + len(self.data)
        if length <= _MOST_SHORT:
            return f"{self.block_id}{length:02X}{self.data}"
        return f"{self.block_id}0002{length + 6:04X}{self.data}"


def parse_blocks(text: str, count: int) -> tuple[tuple[OptionalBlock, ...], int]:
    """The blocks at the start of ``text`` without the padding, and where they end. Raises MalformedKeyBlockError."""
    blocks: list[OptionalBlock] = []
    end = 0
    for _ in range(count):
        block, length = _parse_block(text[end:])
        if block.block_id in {known.block_id for known in blocks}:
            raise MalformedKeyBlockError("an optional block of the key block is there twice")
        if any(known.block_id == PADDING for known in blocks):
            raise MalformedKeyBlockError("the padding block of the key block is not the last")
        blocks.append(block)
        end += length
    return tuple(block for block in blocks if block.block_id != PADDING), end


def blocks_text(blocks: Sequence[OptionalBlock], cipher_block: int) -> tuple[str, int]:
    """The blocks with the padding that they need, and how many that makes."""
    text = "".join(str(block) for block in blocks)
    missing = -len(text) % cipher_block
    if not missing:
        return text, len(blocks)
    # A padding block is 4 characters at least.
    missing += 0 if missing >= len(str(OptionalBlock(PADDING, ""))) else cipher_block
    return text + str(OptionalBlock(PADDING, "0" * (missing - 4))), len(blocks) + 1


def _parse_block(text: str) -> tuple[OptionalBlock, int]:
    head = _HEAD.match(text)
    if head is None:
        raise MalformedKeyBlockError("an optional block of the key block has no id and length")
    length, start = int(head[2], 16), head.end()
    if length == _EXTENDED:
        length, start = _extended_length(text, start)
    if not start <= length <= len(text):
        raise MalformedKeyBlockError("the length of an optional block is not one that it can have")
    data = text[start:length]
    if not _PRINTABLE.fullmatch(data):
        raise MalformedKeyBlockError("an optional block of the key block is not printable ASCII")
    return OptionalBlock(head[1], data), length


def _extended_length(text: str, start: int) -> tuple[int, int]:
    stated = _LENGTH_BYTES.match(text, start)
    number = int(stated[0], 16) if stated else 0
    end = start + 2 + 2 * number
    digits = text[start + 2 : end]
    if not 1 <= number <= _MOST_LENGTH_BYTES or not re.fullmatch(r"[0-9A-F]+", digits):
        raise MalformedKeyBlockError("the extended length of an optional block is malformed")
    return int(digits, 16), end
