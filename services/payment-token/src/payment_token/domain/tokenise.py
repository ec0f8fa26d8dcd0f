"""Tokenise: a terminal's encrypted read becomes a payment token.

1. an earlier request under the same idempotency key answers first of all
2. find the terminal, its BDK and its profile
3. decrypt the payload
4. read the card
5. name the token and settle its times
6. seal PAN and SAD apart, each under its own key
7. store token, claim and binding in one transaction
"""

from dataclasses import dataclass
from datetime import timedelta

from payment_token.domain.card_data import (
    CardChecksPolicy,
    PaymentData,
    encode_pan_part,
    encode_sad_part,
    mask,
    read_card,
)
from payment_token.domain.decrypt_payload import DecryptPayload
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.enrolment import (
    Device,
    Enrolment,
    RegistrationRule,
    admit,
    choose_bdk,
    normalised_ksn,
)
from payment_token.domain.errors import (
    EncryptionKeyOverdueError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    InvalidInputError,
    KeyCustodianUnavailableError,
    TokenExpiredError,
    UnknownDeviceError,
)
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import (
    Arrivals,
    Clock,
    InactiveKeyError,
    RotatingKeys,
    TokenStore,
    VersionedKeys,
)
from payment_token.domain.refused_create import event_of
from payment_token.domain.request_fingerprint import request_fingerprint
from payment_token.domain.sealing import Purpose, Random, seal
from payment_token.domain.settled_payload import SettledPayload, settle_payload
from payment_token.domain.token import (
    Claim,
    DeviceBinding,
    NewToken,
    StoredToken,
    Token,
    TokenStatus,
)
from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.domain.tokenise_request import TokeniseRequest

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The deployment's rules. ``profile_required`` holds outside development: a request may only agree with its profile."""

    environment: str
    card_checks: CardChecksPolicy
    registration: RegistrationRule
    profile_required: bool
    default_ttl: timedelta
    max_ttl: timedelta
    sad_ttl: timedelta


@dataclass(frozen=True, slots=True)
class Tokenised:
    token: Token
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """A card read from a known terminal, in clear, in memory only."""

    card: PaymentData
    binding: DeviceBinding


