"""Card numbers that card networks and processors publish for testing. None is live."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedCard:
    pan: str
    expiry_yymm: str
    service_code: str
    name: str

    @property
    def track1(self) -> str:
        return f"%B{self.pan}^{self.name}^{self.expiry_yymm}{self.service_code}0000000000000?"

    @property
    def track2(self) -> str:
        return f";{self.pan}={self.expiry_yymm}{self.service_code}0000000000?"


PUBLISHED_CARDS = (
    PublishedCard("4111111111111111", "3012", "201", "DOE/JANE"),
    PublishedCard("5555555555554444", "2911", "201", "ROE/RICHARD"),
    PublishedCard("378282246310005", "2808", "201", "MOE/MARIA"),
    PublishedCard("6011111111111117", "3103", "201", "POE/PAUL"),
    PublishedCard("3530111333300000", "3006", "201", "SATO/HANAKO"),
    PublishedCard("30569309025904", "2912", "201", "COE/CARLA"),
    PublishedCard("6200000000000005", "3107", "201", "LI/WEI"),
    PublishedCard("6759649826438453", "2810", "201", "LOE/LARS"),
)
