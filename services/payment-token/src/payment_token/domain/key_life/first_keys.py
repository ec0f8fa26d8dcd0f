"""The first version of each key of a new deployment."""

from payment_token.domain.key_life.key_event import (
    KeyEvent,
    KeyEventKind,
    public_key_of,
    sign,
)
from payment_token.domain.key_life.ports import KeyVersions
from payment_token.domain.key_life.version import KeyPurpose, KeyState, KeyVersion, key_context
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter

# The signing key comes first: the history of the others begins with it.
_ORDER = (KeyPurpose.AUDIT_SIGNING, KeyPurpose.SERVICE, KeyPurpose.INDEX)


class FirstKeys:
    """Does nothing where there are keys. Processes that start together settle on the same ones."""

    def __init__(
        self, versions: KeyVersions, encrypter: KeyEncrypter, clock: Clock, environment: str
    ) -> None:
        self._versions = versions
        self._encrypter = encrypter
        self._clock = clock
        self._environment = environment

    async def __call__(self, version: str, kek_uri: str) -> None:
        for purpose in _ORDER:
            if not await self._versions.all(purpose):
                await self._make(purpose, version, kek_uri)

    async def _make(self, purpose: KeyPurpose, version: str, kek_uri: str) -> None:
        context = key_context(purpose, version, self._environment)
        clear, wrapped = await self._encrypter.generate_key(kek_uri, context)
        now, named = self._clock.now(), NamedKey(version, clear)
        signs = purpose is KeyPurpose.AUDIT_SIGNING
        made = KeyVersion(
            purpose=purpose,
            version=version,
            state=KeyState.ACTIVE,
            kek_uri=kek_uri,
            wrapped_key=wrapped,
            environment=self._environment,
            activated_at=now,
            public_key=public_key_of(named) if signs else None,
        )
        signing_key = named if signs else await self._signing_key()
        statements = [
            sign(
                KeyEvent(kind, purpose, version, now, self._environment, {"kek": kek_uri}),
                signing_key,
            )
            for kind in (KeyEventKind.CREATED, KeyEventKind.ACTIVATED)
        ]
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
