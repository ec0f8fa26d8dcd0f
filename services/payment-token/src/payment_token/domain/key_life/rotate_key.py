"""Rotate: a new version takes over what is new, without a restart and without a failed request.

1. make the version, under a KEK of its own, and store it as pending; one that an earlier attempt left is taken up
2. wait until every running process has it
3. make it the active one; what was active opens what it sealed, and no more
"""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from payment_token.domain.errors import KeyCustodianUnavailableError
from payment_token.domain.key_life.history import KeyHistory
from payment_token.domain.key_life.key_event import KeyEventKind
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
from payment_token.domain.ports import KEKs, KeyEncrypter
from payment_token.domain.self_test import SelfTestResult
from payment_token.domain.self_test.custodians import prove_kek

PATIENCE_SECONDS = 60.0
SHORTEST_WAITING_DAYS = 7  # of AWS KMS; other custodians destroy at once
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Rotated:
    """``old`` is the version that was active, else the latest."""

    old: KeyVersion
    new: KeyVersion


class RotateKey:
    def __init__(
        self,
        *,
        versions: KeyVersions,
        encrypter: KeyEncrypter,
        keks: KEKs,
        history: KeyHistory,
        environment: str,
    ) -> None:
        self._versions = versions
        self._encrypter = encrypter
        self._keks = keks
        self._history = history
        self._environment = environment

    async def __call__(
        self,
        purpose: KeyPurpose,
        *,
        kek_uri: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Rotated:
        """``kek_uri`` names the KEK of the new version; without it one is made where the KEK of the active version lives.

        Raises KeyLifeError when a running process does not learn the version in time. It stays pending then, and the
        next attempt goes on from there.
        """
        every_version = await self._versions.all()
        known = [version for version in every_version if version.purpose is purpose]
        if not known:
            raise KeyLifeError(f"there is no active {purpose} key yet: payment-token keys init")
        # None is active when a recovery found that the active one of the restored state has been destroyed since.
        old = next((version for version in known if version.state is KeyState.ACTIVE), known[-1])
        await self._history.check_can_sign()
        # 1.
        new = next((version for version in known if version.state is KeyState.PENDING), None)
        if new is None:
            check_own_kek(every_version, kek_uri)
            new = await self._make(purpose, known, old.kek_uri, kek_uri)
        elif kek_uri not in (None, new.kek_uri):
            raise KeyLifeError(
                f"the version {new.version} is pending already, under {new.kek_uri}:"
                " rotate without naming a KEK, or retire it first"
            )
        # 2.
        await self._wait_for_holders(new, patience_seconds)
        # 3.
        statement = await self._history.statement(
            KeyEventKind.ACTIVATED, new, instead_of=old.version
        )
        await self._versions.activate(new, statement)
        return Rotated(old, new)

    async def _make(
        self,
        purpose: KeyPurpose,
        known: Sequence[KeyVersion],
        like_kek_uri: str,
        kek_uri: str | None,
    ) -> KeyVersion:
        name = next_version([version.version for version in known])
        made = kek_uri is None
        if kek_uri is None:
            kek_uri = await self._make_kek(purpose, name, like_kek_uri)
        try:
            await self._check(kek_uri)
            return await self._add(purpose, name, kek_uri)
        except (KeyLifeError, KeyCustodianUnavailableError):
            # Another rotation was quicker, or the KEK is of no use. What nothing is under must not stay behind.
            if made:
                with contextlib.suppress(KeyCustodianUnavailableError):
                    await self._keks.destroy_kek(kek_uri, SHORTEST_WAITING_DAYS)
            raise

    async def _check(self, kek_uri: str) -> None:
        # Before anything depends on it. That a custodian is away, or refuses, shows in the next step.
        result = await prove_kek(self._encrypter, kek_uri, self._environment)
        if isinstance(result, SelfTestResult) and not result.passed:
            raise KeyLifeError(f"the {result.name} {result.detail}: nothing was rotated")

    async def _make_kek(self, purpose: KeyPurpose, name: str, like_uri: str) -> str:
        # The random end keeps apart what an attempt left behind that died before it stored its version.
        kek_name = f"payment-token-{self._environment}-{purpose}-{name}-{secrets.token_hex(3)}"
        return await self._keks.make_kek(like_uri, kek_name)

    async def _add(self, purpose: KeyPurpose, name: str, kek_uri: str) -> KeyVersion:
        new, clear = await new_version(
            self._encrypter, purpose, name, kek_uri=kek_uri, environment=self._environment
        )
        clear.key.wipe()
        await self._versions.add(
            new, await self._history.statement(KeyEventKind.CREATED, new, **new.made_of)
        )
        return new

    async def _wait_for_holders(self, new: KeyVersion, patience_seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while missing := await self._versions.holders_without(new):
            if asyncio.get_running_loop().time() >= deadline:
                raise KeyLifeError(
                    f"the version {new.version} stays pending: {', '.join(missing)} cannot use it yet."
                    " See the log there (is the process allowed to use the KEK?), then rotate again"
                )
            await asyncio.sleep(_POLL_SECONDS)
