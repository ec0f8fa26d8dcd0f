"""What the custodians of keys prove: that they answer, and answer right.

A wrong answer is a failed self-test. No answer is none: a custodian may be away when a process starts, and is asked
again. A refusal (a missing key, a missing permission) is for an operator to mend, and stops nothing here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.version import key_context
from payment_token.domain.ports import KeyEncrypter
from payment_token.domain.self_test.cryptography_state import CryptographyState
from payment_token.domain.self_test.known_answer import SelfTestResult

PURPOSE = "self-test"


class CheckValues(Protocol):
    async def check_value(self, bdk: BaseDerivationKey) -> str:
        """The check value of a BDK, from its custodian. Raises KeyCustodianUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The custodian was away, or refused. ``detail`` is advice for an operator."""

    name: str
    refused: bool
    detail: str


class KEKProofs:
    """Asks each KEK once; one whose custodian was away is asked again the next time.

    ``results`` has the last word of each, by its URI.
    """

    def __init__(
        self, encrypter: KeyEncrypter, cryptography: CryptographyState, environment: str
    ) -> None:
        self._encrypter = encrypter
        self._cryptography = cryptography
        self._environment = environment
        self.results: dict[str, SelfTestResult | Unanswered] = {}

    async def __call__(self, kek_uris: Iterable[str]) -> None:
        for kek_uri in sorted(set(kek_uris)):
            known = self.results.get(kek_uri)
            if self._cryptography.stopped or not (known is None or _was_away(known)):
                continue
            result = await prove_kek(self._encrypter, kek_uri, self._environment)
            self.results[kek_uri] = result
            if isinstance(result, SelfTestResult):
                self._cryptography.learn([result])


async def prove_kek(
    encrypter: KeyEncrypter, kek_uri: str, environment: str
) -> SelfTestResult | Unanswered:
    """A key that is made and wrapped under the KEK must unwrap to itself, and under another context not at all."""
    name = f"KEK {kek_uri}"
    try:
        fault = await _kek_fault(encrypter, kek_uri, environment)
    except KeyCustodianUnavailableError as error:
        return _unanswered(name, error)
    return SelfTestResult(name, fault is None, fault or "wraps and unwraps, bound to its context")


async def prove_bdk(
    custodian: CheckValues, bdk: BaseDerivationKey, registered_check_value: str
) -> SelfTestResult | Unanswered:
    """The key that is there now must be the one that was registered."""
    name = f"BDK {bdk.bdk_id}"
    try:
        value = await custodian.check_value(bdk)
    except KeyCustodianUnavailableError as error:
        return _unanswered(name, error)
    if value == registered_check_value:
        return SelfTestResult(name, passed=True, detail=f"key check value {value}")
    return SelfTestResult(
        name,
        passed=False,
        detail=f"was registered with key check value {registered_check_value},"
        f" and {bdk.key_uri} has {value} now: it is another key",
    )


async def _kek_fault(encrypter: KeyEncrypter, kek_uri: str, environment: str) -> str | None:
    context = key_context(PURPOSE, "v1", environment)
    clear, wrapped = await encrypter.generate_key(kek_uri, context)
    try:
        if clear.reveal() in wrapped:
            return "wraps a key into itself in clear"
        opened = await encrypter.unwrap_key(kek_uri, wrapped, context)
        if opened != clear:
            return "unwraps to another key than it wrapped"
    except RecordIntegrityFailureError:
        return "does not unwrap what it wrapped"
    finally:
        clear.wipe()
    if await _unwraps(encrypter, kek_uri, wrapped, key_context(PURPOSE, "v2", environment)):
        return "does not bind what it wraps to its context"
    return None


async def _unwraps(
    encrypter: KeyEncrypter, kek_uri: str, wrapped: bytes, context: dict[str, str]
) -> bool:
    try:
        (await encrypter.unwrap_key(kek_uri, wrapped, context)).wipe()
    except RecordIntegrityFailureError:
        return False
    return True


def _unanswered(name: str, error: KeyCustodianUnavailableError) -> Unanswered:
    if isinstance(error, KeyCustodianRefusedError):
        return Unanswered(name, refused=True, detail=error.advice)
    return Unanswered(name, refused=False, detail=str(error))


def _was_away(result: SelfTestResult | Unanswered) -> bool:
    return isinstance(result, Unanswered) and not result.refused
