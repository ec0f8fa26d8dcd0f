"""Key blocks, ANSI X9.143:2021 (ASC X9 TR 31:2018 before): a key that travels encrypted, with what it may be used for.

::

    D 0144 B0 A X 00 E 01 00   KC0C01…   6F3A…            91C4…
    └──────── header ───────┘ └optional┘ └ length, key, ┘ └ MAC ┘
                                blocks     random padding

The MAC is over header and clear key data, under a key derived from the key block protection key (KBPK), and is the IV
of the encryption too. So neither the key nor a word about it can be changed. Version B protects with TDES, D with AES;
A and C, which only mask the KBPK and are deprecated, are refused.

:mod:`header` and :mod:`optional_blocks` the text · :mod:`protection` the cryptography · :mod:`wrapping` wrap and unwrap ·
:mod:`check_values` the blocks KC and KP · :mod:`strength` which KBPK may protect which key ·
:mod:`received_key` a BDK that arrives · :mod:`provisioned_key` a terminal's key that leaves.
"""

from payment_token.domain.key_block.errors import (
    KeyBlockError,
    MalformedKeyBlockError,
    RefusedKeyBlockError,
    UnverifiedKeyBlockError,
)
from payment_token.domain.key_block.header import KeyBlockHeader, KeyBlockVersion
from payment_token.domain.key_block.optional_blocks import OptionalBlock
from payment_token.domain.key_block.wrapping import UnwrappedKey, unwrap, wrap

__all__ = [
    "KeyBlockError",
    "KeyBlockHeader",
    "KeyBlockVersion",
    "MalformedKeyBlockError",
    "OptionalBlock",
    "RefusedKeyBlockError",
    "UnverifiedKeyBlockError",
    "UnwrappedKey",
    "unwrap",
    "wrap",
]
