"""What a verification found."""

from dataclasses import dataclass, field
from enum import IntEnum

MOST_FINDINGS = 200
"""So many are kept; all are counted."""


class Verdict(IntEnum):
    """The exit codes of the commands."""

    VERIFIED = 0
    TAMPERED = 1
    NOT_CHECKED = 2
    INCOMPLETE = 3


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """``index`` is that of the first leaf concerned, ``last`` of the last one that may be; the tree's size for what is beside it."""

    index: int
    last: int
    what: str


@dataclass(slots=True)
class Report:
    """Counts are of what was checked. ``root`` is that of ``tree_size`` leaves, as recomputed."""

    origin: str
    keys: list[str]
    first_checked: int = 0
    tree_size: int = 0
    root: bytes | None = None
    seals: int = 0
    records: int = 0
    by_tiles_alone: int = 0
    writers: int = 0
    tiles: int = 0
    outside_checkpoints: int = 0
    witnessed: int = 0
    receipts: int = 0
    unsealed: int = 0
    months: int = 0
    findings: list[Finding] = field(default_factory=list)
    findings_in_all: int = 0
    first_bad_index: int | None = None
    incomplete: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, index: int, what: str, last: int | None = None) -> None:
        finding = Finding(index, index if last is None else max(index, last), what)
        self.findings_in_all += 1
        if self.first_bad_index is None or index < self.first_bad_index:
            self.first_bad_index = index
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        elif index == self.first_bad_index:
            self.findings[-1] = finding

    @property
    def first_bad(self) -> Finding | None:
        return min(self.findings, default=None)

    @property
    def verdict(self) -> Verdict:
        if self.findings_in_all:
            return Verdict.TAMPERED
        return Verdict.INCOMPLETE if self.incomplete else Verdict.VERIFIED

    def as_json(self) -> dict[str, object]:
        return {
            "verdict": self.verdict.name.lower(),
            "first_bad_index": self.first_bad_index,
            "findings": [
                {"index": found.index, "last": found.last, "what": found.what}
                for found in sorted(self.findings)
            ],
            "findings_in_all": self.findings_in_all,
            "incomplete": self.incomplete,
            "remarks": self.remarks,
            "origin": self.origin,
            "keys": self.keys,
            "first_checked": self.first_checked,
            "tree_size": self.tree_size,
            "root": None if self.root is None else self.root.hex(),
            "records": self.records,
            "by_tiles_alone": self.by_tiles_alone,
            "seals": self.seals,
            "writers": self.writers,
            "tiles": self.tiles,
            "outside_checkpoints": self.outside_checkpoints,
            "witnessed": self.witnessed,
            "receipts": self.receipts,
            "unsealed": self.unsealed,
            "months": self.months,
        }
