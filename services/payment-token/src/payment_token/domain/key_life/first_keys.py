"""The first version of each key of a new deployment."""

from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.key_event import (
    KeyEvent,
    KeyEventKind,
    sign,
)
from payment_token.domain.key_life.new_version import new_version
from payment_token.domain.key_life.ports import KeyVersions
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose, KeyState
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter

# The signing key comes first: the history of the others begins with it.
_ORDER = (KeyPurpose.AUDIT_SIGNING, KeyPurpose.SERVICE, KeyPurpose.INDEX)


class FirstKeys:
    """Does nothing where there are keys. Processes that start together settle on the same ones."""

    def __init__(
        self,
        *,
        versions: KeyVersions,
        encrypter: KeyEncrypter,
        clock: Clock,
        changes: AuditedKeyChanges,
        environment: str,
    ) -> None:
        self._versions = versions
        self._changes = changes
        self._encrypter = encrypter
        self._clock = clock
        self._environment = environment

    async def __call__(self, version: str, kek_uri: str) -> None:
        """Raises KeyLifeError where there are none, and this process may not make them."""
        for purpose in _ORDER:
            if not await self._versions.all(purpose):
                if not await self._versions.may_add():
                    raise KeyLifeError(
                        f"there is no {purpose} key yet, and this login may not make one. An operator does, once:"
                        " payment-token keys init"
                    )
                await self._make(purpose, version, kek_uri)

    async def _make(self, purpose: KeyPurpose, version: str, kek_uri: str) -> None:
        now = self._clock.now()
        made, clear = await new_version(
            self._encrypter,
            purpose,
            version,
            kek_uri=kek_uri,
            environment=self._environment,
            active_since=now,
        )
        signing_key = clear if purpose is KeyPurpose.AUDIT_SIGNING else await self._signing_key()
        events = [
            KeyEvent(kind, purpose, version, now, self._environment, made.made_of)
            for kind in (KeyEventKind.CREATED, KeyEventKind.ACTIVATED)
        ]
        statements = [sign(event, signing_key) for event in events]
        for event in events:
            await self._changes.record(event)
        await self._versions.add_first(made, statements)

    async def _signing_key(self) -> NamedKey:
        active = next(
            version
            for version in await self._versions.all(KeyPurpose.AUDIT_SIGNING)
            if version.state is KeyState.ACTIVE
        )
        clear = await self._encrypter.unwrap_key(
            active.kek_uri, active.wrapped_key or b"", active.context
        )
        return NamedKey(active.version, clear)
