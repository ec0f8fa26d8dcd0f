"""Events of terminals, all of them, in memory. The contract is :class:`payment_token.domain.device_events.DeviceEvents`."""

from payment_token.domain.device_events import DeviceEvent


class MemoryDeviceEvents:
    def __init__(self) -> None:
        self.noted: list[DeviceEvent] = []

    async def note(self, event: DeviceEvent) -> None:
        self.noted.append(event)
