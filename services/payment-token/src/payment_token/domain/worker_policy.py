"""Which worker may have what. Whatever no grant names is denied."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from payment_token.domain.errors import ForbiddenError
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
class WorkerGrant:
    """``merchants`` and ``purposes`` are exact names, or ``*`` for all."""

    merchants: frozenset[str]
    purposes: frozenset[str]
    fields: frozenset[ReleaseField]
    operations: frozenset[Operation] = frozenset({Operation.DECRYPT})

    def covers(
        self, merchant_id: MerchantId, purpose: str, fields: frozenset[ReleaseField]
    ) -> bool:
        """Of a release."""
        return (
            self.allows(Operation.DECRYPT, merchant_id)
            and not self.purposes.isdisjoint((purpose, EVERYTHING))
            and fields <= self.fields
        )

    def allows(self, operation: Operation, merchant_id: MerchantId) -> bool:
        return operation in self.operations and not self.merchants.isdisjoint(
            (merchant_id, EVERYTHING)
        )


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """Grants by worker identity."""

    grants: Mapping[str, WorkerGrant]

    def check(
        self, worker: Worker, merchant_id: MerchantId, purpose: str, fields: frozenset[ReleaseField]
    ) -> None:
        """Raises ForbiddenError unless the worker's own grant covers the whole request."""
        self.check_known(worker)
        if not self.grants[worker.identity].covers(merchant_id, purpose, fields):
            raise ForbiddenError(
                "The policy does not grant this worker this merchant, purpose and set of fields."
            )

    def check_operation(
        self, worker: Worker, merchant_id: MerchantId, operation: Operation
    ) -> None:
        """Raises ForbiddenError unless the worker's own grant has this operation for this merchant."""
        self.check_known(worker)
        if not self.grants[worker.identity].allows(operation, merchant_id):
            raise ForbiddenError(
                "The policy does not grant this worker this operation for this merchant."
            )

    def check_known(self, worker: Worker) -> None:
        """Raises ForbiddenError for an identity that the policy does not name."""
        if worker.identity not in self.grants:
            raise ForbiddenError("The policy does not name this worker.")