class Tokenise:
    def __init__(
        self,
        *,
        rules: TokenRules,
        clock: Clock,
        store: TokenStore,
        arrivals: Arrivals,
        decrypt_payload: DecryptPayload,
        device_events: DeviceEvents,
        service_keys: RotatingKeys,
        epoch_keys: VersionedKeys,
        index_keys: RotatingKeys,
        random: Random,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._store = store
        self._arrivals = arrivals
        self._decrypt_payload = decrypt_payload
        self._device_events = device_events
        self._service_keys = service_keys
        self._epoch_keys = epoch_keys
        self._index_keys = index_keys
        self._random = random

    async def __call__(self, request: TokeniseRequest) -> Tokenised:
        try:
            return await self._tokenise(request)
        except InvalidInputError as error:
            event = event_of(error, request)
            if event is not None:
                await self._device_events.note(event)
            raise

    async def _tokenise(self, request: TokeniseRequest) -> Tokenised:
        ttl = self._ttl(request)
        # 1. an earlier request under the same key answers before device state and custodian are asked
        arrival = await self._arrivals.look_up(
            request.merchant_id,
            request.idempotency_key,
            request.device_id,
            normalised_ksn(request.payload.ksn),
        )
        if arrival.claim is not None:
            return await self._replay(request, arrival.claim)
        # 2. to 4.
        read = await self._read(request, arrival.enrolment)
        for _ in range(_ATTEMPTS):
            # 5. and 6.
            new = await self._seal(request, read, ttl)
            # 7.
            try:
                claim = await self._store.create(new)
            except InactiveKeyError:
                self._service_keys.forget_active()
                self._index_keys.forget_active()
                continue
            if claim is not None:
                return await self._replay(request, claim)
            return Tokenised(new.stored.token, replayed=False)
        raise EncryptionKeyOverdueError

    def _ttl(self, request: TokeniseRequest) -> timedelta:
        if request.ttl_seconds is None:
            return self._rules.default_ttl
        limit = int(self._rules.max_ttl.total_seconds())
        if not 1 <= request.ttl_seconds <= limit:
            raise InvalidFieldError("ttl_seconds", f"must be from 1 to {limit}")
        return timedelta(seconds=request.ttl_seconds)

    async def _replay(self, request: TokeniseRequest, claim: Claim) -> Tokenised:
        key = await self._index_keys.named(claim.fingerprint_key)
        if key is None:
            raise KeyCustodianUnavailableError
        if request_fingerprint(request, key) != claim.fingerprint:
            raise IdempotencyKeyReusedError
        stored = await self._store.get(request.merchant_id, claim.token_id)
        if stored is None:
            # Purged, so it had expired: an idempotency key outlives its token, and never makes a second one.
            raise TokenExpiredError(claim.token_id.text)
        stored.token.check_usable(self._clock.now())
        return Tokenised(stored.token, replayed=True)

    async def _read(self, request: TokeniseRequest, enrolment: Enrolment) -> _Read:
        payload = self._settle(request, enrolment)
        parts = await self._decrypt_payload(payload)
        card = read_card(parts, self._rules.card_checks, self._clock.now())
        return _Read(
            card, DeviceBinding(payload.bdk.bdk_id, payload.initial_key_id, request.device_id)
        )

    def _settle(self, request: TokeniseRequest, enrolment: Enrolment) -> SettledPayload:
        ksn, scheme = request.payload.ksn, request.payload.scheme
        admit(enrolment, self._rules.registration)
        bdk = choose_bdk(enrolment, ksn, scheme)
        payload = settle_payload(
            request, bdk, enrolment.device, profile_required=self._rules.profile_required
        )
        _check_initial_key(enrolment.device, payload)
        return payload

    async def _seal(self, request: TokeniseRequest, read: _Read, ttl: timedelta) -> NewToken:
        service_key = await self._service_keys.active()
        index_key = await self._index_keys.active()
        epoch_key = None if read.card.sad_part is None else await self._epoch_keys.active()
        created_at = self._clock.now()
        expires_at = created_at + ttl
        token_id = TokenId.new(self._random(RANDOM_BYTES), expires_at)
        token = Token(
            token_id=token_id,
            merchant_id=request.merchant_id,
            status=TokenStatus.ACTIVE,
            created_at=created_at,
            expires_at=expires_at,
            card=mask(read.card),
            metadata=request.metadata,
        )
        return NewToken(
            stored=self._sealed(token, read.card, service_key, epoch_key),
            service_key=service_key.name,
            idempotency_key=request.idempotency_key,
            claim=Claim(token_id, request_fingerprint(request, index_key), index_key.name),
            binding=read.binding,
        )

    def _sealed(
        self, token: Token, card: PaymentData, service_key: NamedKey, epoch_key: NamedKey | None
    ) -> StoredToken:
        sealed_pan = seal(
            encode_pan_part(card.pan_part),
            service_key,
            token.binding(Purpose.PAN, self._rules.environment, token.expires_at),
            self._random,
        )
        sealed_sad, deadline = None, None
        if card.sad_part is not None and epoch_key is not None:
            deadline = min(token.created_at + self._rules.sad_ttl, token.expires_at)
            sealed_sad = seal(
                encode_sad_part(card.sad_part),
                epoch_key,
                token.binding(Purpose.SAD, self._rules.environment, deadline),
                self._random,
            )
        return StoredToken(token, sealed_pan, sealed_sad, deadline, sad_destroyed_at=None)


def _check_initial_key(device: Device | None, payload: SettledPayload) -> None:
    # The claimed device id proves nothing; the initial key that the KSN names is what the terminal really has.
    if (
        device is not None
        and device.initial_key_ids
        and payload.initial_key_id not in device.initial_key_ids
    ):
        raise UnknownDeviceError
