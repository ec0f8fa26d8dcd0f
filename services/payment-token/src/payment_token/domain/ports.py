"""What the use cases need from the world outside. Each port is owned here and met in ``infrastructure``.

Any method may raise DatabaseUnavailableError or KeyCustodianUnavailableError, as far as a database or a custodian
stands behind it. Nothing else of an adapter's own comes through.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

from payment_token.domain.arrival import Arrival
from payment_token.domain.audit import AuditEvent, Receipt
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_profile import Encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.keys import NamedKey
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.token import Claim, NewToken, SADEnd, StoredToken
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import WorkerPolicy


class Clock(Protocol):
    def now(self) -> datetime:
        """The database's time, as estimated by this process. Aware, UTC."""
        ...


class InitialKeys(Protocol):
    """A custodian of BDKs. It gives what a device was injected with; no method gives a BDK."""

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        """The initial key of the device that the KSN names (X9.24-1 Annex A.6, X9.24-3 §6.3.3)."""
        ...

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        """The 32-byte key of a ``device-aead`` terminal."""
        ...


class RemoteDecryptor(Protocol):
    """A custodian that decrypts payloads itself, so that not even derived keys reach this process."""

    async def decrypt(
        self, bdk: BaseDerivationKey, ksn: KSN, encryption: Encryption, ciphertext: bytes
    ) -> SensitiveBytes:
        """Raises DecryptionFailedError where the custodian refuses the ciphertext."""
        ...


class KeyEncrypter(Protocol):
    """A custodian of KEKs. ``context`` binds a wrapped key: it does not unwrap under any other."""

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        """A new 32-byte key in clear, and wrapped under the KEK."""
        ...

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes: ...

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        """Raises RecordIntegrityFailureError when the wrapped key is not of this KEK and context."""
        ...


class KEKs(Protocol):
    """The life of KEKs, for rotation."""

    async def make_kek(self, like_uri: str, name: str) -> str:
        """Makes a KEK where ``like_uri`` lives, and returns its URI; a custodian that numbers its keys ignores the name."""
        ...

    async def destroy_kek(self, kek_uri: str, waiting_days: int) -> datetime | None:
        """Begins its destruction. Returns when it will be gone, ``None`` when it is."""
        ...

    async def destruction_due(self, kek_uri: str) -> datetime | None:
        """When a KEK whose destruction has begun will be gone, ``None`` when it is."""
        ...


class VersionedKeys(Protocol):
    """Keys that rotate: the active version protects what is new, every version opens what it once protected."""

    async def active(self) -> NamedKey:
        """Raises EncryptionKeyOverdueError when no version may protect anything new."""
        ...

    async def named(self, name: str) -> NamedKey | None:
        """``None`` when there is no such version, or no longer."""
        ...


class RotatingKeys(VersionedKeys, Protocol):
    async def opening(self) -> Mapping[str, NamedKey]:
        """Every version that opens records, by name, but for those whose KEK is lost. For work of seconds."""
        ...

    def forget_active(self) -> None:
        """The version last given as active turned out to be so no longer: find out anew."""
        ...


class Arrivals(Protocol):
    async def look_up(
        self,
        merchant_id: MerchantId,
        idempotency_key: str,
        device_id: DeviceId,
        attempt: AttemptName,
    ) -> Arrival:
        """The request's claim, its terminal's registration, every BDK that could serve the KSN, and what failed under it."""
        ...


class TokenStore(Protocol):
    """Merchants never see each other's tokens: every method takes the merchant."""

    async def create(self, new: NewToken) -> Claim | CounterVerdict:
        """Writes token, claim, device binding and the counters in one transaction, and returns once they are durable.

        When another request holds the idempotency key, writes nothing and returns that request's claim; while it is
        still being worked on, waits up to two seconds for it and then raises IdempotencyInProgressError. Raises
        UnknownDeviceError when the initial key is bound to another device or merchant, KSNReplayedError for counters that
        are not fresh where the rule is to reject them, and InactiveKeyError when the service key is no longer the active
        one.
        """
        ...

    async def get(self, merchant_id: MerchantId, token_id: TokenId) -> StoredToken | None: ...

    async def revoke(self, merchant_id: MerchantId, token_id: TokenId) -> bool:
        """Ends the token and shreds its sealed records; again is fine. ``False`` when there is no such token."""
        ...

    async def end_sad(
        self,
        merchant_id: MerchantId,
        token_id: TokenId,
        record: Callable[[], Awaitable[None]],
    ) -> SADEnd | None:
        """Shreds the token's SAD; again is fine, and gives the times of the first. ``None`` when there is no such SAD.

        ``record`` is awaited once the SAD cannot be released any more, and before that counts: whatever it raises leaves
        the SAD as it was.
        """
        ...


class InactiveKeyError(Exception):
    """The record was sealed under a key that rotation has retired meanwhile: seal again."""


class TokenChangedError(Exception):
    """The token was revoked, or expired, or its SAD ended, between its reading and its release: read again."""


class AuditLog(Protocol):
    """Raises AuditUnavailableError, within two seconds, whenever it cannot say that the record is durable."""

    async def record(self, event: AuditEvent) -> Receipt:
        """Returns once the record is durable."""
        ...

    async def record_release(self, event: AuditEvent, *, with_sad: bool) -> Receipt:
        """Returns once the record is durable, and only if the token is still active and unexpired then.

        With ``with_sad`` its SAD must be live as well. The token is re-read under a share lock in the transaction
        that writes the record, so that nothing is released after its end was acknowledged. Raises TokenChangedError,
        and records nothing, when that no longer holds.
        """
        ...

    def take_back(self, event: AuditEvent, receipt: Receipt) -> None:
        """The card data of this release did not leave after all: a record that says so follows as soon as one can."""
        ...


class WorkerPolicies(Protocol):
    def current(self) -> WorkerPolicy: ...
