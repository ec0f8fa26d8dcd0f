"""What a diagnosis is given on the command line."""

import sys
from collections.abc import Sequence
from datetime import datetime

from payment_token.cli.opened_frames import open_frame, read_frame
from payment_token.cli.profile_options import initialisation_vector
from payment_token.domain.device_payload import Container, PartFormat
from payment_token.domain.diagnosis import Inquiry, Remark, read_ciphertext
from payment_token.domain.sensitive import SensitiveText
from payment_token.settings import ConfigurationError

_LONGEST_TEXT = 16 * 1024
_MOST_CIPHERTEXTS = 8


def read_ciphertexts(given: Sequence[str]) -> tuple[list[bytes], list[Remark]]:
    """Their bytes, and what there is to say of how they are written. One that cannot be read is left out, with a remark."""
    texts = [text for one in given for text in (_lines_of_input() if one == "-" else [one])]
    if not 1 <= len(texts) <= _MOST_CIPHERTEXTS:
        raise ConfigurationError(f"Give 1 to {_MOST_CIPHERTEXTS} ciphertexts of one read.")
    if any(len(text) > _LONGEST_TEXT for text in texts):
        raise ConfigurationError(f"A ciphertext is at most {_LONGEST_TEXT} characters.")
    written = [read_ciphertext(SensitiveText(text)) for text in texts]
    remarks = dict.fromkeys(remark for one in written for remark in one.remarks)
    return [one.data for one in written if one.data is not None], list(remarks)


def of_parts(
    ksn: str | None,
    ciphertexts: Sequence[bytes],
    parts: Sequence[PartFormat],
    iv: str | None,
    now: datetime,
) -> Inquiry:
    """``parts`` are in the order of the ciphertexts, and may be fewer."""
    if ksn is None:
        raise ConfigurationError(
            "--ksn is required; a payload of device-aead has --merchant and --device-id instead."
        )
    if len(parts) > len(ciphertexts):
        raise ConfigurationError("--part: one for each ciphertext at most, in their order.")
    stated = (*parts, *[None] * (len(ciphertexts) - len(parts)))
    return Inquiry(ksn, tuple(ciphertexts), stated, now, initialisation_vector(iv))


def of_frame(frame: str, container: Container | None, iv: str | None, now: datetime) -> Inquiry:
    name, opened = open_frame(read_frame(frame), container)
    return Inquiry(
        opened.ksn,
        opened.ciphertexts,
        (None,) * len(opened.ciphertexts),
        now,
        initialisation_vector(iv),
        opened,
        name,
    )


def _lines_of_input() -> list[str]:
    text = sys.stdin.read(_MOST_CIPHERTEXTS * _LONGEST_TEXT)
    return [line for line in text.splitlines() if line.strip()]
