"""What one seal writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.log_sealing.chain_check import Chain
from payment_token.domain.transparency.frontier import Tile


@dataclass(frozen=True, slots=True)
class SealedRun:
    """The records ``first_sequence`` … ``chain.sequence`` of a writer, which is sealed as far as ``chain`` says now."""

    chain: Chain
    first_sequence: int


@dataclass(frozen=True, slots=True)
class Seal:
    """The leaves ``first_index`` … ``tree_size - 1`` are the runs, in order. ``tiles`` became full by it.

    ``checkpoint`` is the signed note, ``signing_key`` the version of the key that signed it.
    """

    first_index: int
    tree_size: int
    root: bytes
    runs: Sequence[SealedRun]
    tiles: Sequence[Tile]
    checkpoint: str
    signing_key: str


@dataclass(frozen=True, slots=True)
class LastSeal:
    tree_size: int
    root: bytes
    sealed_at: datetime
    checkpoint: str
