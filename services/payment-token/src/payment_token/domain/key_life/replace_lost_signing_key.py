"""Replace the audit signing key when its KEK is lost: without one, nothing that must be signed can be done any more.

The new version signs its own beginning, and says whom it replaces. An auditor sees the break: the statement is not
signed by the version before it.
"""

from payment_token.domain.errors import KeyCustodianRefusedError, RecordIntegrityFailureError
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.key_event import KeyEvent, KeyEventKind, SignedStatement, sign
from payment_token.domain.key_life.new_version import new_version
from payment_token.domain.key_life.ports import KeyVersions
from payment_token.domain.key_life.version import (
    KeyLifeError,
    KeyPurpose,
    KeyState,
    KeyVersion,
    check_own_kek,
    next_version,
)
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter

_PURPOSE = KeyPurpose.AUDIT_SIGNING


class ReplaceLostSigningKey:
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

    async def __call__(self, kek_uri: str) -> KeyVersion:
        """Raises KeyLifeError when the active version opens, KeyCustodianUnavailableError when nobody can tell now."""
        every_version = await self._versions.all()
        known = [version for version in every_version if version.purpose is _PURPOSE]
        if not known:
            raise KeyLifeError("there is no audit signing key yet: payment-token keys init")
        # None is active when a recovery found that the active one of the restored state has been destroyed since.
        lost = next((version for version in known if version.state is KeyState.ACTIVE), known[-1])
        check_own_kek(every_version, kek_uri)
        if await self._opens(lost):
            raise KeyLifeError(f"the audit signing key {lost.version} opens: rotate it")
        new, clear = await new_version(
            self._encrypter,
            _PURPOSE,
            next_version([version.version for version in known]),
            kek_uri=kek_uri,
            environment=self._environment,
        )
        created = await self._statement(KeyEventKind.CREATED, new, clear, lost)
        await self._versions.add(new, created)
        activated = await self._statement(KeyEventKind.ACTIVATED, new, clear, lost)
        await self._versions.activate(new, activated)
        clear.key.wipe()
        return new

    async def _opens(self, version: KeyVersion) -> bool:
        if version.wrapped_key is None:
            return False
        try:
            clear = await self._encrypter.unwrap_key(
                version.kek_uri, version.wrapped_key, version.context
            )
        except (KeyCustodianRefusedError, RecordIntegrityFailureError):
            return False
        clear.wipe()
        return True

    async def _statement(
        self, kind: KeyEventKind, new: KeyVersion, clear: NamedKey, lost: KeyVersion
    ) -> SignedStatement:
        details = {"instead_of_lost": lost.version, **new.made_of}
        event = KeyEvent(kind, _PURPOSE, new.version, self._clock.now(), self._environment, details)
        signed = sign(event, clear)
        await self._changes.record(event)
        return signed
