"""What the life of keys needs from the world outside. Any method may raise DatabaseUnavailableError."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_token.domain.identifiers import MerchantId
from payment_token.domain.key_life.key_event import SignedStatement
from payment_token.domain.key_life.version import KeyPurpose, KeyVersion
from payment_token.domain.token_id import TokenId


class KeyVersions(Protocol):
    async def all(self, purpose: KeyPurpose | None = None) -> Sequence[KeyVersion]:
        """The oldest first."""
        ...

    async def add_first(self, version: KeyVersion, statements: Sequence[SignedStatement]) -> None:
        """Adds the active first version of a purpose; does nothing when the purpose has one by now."""
        ...

    async def may_add(self) -> bool:
        """Whether this process may make versions."""
        ...

    async def add(self, version: KeyVersion, statement: SignedStatement) -> None:
        """Raises KeyLifeError when there is a version of this name."""
        ...

    async def holders_without(self, version: KeyVersion) -> Sequence[str]:
        """Descriptions of the running processes that do not have the version yet."""
        ...

    async def activate(self, version: KeyVersion, statement: SignedStatement) -> None:
        """Makes it the active one, and what was active decrypt-only, once no writer holds that one's lock.

        Raises KeyLifeError when the version is not pending, or writers do not let go in time.
        """
        ...

    async def rows_under(self, version: KeyVersion) -> int:
        """How many records name the version."""
        ...

    async def retire(self, version: KeyVersion, statement: SignedStatement) -> None:
        """From decrypt-only or pending to destroying. Counts under the lock that every writer shares.

        Raises KeyLifeError while rows remain, and says how many.
        """
        ...

    async def sharers_of_kek(self, version: KeyVersion) -> Sequence[KeyVersion]:
        """Other versions whose wrapped keys are under the same KEK."""
        ...

    async def move(
        self, version: KeyVersion, kek_uri: str, wrapped_key: bytes, statement: SignedStatement
    ) -> None:
        """The same key, wrapped under another KEK. Raises KeyLifeError when it was changed meanwhile."""
        ...

    async def begin_destruction(
        self, version: KeyVersion, due_at: datetime | None, statement: SignedStatement
    ) -> None:
        """Drops the wrapped key; ``due_at`` ``None`` means destroyed now, else it is destroying until then."""
        ...

    async def finish_destruction(self, version: KeyVersion, statement: SignedStatement) -> None: ...

    async def record(self, statement: SignedStatement) -> None: ...

    async def history(self) -> Sequence[SignedStatement]:
        """The oldest first."""
        ...


class EpochKeysOfKEK(Protocol):
    async def move_from(self, kek_uri: str, to_uri: str) -> None:
        """Wraps the live SAD epoch keys that are under one KEK under another."""
        ...


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record stands in the order in which batches go."""

    merchant_id: MerchantId
    token_id: TokenId


@dataclass(frozen=True, slots=True)
class SealedPAN:
    """``expires_at`` is what the record is bound to, besides its place."""

    place: RecordPlace
    expires_at: datetime
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """``last`` is ``None`` when nothing was left to do after the place that was asked for."""

    last: RecordPlace | None
    changed: int
    damaged: int


class SealedRecords(Protocol):
    """Card data at rest, for re-encryption."""

    async def count_not_under(self, version: str) -> int: ...

    async def change_batch(
        self,
        version: str,
        after: RecordPlace | None,
        limit: int,
        change: Callable[[SealedPAN], bytes | None],
    ) -> Batch:
        """Changes up to ``limit`` records that are not under the version yet, in one transaction.

        Whatever somebody else is at work on is left for the next pass; what changed meanwhile stays as it is. ``change``
        gives ``None`` for a record that it cannot open. Raises InactiveKeyError when the version is not active.
        """
        ...
