"""Readers' messages for a diagnosis: as they are pasted, and taken apart."""

import base64
import binascii
import re
import sys
from contextlib import suppress
from pathlib import Path

from payment_token.domain.device_payload import Container, ReaderFrame
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.reader_frames import open_frame as messages
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD
from payment_token.domain.reader_frames.opened_frame import OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.settings import ConfigurationError

_LARGEST = 64 * 1024
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}\s*)+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{16,}={0,2}\s*")


def read_frame(given: str) -> SensitiveBytes:
    """From a file, from standard input (``-``), or as it stands: hexadecimal, base64 or the text that a reader types."""
    if given == "-":
        return _decoded(sys.stdin.buffer.read(_LARGEST + 1))
    with suppress(OSError, ValueError):
        path = Path(given)
        if path.is_file():
            with path.open("rb") as file:
                return _decoded(file.read(_LARGEST + 1))
    return _decoded(given.encode("utf-8", "surrogateescape"))


def _decoded(data: bytes) -> SensitiveBytes:
    if len(data) > _LARGEST:
        raise ConfigurationError(f"--frame: at most {_LARGEST} bytes.")
    text = data.strip()
    if _HEX.fullmatch(text):
        return SensitiveBytes(bytes.fromhex(text.decode("ascii")))
    if _BASE64.fullmatch(text):
        with suppress(binascii.Error):
            return SensitiveBytes(base64.b64decode(b"".join(text.split()), validate=True))
    # A message in bytes may begin or end with what passes for a blank; one that is text does not.
    return SensitiveBytes(text if text.isascii() and b"|" in text else data)


def open_frame(frame: SensitiveBytes, container: Container | None) -> tuple[Container, OpenedFrame]:
    """As ``container``, or else as the first that it can be. Raises ConfigurationError, which says what each lacks."""
    refusals = []
    for name in (container,) if container else Container:
        try:
            return name, messages.open_frame(ReaderFrame(name, frame))
        except PaymentTokenError as error:
            refusals.append(f"{name}: {error}")
    reasons = "; ".join(refusals).replace(f"{FRAME_FIELD}: ", "")
    raise ConfigurationError(f"--frame: no message of a reader that is read here. {reasons}.")
