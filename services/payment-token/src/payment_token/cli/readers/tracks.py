"""The tracks of a card as a reader has them before it encrypts, and what it shows of them."""

from collections.abc import Callable
from dataclasses import dataclass

from payment_token.cli.published_cards import PublishedCard
from payment_token.domain.dukpt import KSN

Encrypt = Callable[[bytes], bytes]
FrameBuilder = Callable[[KSN, Encrypt, "Tracks", str], bytes]


@dataclass(frozen=True, slots=True)
class Tracks:
    """Each from its start to its end sentinel; empty for a track that was not read."""

    track1: str = ""
    track2: str = ""
    track3: str = ""

    @classmethod
    def of(cls, card: PublishedCard) -> "Tracks":
        return cls(card.track1, card.track2)


def with_lrc(track: str) -> str:
    """The track and its LRC, as one character (ISO/IEC 7811-2: six bits on track 1, four on the others)."""
    if not track:
        return ""
    first, mask = (0x20, 0x3F) if track.startswith("%") else (0x30, 0x0F)
    check = 0
    for character in track:
        check ^= (ord(character) - first) & mask
    return track + chr(check + first)
