"""The policy file (TOML): which worker may have what. ``payment-token dev init`` writes a commented example.

.. code-block:: toml

    [[worker]]
    identity  = "spiffe://example.org/worker/settlement"   # URI SAN of its certificate, else DNS SAN
    merchants = ["m_4711", "m_4712"]                        # or ["*"]
    purposes  = ["authorization", "capture"]                # or ["*"]
    fields    = ["pan", "expiry"]                           # of pan, expiry, cardholder_name, sad
"""

import logging
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from payment_token.domain.identifiers import MERCHANT_ID, PURPOSE
from payment_token.domain.worker_policy import EVERYTHING, ReleaseField, WorkerGrant, WorkerPolicy
from payment_token.settings import ConfigurationError

logger = logging.getLogger(__name__)


class _Worker(BaseModel):
    model_config = ConfigDict(extra="forbid")

    identity: Annotated[str, Field(min_length=1, max_length=2048)]
    merchants: list[Annotated[str, Field(pattern=rf"^(\{EVERYTHING}|{MERCHANT_ID.pattern})$")]]
    purposes: list[Annotated[str, Field(pattern=rf"^(\{EVERYTHING}|{PURPOSE.pattern})$")]]
    fields: list[ReleaseField]


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    worker: list[_Worker] = []


class WorkerPolicyFile:
    """Meets the port WorkerPolicies. ``reload`` takes a changed file over, or keeps the old policy if it is wrong."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError when the file is missing or wrong."""
        self._path = path
        self._policy = _read(path)

    def current(self) -> WorkerPolicy:
        return self._policy

    def reload(self) -> None:
        try:
            self._policy = _read(self._path)
        except ConfigurationError as error:
            logger.error(
                "worker policy not reloaded, the old one stays", extra={"reason": str(error)}
            )
        else:
            logger.info("worker policy reloaded", extra={"workers": len(self._policy.grants)})


def _read(path: Path) -> WorkerPolicy:
    try:
        file = _PolicyFile.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigurationError(
            f"WORKER_POLICY_FILE: {path} cannot be read ({error.strerror})."
        ) from None
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
    return WorkerPolicy(
        {
            worker.identity: WorkerGrant(
                frozenset(worker.merchants), frozenset(worker.purposes), frozenset(worker.fields)
            )
            for worker in file.worker
        }
    )
