"""What is asked, and what was found out."""

from dataclasses import dataclass, replace
from datetime import datetime

from payment_token.domain.device_payload import Container, PartFormat
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.diagnosis.attempts import Attempt
from payment_token.domain.diagnosis.clues import Clue
from payment_token.domain.diagnosis.plaintext import Reading
from payment_token.domain.diagnosis.remark import Remark
from payment_token.domain.reader_frames.opened_frame import OpenedFrame


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Ciphertexts of one read under one KSN; with ``frame`` those that a reader's message holds.

    ``formats`` are what the request says of them, in their order, ``None`` where nothing is said. ``iv`` is one that the
    user believes in, and ``container`` what ``frame`` came in. ``now`` is aware of its time zone.
    """

    ksn: str
    ciphertexts: tuple[bytes, ...]
    formats: tuple[PartFormat | None, ...]
    now: datetime
    iv: bytes | None = None
    frame: OpenedFrame | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A combination whose plaintext is card data. ``remarks`` hold for this one alone."""

    attempt: Attempt
    reading: Reading
    container: Container | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def profile(self) -> DeviceProfile:
        return replace(self.attempt.profile, container=self.container)

    @property
    def settled(self) -> bool:
        """It is beyond chance, under a key that profiles know. Test cards often have a month or a check digit made up."""
        certain = all(part.certain for part in self.reading.parts)
        borne = {"expiry", "luhn"} if certain else {"expiry"}
        return self.attempt.variant is not None and borne.issuperset(self.reading.faults)


@dataclass(frozen=True, slots=True)
class Closest:
    attempt: Attempt
    part: int  # which of the ciphertexts, from 1
    clue: Clue


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``findings`` has the one that is meant first, and ``why`` says why where several fit.

    ``closest`` is there where nothing was found. ``keys`` and ``combinations`` say how much was tried.
    """

    findings: tuple[Finding, ...]
    why: str
    closest: tuple[Closest, ...]
    remarks: tuple[Remark, ...]
    keys: int
    combinations: int
