"""What an operator must look at, of all that requests end with. In either protocol."""

import logging

from payment_token.domain.errors import PaymentTokenError, RecordIntegrityFailureError

logger = logging.getLogger(__name__)


def log_alarm(error: Exception, request_id: str) -> None:
    """A stored record that does not open, and whatever is no deliberate answer but a defect of the service."""
    if isinstance(error, RecordIntegrityFailureError):
        logger.critical("record integrity failure", extra={"request_id": request_id})
    elif not isinstance(error, PaymentTokenError):
        logger.error("defect", exc_info=error, extra={"request_id": request_id})
