"""What is wrong with a payload, by name."""

from dataclasses import dataclass
from enum import StrEnum


class Mistake(StrEnum):
    """The usual ones. The value is the name in JSON."""

    WRITTEN_OTHERWISE = (
        "written_otherwise"  # read all the same: hexadecimal with spaces, a data URL …
    )
    ENCODED_TWICE = "encoded_twice"
    CLEAR_TEXT = "clear_text"
    NOT_WHOLE_BLOCKS = "not_whole_blocks"
    NOT_CIPHERTEXT = "not_ciphertext"
    KSN_NOT_HEX = "ksn_not_hex"
    KSN_LENGTH = "ksn_length"
    KSN_PADDED = "ksn_padded"
    KSN_COUNTER = "ksn_counter"
    KSN_OFF = "ksn_off"
    OTHER_SCHEME = "other_scheme"
    OTHER_ALGORITHM = "other_algorithm"
    OTHER_KEY = "other_key"
    WRONG_KEY = "wrong_key"
    PUBLISHED_KEY = "published_key"
    PIN_VARIANT = "pin_variant"
    OTHER_PROFILE = "other_profile"
    OTHER_FORMAT = "other_format"
    REFUSED = "refused"
    UNUSED_IV = "unused_iv"
    STATED_OTHERWISE = "stated_otherwise"  # a message of a reader is not what it says of itself


@dataclass(frozen=True, slots=True)
class Remark:
    """``text`` is one sentence or two, what to do included. It holds nothing of a plaintext or a key."""

    mistake: Mistake
    text: str
