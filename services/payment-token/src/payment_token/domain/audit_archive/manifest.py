"""What a closed month consists of, so that whoever has its files can tell that they are whole."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from payment_token.domain.audit_archive.layout import ArchiveError
from payment_token.domain.audit_archive.month import Month


@dataclass(frozen=True, slots=True)
class Manifest:
    """The month's leaves are ``first_index`` to ``last_index``, both of it; a month without records ends before it begins.

    ``root`` is that of the tree of last_index + 1 leaves. ``files`` has the SHA-256 of each tile and bundle over the
    month's leaves as that tree has them, and by their names nothing that changes later.
    """

    origin: str
    month: Month
    first_index: int
    last_index: int
    root: bytes
    files: Mapping[str, str]

    @property
    def records(self) -> int:
        return self.last_index - self.first_index + 1

    @property
    def text(self) -> str:
        content = {
            "origin": self.origin,
            "month": str(self.month),
            "first_index": self.first_index,
            "last_index": self.last_index,
            "records": self.records,
            "root": self.root.hex(),
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(content, indent=1) + "\n"

    @property
    def sha256(self) -> bytes:
        return sha256(self.text.encode()).digest()

    @property
    def note(self) -> str:
        """The text that is signed. It cannot be taken for a checkpoint, whose second line is a number."""
        return f"{self.origin}\nmonth {self.month}\n{b64encode(self.sha256).decode()}\n"

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Raises ArchiveError."""
        try:
            content = json.loads(text)
            return cls(
                content["origin"],
                Month.parse(content["month"]),
                content["first_index"],
                content["last_index"],
                bytes.fromhex(content["root"]),
                content["files"],
            )
        except (ValueError, KeyError, TypeError):
            raise ArchiveError("a manifest is damaged") from None
