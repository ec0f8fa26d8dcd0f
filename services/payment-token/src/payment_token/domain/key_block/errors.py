"""What can be wrong with a key block. The texts name fields and limits, never values."""

from payment_token.domain.operator_error import OperatorError


class KeyBlockError(OperatorError, ValueError):
    """The root of the two below: no key comes out of this block."""


class UnverifiedKeyBlockError(KeyBlockError):
    """It was changed, or was not made under this KBPK: nobody can tell which, so it is one error."""

    def __init__(
        self, detail: str = "the key block was changed, or was made under another protection key"
    ) -> None:
        super().__init__(detail)


class MalformedKeyBlockError(UnverifiedKeyBlockError):
    """Not even the form of a key block, so that no key was tried on it."""


class RefusedKeyBlockError(KeyBlockError):
    """It is genuine, and is not what is asked for: another usage, algorithm, size or check value."""
