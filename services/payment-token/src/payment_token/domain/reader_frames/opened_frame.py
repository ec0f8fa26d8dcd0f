"""A reader's message, taken apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from payment_token.domain.device_payload import Cipher, KeyVariant, PartFormat
from payment_token.domain.sensitive import SensitiveBytes

ClearParts = Sequence[tuple[PartFormat, SensitiveBytes]]


@dataclass(frozen=True, slots=True)
class FrameMAC:
    """A retail MAC over ``message`` (ISO/IEC 9797-1 algorithm 3, as ANSI X9.19), under the MAC request key of ``ksn``."""

    ksn: str
    message: SensitiveBytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """``ksn`` is hexadecimal, as :meth:`KSN.from_hex` reads it. Each of ``ciphertexts`` is decrypted by itself.

    ``assemble`` takes the plaintexts in the same order, and gives the parts of the read in clear; it raises
    DecryptionFailedError for plaintexts that are not what the message says of them. ``serial`` is the reader's own serial
    number, where the message states one. ``cipher`` and ``key_variant`` likewise: request and profile must agree with them.

    Ciphertexts are not shown: of a message that was changed, what stands in their place may be what stood beside them.
    """

    ksn: str
    ciphertexts: tuple[bytes, ...] = field(repr=False)
    assemble: Callable[[Sequence[SensitiveBytes]], ClearParts]
    serial: str | None = None
    mac: FrameMAC | None = None
    cipher: Cipher | None = None
    key_variant: KeyVariant | None = None
