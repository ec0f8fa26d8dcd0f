"""Values that must not leak: card data, keys, passphrases.

Everything that shows an object by accident (repr, f-strings, tracebacks that print locals, ``dataclasses.asdict``,
pickles, deep copies, JSON encoders, sets and dict keys) gets nothing or an error. The one way to the value is
:meth:`Sensitive.reveal`, so that a reviewer can search for every place that uses one.

This keeps a value out of sight, not out of memory: CPython cannot promise to wipe what it holds.
"""

import hmac
from typing import Any, Generic, NoReturn, TypeVar

Value = TypeVar("Value", str, bytes)


class Sensitive(Generic[Value]):
    """A text or byte string that shows neither its content nor its length."""

    __slots__ = ("_value",)
    _value: Value

    def __init__(self, value: Value) -> None:
        self._value = value

    def reveal(self) -> Value:
        return self._value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: hidden>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Compares in constant time, so that a comparison tells nothing about how much of a guess was right."""
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(_as_bytes(self._value), _as_bytes(other._value))

    # A hash of a card number is as good as the number: there are few enough to try them all.
    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is never pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is never pickled or copied")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is never pickled or copied")


class SecretKey(Sensitive[bytes]):
    """The clear bytes of a cryptographic key. Whoever keeps one for a time wipes it when that time is over."""

    __slots__ = ("_wiped",)

    def __init__(self, value: bytes) -> None:
        # Kept as a bytearray, whose content can be overwritten.
        self._value = bytearray(value)  # type: ignore[assignment]
        self._wiped = False

    def reveal(self) -> bytes:
        """A copy. Raises ValueError once the key was wiped: zeros must never be taken for a key."""
        if self._wiped:
            raise ValueError("this key was wiped")
        return bytes(self._value)

    def wipe(self) -> None:
        """Overwrites the key here. The copies that were revealed are the interpreter's, which does not wipe."""
        self._value[:] = bytes(len(self._value))  # type: ignore[index]
        self._wiped = True


class SensitiveText(Sensitive[str]):
    """Card data, passphrases and API key secrets as text."""

    __slots__ = ()


class SensitiveBytes(Sensitive[bytes]):
    """Card data as bytes, for example a decrypted track before it is parsed."""

    __slots__ = ()


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
