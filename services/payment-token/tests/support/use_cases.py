"""The use cases on fakes: everything in memory, and every switch within a test's reach."""

import itertools
import os
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from payment_token.cli.card_reads import card_read
from payment_token.cli.published_cards import PUBLISHED_CARDS, PublishedCard
from payment_token.cli.virtual_terminal import DUKPTTerminal, new_base
from payment_token.domain.arrival import Arrival
from payment_token.domain.card_data import CardChecksPolicy
from payment_token.domain.complete_authorization import CompleteAuthorization
from payment_token.domain.decrypt_payload import DecryptPayload
from payment_token.domain.device_aead import AEADKeyName, device_key, seal_part
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.device_payload import EncryptedPart, EncryptedPayload, PartFormat, Scheme
from payment_token.domain.device_profile import Encryption
from payment_token.domain.dukpt import KSN, initial_key
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    Enrolment,
    RegistrationRule,
)
from payment_token.domain.errors import KeyCustodianUnavailableError
from payment_token.domain.failed_attempts import AttemptName, FailedAttempts
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.limit_refusals import LimitRefusals
from payment_token.domain.release import Release
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.tokenise import Tokenise, TokenRules
from payment_token.domain.tokenise_request import TokeniseRequest
from payment_token.domain.worker_limits import WorkerLimits
from payment_token.domain.worker_policy import ReleaseField, WorkerGrant, WorkerPolicy
from tests.fakes.fixed_keys import FixedKeys
from tests.fakes.memory_audit_log import MemoryAuditLog
from tests.fakes.memory_device_events import MemoryDeviceEvents
from tests.fakes.memory_failed_attempts import MemoryFailedAttempts
from tests.fakes.memory_token_store import MemoryTokenStore
from tests.fakes.memory_worker_ledger import MemoryWorkerLedger

MERCHANT = MerchantId("m_1")
BDK = BaseDerivationKey("b_1", "local:b_1", BDKAlgorithm.AES_128, is_default=True)
BDK_KEY = SecretKey(bytes(range(16)))
RULES = TokenRules(
    environment="test",
    card_checks=CardChecksPolicy.STRICT,
    registration=RegistrationRule.OPEN,
    profile_required=False,
    default_ttl=timedelta(hours=24),
    max_ttl=timedelta(hours=48),
    sad_ttl=timedelta(hours=1),
)


