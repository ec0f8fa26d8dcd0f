"""The policy file (TOML): which worker may have what. ``payment-token dev init`` writes a commented example.

.. code-block:: toml

    [[worker]]
    identity   = "spiffe://example.org/worker/settlement"   # URI SAN of its certificate, else DNS SAN
    merchants  = ["m_4711", "m_4712"]                        # or ["*"]
    purposes   = ["authorization", "capture"]                # or ["*"]
    fields     = ["pan", "expiry"]                           # of pan, expiry, cardholder_name, sad
    operations = ["decrypt"]                                # of decrypt, authorization-complete; default: decrypt
    budget     = { tokens = 10000, window_seconds = 3600 }  # different tokens in an hour; default: no limit
    rate       = { requests = 200, per_seconds = 1 }        # requests in a second; default: no limit
"""

import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from payment_token.domain.identifiers import MERCHANT_ID, PURPOSE
from payment_token.domain.worker_policy import (
    EVERYTHING,
    Budget,
    Operation,
    Rate,
    ReleaseField,
    WorkerGrant,
    WorkerPolicy,
)
from payment_token.settings import ConfigurationError


class _Budget(BaseModel):
    """A window is a day at most: what was charged stays in the database as long, and an hour more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    window_seconds: Annotated[int, Field(ge=1, le=86_400)]


class _Rate(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    per_seconds: Annotated[int, Field(ge=1, le=3_600)]


class _Worker(BaseModel):
    model_config = ConfigDict(extra="forbid")

    identity: Annotated[str, Field(min_length=1, max_length=2048)]
    merchants: list[Annotated[str, Field(pattern=rf"^(\{EVERYTHING}|{MERCHANT_ID.pattern})$")]]
    purposes: list[Annotated[str, Field(pattern=rf"^(\{EVERYTHING}|{PURPOSE.pattern})$")]]
    fields: list[ReleaseField]
    operations: list[Operation] = [Operation.DECRYPT]
    budget: _Budget | None = None
    rate: _Rate | None = None

    def to_domain(self) -> WorkerGrant:
        return WorkerGrant(
            frozenset(self.merchants),
            frozenset(self.purposes),
            frozenset(self.fields),
            frozenset(self.operations),
            None if self.budget is None else Budget(**self.budget.model_dump()),
            None if self.rate is None else Rate(**self.rate.model_dump()),
        )


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    worker: list[_Worker] = []


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """``sha256`` is of the file's bytes, 64 hexadecimal digits."""

    policy: WorkerPolicy
    sha256: str


class WorkerPolicyFile:
    """Meets the port WorkerPolicies."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError when the file is missing or wrong."""
        self._path = path
        self._in_force = _read(path)

    def current(self) -> WorkerPolicy:
        return self._in_force.policy

    @property
    def path(self) -> Path:
        return self._path

    @property
    def in_force(self) -> FoundPolicy:
        return self._in_force

    def read(self) -> FoundPolicy:
        """The file as it is now. Raises ConfigurationError."""
        return _read(self._path)

    def adopt(self, found: FoundPolicy) -> None:
        self._in_force = found


def _read(path: Path) -> FoundPolicy:
    try:
        content = path.read_bytes()
        file = _PolicyFile.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise ConfigurationError(
            f"WORKER_POLICY_FILE: {path} cannot be read ({error.strerror})."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"WORKER_POLICY_FILE: {path} is not UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"WORKER_POLICY_FILE: {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"WORKER_POLICY_FILE: {path}: {places}") from None
    identities = [worker.identity for worker in file.worker]
    if len(set(identities)) != len(identities):
        raise ConfigurationError(f"WORKER_POLICY_FILE: {path} names a worker twice.")
    policy = WorkerPolicy({worker.identity: worker.to_domain() for worker in file.worker})
    return FoundPolicy(policy, sha256(content).hexdigest())
