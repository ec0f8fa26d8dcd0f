"""Keys that do not come from a custodian: fixed ones, by name."""

from payment_token.domain.keys import NamedKey
from payment_token.domain.sensitive import SecretKey


class FixedKeys:
    """Meets the ports VersionedKeys and RotatingKeys."""

    def __init__(self, *names: str) -> None:
        self.keys = {
            name: NamedKey(name, SecretKey(name.encode().ljust(32, b"."))) for name in names
        }
        self.active_name = names[-1]
        self.seems_active: str | None = None

    async def active(self) -> NamedKey:
        return self.keys[self.seems_active or self.active_name]

    async def named(self, name: str) -> NamedKey | None:
        return self.keys.get(name)

    async def opening(self) -> dict[str, NamedKey]:
        return dict(self.keys)

    def forget_active(self) -> None:
        self.seems_active = None
