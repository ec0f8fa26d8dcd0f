"""Which worker may have what. Whatever no grant names is denied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from payment_token.domain.errors import ForbiddenError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId

EVERYTHING = "*"


class ReleaseField(StrEnum):
    """A group of card data that a worker asks for by name."""

    PAN = "pan"
    EXPIRY = "expiry"
    CARDHOLDER_NAME = "cardholder_name"
    SAD = "sad"


class Operation(StrEnum):
    """What a worker does with a token, as the policy names it."""

    DECRYPT = "decrypt"
    AUTHORIZATION_COMPLETE = "authorization-complete"


@dataclass(frozen=True, slots=True)
class Worker:
    """Who asks, as its verified client certificate says, and from where.

    ``identity`` is empty where the certificate does not name exactly one; such a worker is refused, and audited.
    """

    identity: str
    certificate_sha256: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker wants to do. ``purpose`` and ``fields`` are of a release; a completion has none."""

    merchant_id: MerchantId
    operation: Operation = Operation.DECRYPT
    purpose: str | None = None
    fields: frozenset[ReleaseField] = frozenset()


class GrantPart(StrEnum):
    """What a grant consists of, as the policy file names it."""

    OPERATIONS = "operations"
    MERCHANTS = "merchants"
    PURPOSES = "purposes"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Budget:
    """Of how many different tokens a worker gets the card data in a window, from all processes together."""

    tokens: int
    window_seconds: int

    def __str__(self) -> str:
        return f"{self.tokens:,} different tokens in {_seconds(self.window_seconds)}"


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests a worker may make in so many seconds, to all processes together."""

    requests: int
    per_seconds: int

    def __str__(self) -> str:
        return f"{self.requests:,} requests in {_seconds(self.per_seconds)}"


@dataclass(frozen=True, slots=True)
class WorkerGrant:
    """``merchants`` and ``purposes`` are exact names, or ``*`` for all. Without budget or rate there is no such limit."""

    merchants: frozenset[str]
    purposes: frozenset[str]
    fields: frozenset[ReleaseField]
    operations: frozenset[Operation] = frozenset({Operation.DECRYPT})
    budget: Budget | None = None
    rate: Rate | None = None

    def lacking(self, asked: Asked) -> Iterator[GrantPart]:
        """The parts that do not cover what is asked; none when all of it is granted."""
        if asked.operation not in self.operations:
            yield GrantPart.OPERATIONS
        if self.merchants.isdisjoint((asked.merchant_id, EVERYTHING)):
            yield GrantPart.MERCHANTS
        if asked.purpose is not None and self.purposes.isdisjoint((asked.purpose, EVERYTHING)):
            yield GrantPart.PURPOSES
        if not asked.fields <= self.fields:
            yield GrantPart.FIELDS

    def covers(self, asked: Asked) -> bool:
        return next(self.lacking(asked), None) is None


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """Grants by worker identity."""

    grants: Mapping[str, WorkerGrant]

    def allows(self, identity: str, asked: Asked) -> bool:
        grant = self.grants.get(identity)
        return grant is not None and grant.covers(asked)

    def check(self, worker: Worker, asked: Asked) -> WorkerGrant:
        """The worker's own grant. Raises ForbiddenError unless it covers all that is asked."""
        grant = self.grants.get(worker.identity)
        if grant is not None and grant.covers(asked):
            return grant
        self.check_known(worker)
        if asked.operation is Operation.DECRYPT:
            raise ForbiddenError(
                "The policy does not grant this worker this merchant, purpose and set of fields."
            )
        raise ForbiddenError(
            "The policy does not grant this worker this operation for this merchant."
        )

    def check_known(self, worker: Worker) -> None:
        """Raises UnauthenticatedError for a worker without an identity, ForbiddenError for one that the policy does not name."""
        if not worker.identity:
            raise UnauthenticatedError(
                "The client certificate must carry one URI SAN, or else one DNS SAN."
            )
        if worker.identity not in self.grants:
            raise ForbiddenError("The policy does not name this worker.")


def _seconds(number: int) -> str:
    return f"{number:,} second{'' if number == 1 else 's'}"
