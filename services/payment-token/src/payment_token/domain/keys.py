"""A clear key together with the name of its version. The name is stored with what it protects; keys are never guessed."""

from dataclasses import dataclass

from payment_token.domain.sensitive import SecretKey

NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class NamedKey:
    """``name`` is 1 to 64 ASCII characters, for example ``v1`` for a service key; ``key`` is 32 bytes."""

    name: str
    key: SecretKey

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_LIMIT or not self.name.isascii():
            raise ValueError(f"the name of a key is 1 to {NAME_LIMIT} ASCII characters")
