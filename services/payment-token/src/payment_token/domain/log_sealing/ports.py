"""What sealing needs from outside."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from payment_token.domain.log_sealing.chain_check import Chain, LogRow
from payment_token.domain.log_sealing.seal import LastSeal, Seal
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.frontier import Frontier


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that come after a chain, by sequence, at least one."""

    chain: Chain
    rows: Sequence[LogRow]


class SealedLog(Protocol):
    """The log and its seals. Any method may raise DatabaseUnavailableError."""

    async def last_seal(self) -> LastSeal | None: ...

    async def frontier(self, size: int) -> Frontier:
        """Of the tree with so many leaves, from what is stored. Raises LookupError when a part is missing."""
        ...

    async def waiting(
        self, opened_since: datetime | None, without: Collection[UUID], most: int
    ) -> Sequence[Waiting]:
        """What is not sealed yet, up to ``most`` records, each writer's from the first one on; a writer's share is fair.

        Of writers that it has sealed records of, and of new ones that opened the log since then; ``None`` is ever.
        """
        ...

    async def write(self, seal: Seal) -> datetime:
        """Writes the seal, its tiles, and how far chains are sealed, in one transaction. Returns when it was sealed."""
        ...

    async def has_recovered_from(self, checkpoint: Checkpoint) -> bool:
        """Whether a record of the log says that it was restored, and gives up that state of it."""
        ...


class SealedLogs(Protocol):
    def alone(self) -> AbstractAsyncContextManager[SealedLog | None]:
        """``None`` while another process seals this log. Nobody else does until the block ends.

        Raises DatabaseUnavailableError.
        """
        ...


class PlaceUnavailableError(Exception):
    """A place outside the database does not take a checkpoint, or cannot be read. No request waits for it."""


class CheckpointPlace(Protocol):
    """A place outside the database that keeps checkpoints. Any method may raise PlaceUnavailableError."""

    @property
    def name(self) -> str:
        """For people: which place it is."""
        ...

    async def beyond(self, size: int) -> str | None:
        """The note of a tree of this size or a larger one, the largest it finds; ``None`` where it has none."""
        ...

    async def publish(self, note: str) -> None:
        """Returns once it is kept. The same note again is fine."""
        ...
