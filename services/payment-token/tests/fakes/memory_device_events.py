from payment_token.domain.device_events import DeviceEvent


class MemoryDeviceEvents:
    def __init__(self) -> None:
        self.noted: list[DeviceEvent] = []

    async def note(self, event: DeviceEvent) -> None:
        self.noted.append(event)
