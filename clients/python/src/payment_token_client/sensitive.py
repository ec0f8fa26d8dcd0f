"""Card data that does not show itself.

repr, str, f-strings, ``dataclasses.asdict``, pickles, deep copies, JSON encoders, sets and dict keys get nothing or an
error. The one way to the value is :meth:`CardText.reveal`, so that a reviewer can search for every place that uses one.

This keeps a value out of sight, not out of memory: CPython cannot promise to wipe what it holds.
"""

import hmac
from typing import NoReturn


class CardText:
    """A text that shows neither its content nor its length.

    >>> pan = CardText("4111111111111111")
    >>> pan, f"{pan}"
    (<CardText: hidden>, '<CardText: hidden>')
    >>> pan.reveal()
    '4111111111111111'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<CardText: hidden>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Compares in constant time, so that a comparison tells nothing about how much of a guess was right."""
        if not isinstance(other, CardText):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    # A hash of a card number is as good as the number: there are few enough to try them all.
    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("card data is never pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("card data is never pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("card data is never pickled or copied")
