"""A message that is refused before anything of it is decrypted: whoever sent it is told which check failed, and no value."""

from payment_token.domain.errors import InvalidFieldError

FRAME_FIELD = "encrypted_payload.parts.frame"


def refused(rule: str) -> InvalidFieldError:
    """``rule`` goes on after the field's name: "the LRC does not match"."""
    return InvalidFieldError(FRAME_FIELD, rule)
