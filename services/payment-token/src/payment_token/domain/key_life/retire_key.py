"""Retire: nothing is under a version (any more), so nobody may use it (any more)."""

from payment_token.domain.key_life.history import KeyHistory
from payment_token.domain.key_life.key_event import KeyEventKind
from payment_token.domain.key_life.ports import KeyVersions
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose, KeyState, KeyVersion


class RetireKey:
    def __init__(self, *, versions: KeyVersions, history: KeyHistory) -> None:
        self._versions = versions
        self._history = history

    async def __call__(self, purpose: KeyPurpose, name: str) -> KeyVersion:
        """Raises KeyLifeError for the active version, and while records remain under it; says how many.

        A pending version may be retired too, when its KEK turns out to be of no use: the next rotation makes another.
        """
        version = await find_version(self._versions, purpose, name)
        if version.state is KeyState.ACTIVE:
            raise KeyLifeError(
                f"the version {name} is {version.state}: rotate first, then re-encrypt"
            )
        if version.state not in (KeyState.PENDING, KeyState.DECRYPT_ONLY):
            raise KeyLifeError(f"the version {name} was retired before")
        statement = await self._history.statement(KeyEventKind.RETIRED, version, rows=0)
        await self._versions.retire(version, statement)
        return version


async def find_version(versions: KeyVersions, purpose: KeyPurpose, name: str) -> KeyVersion:
    """Raises KeyLifeError when there is none of this name."""
    for version in await versions.all(purpose):
        if version.version == name:
            return version
    raise KeyLifeError(f"there is no {purpose} key {name}: `payment-token keys list` shows them")
