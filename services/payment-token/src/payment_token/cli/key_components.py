"""Key components, as a key ceremony hands them over: one to three hexadecimal strings that are XORed."""

from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.settings import ConfigurationError

MOST_COMPONENTS = 3


def combine(components: list[SensitiveText], algorithm: BDKAlgorithm) -> SecretKey:
    """Parity bits of TDES keys are neither checked nor adjusted: DUKPT uses all bits as they are."""
    if not 1 <= len(components) <= MOST_COMPONENTS:
        raise ConfigurationError("A key comes in one to three components.")
    total = 0
    for number, component in enumerate(components, 1):
        total ^= int.from_bytes(_bytes_of(component, number, algorithm), "big")
    return SecretKey(total.to_bytes(algorithm.key_bytes, "big"))


def _bytes_of(component: SensitiveText, number: int, algorithm: BDKAlgorithm) -> bytes:
    text = "".join(component.reveal().split())
    raw = b""
    if text.isascii() and text.isalnum():
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
    if len(raw) != algorithm.key_bytes:
        raise ConfigurationError(
            f"Component {number} must be {algorithm.key_bytes * 2} hexadecimal digits for {algorithm}."
        )
    return raw
