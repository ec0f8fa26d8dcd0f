"""Cases that a worker policy is tested by (TOML), for a pipeline that a policy passes before a service reads it.

.. code-block:: toml

    [[case]]
    identity  = "spiffe://example.org/worker/settlement"
    merchant  = "m_4711"
    purpose   = "capture"
    fields    = ["pan"]          # default: pan, expiry
    operation = "decrypt"        # the default
    expect    = "allow"          # or "deny"
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from payment_token.domain.identifiers import MERCHANT_ID, PURPOSE, MerchantId
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.worker_policy import Asked, Operation, ReleaseField


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """``number`` counts from 1, in the order of the file."""

    number: int
    identity: str
    asked: Asked
    allowed: bool


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid")

    identity: Annotated[str, Field(min_length=1)]
    merchant: Annotated[str, Field(pattern=rf"^{MERCHANT_ID.pattern}$")]
    purpose: Annotated[str | None, Field(pattern=rf"^{PURPOSE.pattern}$")] = None
    fields: list[ReleaseField] = [ReleaseField.PAN, ReleaseField.EXPIRY]
    operation: Operation = Operation.DECRYPT
    expect: Literal["allow", "deny"]

    @model_validator(mode="after")
    def _a_decrypt_has_a_purpose(self) -> Self:
        if self.operation is Operation.DECRYPT and self.purpose is None:
            raise ValueError("a decrypt has a purpose")
        return self

    def to_domain(self, number: int) -> PolicyCase:
        released = self.operation is Operation.DECRYPT
        asked = Asked(
            MerchantId(self.merchant),
            self.operation,
            self.purpose if released else None,
            frozenset(self.fields) if released else frozenset(),
        )
        return PolicyCase(number, self.identity, asked, self.expect == "allow")


class _CasesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    case: Annotated[list[_Case], Field(min_length=1)]


def read_policy_cases(path: Path) -> Sequence[PolicyCase]:
    """Raises OperatorError when the file is missing or wrong, and when it has no case: that would test nothing."""
    try:
        file = _CasesFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise OperatorError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise OperatorError(f"{path} is not UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise OperatorError(f"{path}: {places}") from None
    return [case.to_domain(number) for number, case in enumerate(file.case, start=1)]