@dataclass
class World:
    """``time`` is what every clock here says."""

    rules: TokenRules = RULES
    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    device: Device | None = None
    bdk: BaseDerivationKey = BDK
    bdk_is_retired: bool = False
    custodian_calls: int = 0
    custodian_is_away: bool = False
    service_keys: FixedKeys = field(default_factory=lambda: FixedKeys("v1"))
    epoch_keys: FixedKeys = field(default_factory=lambda: FixedKeys("e1"))
    index_keys: FixedKeys = field(default_factory=lambda: FixedKeys("i1"))

    def __post_init__(self) -> None:
        self.store = self.claims = MemoryTokenStore(self.now, timedelta(hours=24))
        self.attempts = MemoryFailedAttempts()
        self.failed_attempts = FailedAttempts(self.attempts)
        self.device_events = MemoryDeviceEvents()
        self.audit_log = MemoryAuditLog(self.store, self.now)
        self.policy = WorkerPolicy(
            {
                "spiffe://w": WorkerGrant(
                    frozenset({MERCHANT}), frozenset({"capture"}), frozenset(ReleaseField)
                )
            }
        )
        self.ledger = MemoryWorkerLedger(self.now)
        self.limits = WorkerLimits(self.ledger, self._seconds)
        self.over_limit: list[tuple[str, str]] = []
        self.limit_refusals = LimitRefusals(
            self.audit_log, self, lambda limit, worker: self.over_limit.append((limit, worker))
        )
        self.cryptography = CryptographyState(lambda failed: None)
        self.device_events = MemoryDeviceEvents()
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return self.time

    def _seconds(self) -> float:
        return self.time.timestamp()

    def current(self) -> WorkerPolicy:
        return self.policy

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        self.custodian_calls += 1
        if self.custodian_is_away:
            raise KeyCustodianUnavailableError
        return initial_key(BDK_KEY, ksn)

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        self.custodian_calls += 1
        if self.custodian_is_away:
            raise KeyCustodianUnavailableError
        return device_key(BDK_KEY, name)

    async def decrypt(
        self, bdk: BaseDerivationKey, ksn: KSN, encryption: Encryption, ciphertext: bytes
    ) -> SensitiveBytes:
        raise AssertionError("no key here is of a remote custodian")

    async def look_up(
        self,
        merchant_id: MerchantId,
        idempotency_key: str,
        device_id: DeviceId,
        attempt: AttemptName,
    ) -> Arrival:
        return Arrival(
            await self.claims.find_claim(merchant_id, idempotency_key),
            Enrolment(self.device, [] if self.bdk_is_retired else [self.bdk]),
            self.attempts.counted[attempt],
        )

    @property
    def tokenise(self) -> Tokenise:
        return Tokenise(
            rules=self.rules,
            clock=self,
            store=self.store,
            arrivals=self,
            decrypt_payload=DecryptPayload(
                DeviceKeys(self, lambda: 0.0, lambda: 0.5), self, self.cryptography
            ),
            failed_attempts=self.failed_attempts,
            device_events=self.device_events,
            service_keys=self.service_keys,
            epoch_keys=self.epoch_keys,
            index_keys=self.index_keys,
            random=os.urandom,
        )

    @property
    def release(self) -> Release:
        return Release(
            environment=self.rules.environment,
            clock=self,
            store=self.store,
            audit_log=self.audit_log,
            policies=self,
            service_keys=self.service_keys,
            epoch_keys=self.epoch_keys,
            limits=self.limits,
            limit_refusals=self.limit_refusals,
            device_events=self.device_events,
        )

    @property
    def complete_authorization(self) -> CompleteAuthorization:
        return CompleteAuthorization(
            store=self.store,
            audit_log=self.audit_log,
            policies=self,
            limits=self.limits,
            limit_refusals=self.limit_refusals,
            device_events=self.device_events,
        )

    def request(
        self,
        card: PublishedCard = PUBLISHED_CARDS[0],
        part: PartFormat = PartFormat.TRACK2,
        key: str | None = None,
        ttl_seconds: int | None = None,
        terminal: DUKPTTerminal | None = None,
    ) -> TokeniseRequest:
        """The next read of a terminal; of a new one where none is named."""
        terminal = terminal or self.terminal()
        ksn, ciphertext = terminal.encrypt_read(card, part)
        return TokeniseRequest(
            idempotency_key=key or uuid.uuid4().hex,
            merchant_id=MERCHANT,
            device_id=DeviceId(terminal.device_id),
            payload=EncryptedPayload(
                (EncryptedPart(part, ciphertext),), ksn=str(ksn), scheme=Scheme.DUKPT_AES
            ),
            ttl_seconds=ttl_seconds,
            metadata={"order": "A-100"},
        )

    def terminal(self) -> DUKPTTerminal:
        base = new_base(BDK)
        injected = initial_key(BDK_KEY, KSN.of_any_counter(base.hex(), Scheme.DUKPT_AES))
        return DUKPTTerminal(f"d_{next(self._numbers)}", BDK, base, injected)

    def aead_request(
        self,
        card: PublishedCard = PUBLISHED_CARDS[0],
        part: PartFormat = PartFormat.TRACK2,
        key_epoch: int = 1,
        device_id: DeviceId | None = None,
        counter: int = 1,
    ) -> TokeniseRequest:
        """A read of a device-aead terminal; ``bdk`` must be such a key."""
        device_id = device_id or DeviceId(f"d_{next(self._numbers)}")
        name = AEADKeyName.checked(MERCHANT, device_id, key_epoch)
        key = device_key(BDK_KEY, name)
        ciphertext = seal_part(key, name, part, counter, SensitiveBytes(card_read(card, part)))
        return TokeniseRequest(
            idempotency_key=uuid.uuid4().hex,
            merchant_id=MERCHANT,
            device_id=device_id,
            payload=EncryptedPayload(
                (EncryptedPart(part, ciphertext),), key_epoch=key_epoch, scheme=Scheme.DEVICE_AEAD
            ),
            ttl_seconds=None,
            metadata={},
        )


def with_payload(request: TokeniseRequest, **changes: object) -> TokeniseRequest:
    return replace(request, payload=replace(request.payload, **changes))  # type: ignore[arg-type]
