"""What is known of a request when it arrives, before anything of it is decrypted."""

from dataclasses import dataclass

from payment_token.domain.enrolment import Enrolment
from payment_token.domain.token import Claim


@dataclass(frozen=True, slots=True)
class Arrival:
    """The live claim under its idempotency key, ``None`` when there is none or its window has passed; its terminal.

    ``failures`` is how many payloads under its KSN and its API key did not decrypt.
    """

    claim: Claim | None
    enrolment: Enrolment
    failures: int = 0
