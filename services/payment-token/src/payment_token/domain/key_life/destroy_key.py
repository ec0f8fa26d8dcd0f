"""Destroy: the KEK of a retired version goes, and with it every copy of the version's key, in backups as well.

1. the version must be retired, and nothing under it
2. whatever else lives under its KEK moves under the KEK of the active service key
3. the custodian destroys the KEK, at once or after its waiting period
4. the wrapped key is dropped, and a signed statement says so
"""

from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.key_life.history import KeyHistory
from payment_token.domain.key_life.key_event import KeyEventKind, SignedStatement
from payment_token.domain.key_life.ports import EpochKeysOfKEK, KeyVersions
from payment_token.domain.key_life.retire_key import find_version
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose, KeyState, KeyVersion
from payment_token.domain.ports import KEKs, KeyEncrypter


@dataclass(frozen=True, slots=True)
class Destruction:
    """``due_at`` is when the custodian will have destroyed the KEK; ``None``: it has. ``statement`` is the proof.

    ``kept_for`` names the active service key when that one needs the KEK, which then stays.
    """

    due_at: datetime | None
    statement: SignedStatement
    kept_for: str | None = None


class DestroyKey:
    def __init__(
        self,
        *,
        versions: KeyVersions,
        epoch_keys: EpochKeysOfKEK,
        encrypter: KeyEncrypter,
        keks: KEKs,
        history: KeyHistory,
    ) -> None:
        self._versions = versions
        self._epoch_keys = epoch_keys
        self._encrypter = encrypter
        self._keks = keks
        self._history = history

    async def __call__(self, purpose: KeyPurpose, name: str, *, waiting_days: int) -> Destruction:
        """Raises KeyLifeError. Asked again, it goes on from where it stood, or tells whether the KEK is gone."""
        version = await find_version(self._versions, purpose, name)
        # 1.
        if version.state is KeyState.DESTROYED:
            raise KeyLifeError(f"the version {name} was destroyed before")
        if version.state is not KeyState.DESTROYING:
            raise KeyLifeError(f"the version {name} is {version.state}: retire it first")
        if version.wrapped_key is None:
            return await self._finish(version)
        rows = await self._versions.rows_under(version)
        if rows:
            raise KeyLifeError(f"{rows} records are under {name}, although it was retired")
        await self._history.check_can_sign()
        # 2. and 3.
        kept = await self._move_sharers(version)
        due_at = None if kept else await self._keks.destroy_kek(version.kek_uri, waiting_days)
        # 4.
        kind = KeyEventKind.DESTROYED if due_at is None else KeyEventKind.DESTRUCTION_BEGUN
        details: dict[str, str | int] = {"rows": 0, "kek": version.kek_uri}
        if due_at is not None:
            details["due_at"] = due_at.isoformat()
        if kept:
            details["kek_kept_for"] = kept
        statement = await self._history.statement(kind, version, **details)
        await self._versions.begin_destruction(version, due_at, statement)
        return Destruction(due_at, statement, kept)

    async def _finish(self, version: KeyVersion) -> Destruction:
        due_at = await self._keks.destruction_due(version.kek_uri)
        if due_at is not None:
            raise KeyLifeError(
                f"the custodian destroys the KEK of {version.version} on {due_at:%Y-%m-%d %H:%M %Z}."
                " Ask again after that for the statement of completion"
            )
        statement = await self._history.statement(
            KeyEventKind.DESTROYED, version, rows=0, kek=version.kek_uri
        )
        await self._versions.finish_destruction(version, statement)
        return Destruction(None, statement)

    async def _move_sharers(self, version: KeyVersion) -> str | None:
        """Returns the name of the active service key when that one needs the KEK, which then has to stay."""
        target = next(
            active
            for active in await self._versions.all(KeyPurpose.SERVICE)
            if active.state is KeyState.ACTIVE
        )
        if target.kek_uri == version.kek_uri:
            return f"{target.purpose} {target.version}"
        for sharer in await self._versions.sharers_of_kek(version):
            await self._move(sharer, target.kek_uri)
        await self._epoch_keys.move_from(version.kek_uri, target.kek_uri)
        return None

    async def _move(self, sharer: KeyVersion, kek_uri: str) -> None:
        clear = await self._encrypter.unwrap_key(
            sharer.kek_uri, sharer.wrapped_key or b"", sharer.context
        )
        wrapped = await self._encrypter.wrap_key(kek_uri, clear, sharer.context)
        clear.wipe()
        statement = await self._history.statement(KeyEventKind.MOVED, sharer, kek=kek_uri)
        await self._versions.move(sharer, kek_uri, wrapped, statement)
