"""Bodies of batches. What is wrong with an item is found when it is its turn, and fails no other."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from payment_token.api.batch import MOST
from payment_token.api.rest.token_models import CreateTokenBody, ProblemBody, StrictModel
from payment_token.domain.errors import IdempotencyKeyMissingError
from payment_token.domain.identifiers import IDEMPOTENCY_KEY

CREATE_LIMIT_BYTES = 8 * 1024 * 1024
DECRYPT_LIMIT_BYTES = 1024 * 1024
"""Whose items are names only."""


def _items(model: str) -> Any:
    return Field(
        min_length=1,
        max_length=MOST,
        json_schema_extra={"items": {"$ref": f"#/components/schemas/{model}"}},
    )


class CreateItemBody(CreateTokenBody):
    idempotency_key: str = Field(
        default="", json_schema_extra={"pattern": f"^{IDEMPOTENCY_KEY.pattern}$"}
    )

    def given_key(self) -> str:
        if not self.idempotency_key:
            raise IdempotencyKeyMissingError("idempotency_key: is required.")
        return self.idempotency_key


class CreateBatchBody(StrictModel):
    items: Annotated[list[Any], _items("CreateItemBody")]


class DecryptBatchBody(StrictModel):
    items: Annotated[list[Any], _items("DecryptBody")]


class ResultBody(BaseModel):
    """``body`` is that of the single route where ``status`` is 200 or 201, else there is a ``problem``.

    ``repr`` is off: a body may hold card data in clear.
    """

    status: int
    idempotency_replayed: bool | None = None
    body: dict[str, Any] | None = Field(default=None, repr=False)
    problem: ProblemBody | None = None


class BatchResultsBody(BaseModel):
    """In the order of the items."""

    results: list[ResultBody]
