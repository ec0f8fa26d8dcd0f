"""What a worker keeps of a release, to show later which record its release has. Opaque to workers."""

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

_FORM = re.compile(r"ar2\.([0-9a-f]{32})\.(0|[1-9][0-9]{0,17})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Receipt:
    """``record_hash`` is the SHA-256 of the record's bytes, 32 bytes."""

    writer_id: UUID
    sequence: int
    record_hash: bytes

    def __str__(self) -> str:
        """At most 120 characters."""
        return f"ar2.{self.writer_id.hex}.{self.sequence}.{self.record_hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError("a receipt begins with ar2. and has three more parts")
        writer_id, sequence, record_hash = match.groups()
        return cls(UUID(hex=writer_id), int(sequence), bytes.fromhex(record_hash))
