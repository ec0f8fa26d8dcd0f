"""What is known of a request when it arrives, before anything of it is decrypted."""

from dataclasses import dataclass

from payment_token.domain.enrolment import Enrolment
from payment_token.domain.token import Claim


@dataclass(frozen=True, slots=True)
class Arrival:
    """The live claim under its idempotency key, ``None`` when there is none or its window has passed; its terminal."""

    claim: Claim | None
    enrolment: Enrolment
