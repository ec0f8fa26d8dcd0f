"""boto3 as we use it, and what each of its failures means to us.

It blocks; its own retries are kept to one, inside the deadline of a request.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from payment_token.domain.errors import (
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
)
from payment_token.infrastructure.custody.aws_refusal import AWSRefusalError

logger = logging.getLogger(__name__)

_THROTTLES = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_MISCONFIGURED = (
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)


class AWSClient:
    """One service, for example ``kms``, in whatever regions it is called. Any thread may call."""

    def __init__(self, name: str, endpoint_url: str | None, connections: int) -> None:
        self._name = name
        self._endpoint_url = endpoint_url
        self._connections = connections
        self._clients: dict[str, Any] = {}
        self._making_client = threading.Lock()

    def call(
        self, region: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]:
        """Raises AWSRefusalError, KeyCustodianThrottledError, KeyCustodianUnavailableError."""
        fault: PaymentTokenError | AWSRefusalError
        try:
            answer: Mapping[str, Any] = getattr(self._client(region), operation)(**parameters)
        except ClientError as error:
            fault = self._fault(operation, error)
        except Exception as error:  # noqa: BLE001 - see the next line
            # Of an answer that makes no sense botocore raises whatever its parser stumbles over.
            logger.warning(
                "no call to AWS was possible",
                extra={"service": self._name, "fault": type(error).__name__},
            )
            fault = KeyCustodianUnavailableError()
            if isinstance(error, _MISCONFIGURED):
                # A client that found no credentials never looks again.
                self._clients.pop(region, None)
                fault = AWSRefusalError(type(error).__name__)
        else:
            return answer
        raise fault

    def _fault(self, operation: str, error: ClientError) -> PaymentTokenError | AWSRefusalError:
        # Of the error we keep its code: its message may quote what was sent.
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        logger.warning(
            "AWS refuses a call",
            extra={"service": self._name, "operation": operation, "fault": code},
        )
        if code in _THROTTLES or status == 429:  # noqa: PLR2004 - the HTTP status
            return KeyCustodianThrottledError()
        if status >= 500 or code == "KMSInternalException":  # noqa: PLR2004 - likewise
            return KeyCustodianUnavailableError()
        return AWSRefusalError(code)

    def _client(self, region: str) -> Any:
        with self._making_client:
            if region not in self._clients:
                self._clients[region] = self._new_client(region)
            return self._clients[region]

    def _new_client(self, region: str) -> Any:
        # A session of its own: boto3's default session is not safe to share between threads while it is made.
        return boto3.session.Session().client(
            self._name,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self._endpoint_url,
            config=Config(
                connect_timeout=1,
                read_timeout=1,
                max_pool_connections=self._connections,
                retries={"mode": "standard", "total_max_attempts": 2},
            ),
        )
