"""What terminals do wrong, as lines of the log."""

import logging

from payment_token.domain.device_events import DeviceEvent

logger = logging.getLogger(__name__)


class LoggedDeviceEvents:
    async def note(self, event: DeviceEvent) -> None:
        logger.warning("a terminal did something unusual", extra={"kind": event.kind.value})
