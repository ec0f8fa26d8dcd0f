"""What a fleet sends, and what the service must answer to each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    READ = "read"
    LATE_READ = "late read, out of order"
    RETRY = "retry, same key"
    REPLAY = "replay, new key"
    JUMP = "counter jumps ahead"
    BEHIND = "counter behind the window"
    IMPOSSIBLE_COUNTER = "impossible counter"
    STOLEN_DEVICE = "stolen device"
    UNKNOWN_DEVICE = "unknown device"
    WRONG_VARIANT = "wrong variant"
    DAMAGED_CIPHERTEXT = "damaged ciphertext"
    DAMAGED_FRAME = "damaged frame"
    CUT_CIPHERTEXT = "cut ciphertext"
    CLEAR_TRACK = "track in clear"
    CLEAR_METADATA = "card number in metadata"
    REUSED_KEY = "another read, same key"


@dataclass(frozen=True, slots=True)
class Expected:
    """``code`` is that of the problem; empty for a success."""

    status: int
    code: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


EXPECTED: Mapping[Kind, Expected] = {
    Kind.READ: Expected(201),
    Kind.LATE_READ: Expected(201),  # within the window
    Kind.RETRY: Expected(200),
    Kind.REPLAY: Expected(422, "ksn_replayed"),
    Kind.JUMP: Expected(201),  # and an event
    Kind.BEHIND: Expected(422, "ksn_replayed"),
    Kind.IMPOSSIBLE_COUNTER: Expected(422, "bad_ksn"),
    Kind.STOLEN_DEVICE: Expected(422, "device_suspended"),
    Kind.UNKNOWN_DEVICE: Expected(422, "unknown_device"),
    Kind.WRONG_VARIANT: Expected(422, "decryption_failed"),
    Kind.DAMAGED_CIPHERTEXT: Expected(422, "decryption_failed"),
    Kind.DAMAGED_FRAME: Expected(422, "invalid_field"),  # its LRC or CRC does not match
    Kind.CUT_CIPHERTEXT: Expected(422, "invalid_field"),
    Kind.CLEAR_TRACK: Expected(422, "cleartext_card_data"),
    Kind.CLEAR_METADATA: Expected(422, "cleartext_card_data"),
    Kind.REUSED_KEY: Expected(422, "idempotency_key_reused"),
}

# Of a hundred visits to a terminal. What is not here is an ordinary read.
PER_HUNDRED: Mapping[Kind, float] = {
    Kind.LATE_READ: 6,  # each is a handful of reads of an hour without a network
    Kind.RETRY: 6,
    Kind.REPLAY: 2,
    Kind.JUMP: 0.5,
    Kind.BEHIND: 0.5,
    Kind.IMPOSSIBLE_COUNTER: 1,
    Kind.STOLEN_DEVICE: 1,
    Kind.UNKNOWN_DEVICE: 1,
    Kind.WRONG_VARIANT: 1,
    Kind.DAMAGED_CIPHERTEXT: 2,
    Kind.DAMAGED_FRAME: 1,
    Kind.CUT_CIPHERTEXT: 1,
    Kind.CLEAR_TRACK: 1,
    Kind.CLEAR_METADATA: 1,
    Kind.REUSED_KEY: 1,
}
