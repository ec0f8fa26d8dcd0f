"""The names of an enumeration in the domain and in ``proto/``: the same, behind a prefix there."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, TypeVar

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

Kind = TypeVar("Kind", bound=StrEnum)

_UNSPECIFIED = "UNSPECIFIED"


class Names(Generic[Kind]):
    def __init__(self, members: Iterable[Kind], wrapper: EnumTypeWrapper) -> None:
        prefix = wrapper.Name(0).removesuffix(_UNSPECIFIED)
        self._numbers = {member: wrapper.Value(prefix + member.name) for member in members}
        self._texts = {number: member.value for member, number in self._numbers.items()}

    def number(self, member: Kind) -> int:
        return self._numbers[member]

    def text(self, number: int) -> str:
        """As it stands in JSON. A number without a name gives a text without one, which the field's rule refuses."""
        return self._texts.get(number, str(number))

    def given(self, number: int) -> str | None:
        """Likewise; ``None`` for what was not given."""
        return self.text(number) if number else None
