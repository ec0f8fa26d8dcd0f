"""An archive as it is read from some leaf on: its entries, and its seals with their checkpoints."""

import json
import re
from collections.abc import Iterator
from uuid import UUID

from payment_token.domain.audit_archive.layout import (
    CHECKPOINTS,
    SEALS,
    WIDTH,
    ArchiveError,
    TilePlace,
)
from payment_token.domain.audit_archive.ports import Archive
from payment_token.domain.audit_archive.position import archived_bundle, checkpoint_head
from payment_token.domain.audit_archive.sealed_log import Entry, Seal, SealedSeal, parsed_entry

_SEAL_SIZE = re.compile(rb'\{"first_index":\d+,"tree_size":(\d+),')
_NOTE_SIZE = re.compile(rb"[^\n]+\n(\d+)\n")


def archived_entries(archive: Archive, begin: int, end: int, size: int) -> Iterator[Entry]:
    """``size`` is that of the archive. Raises ArchiveError."""
    for index in range(begin // WIDTH, -(-end // WIDTH)):
        place = TilePlace(0, index, min(WIDTH, end - index * WIDTH))
        first = max(0, begin - index * WIDTH)
        for entry in archived_bundle(archive, place, size)[first:]:
            record, recorded_at = parsed_entry(entry)
            yield Entry(*_place(record), recorded_at, record)


def archived_seals(archive: Archive, after: int, origin: str) -> Iterator[SealedSeal]:
    """Those of trees larger than ``after``. ``signing_key`` is left to who knows the keys. Raises ArchiveError."""

    def is_before(head: bytes) -> bool:
        return _number(_SEAL_SIZE, head) <= after

    def is_note_before(head: bytes) -> bool:
        return _number(_NOTE_SIZE, head) <= after

    lines = archive.lines_from(SEALS, b"{", is_before)
    notes = archive.lines_from(CHECKPOINTS, origin.encode() + b"\n", is_note_before)
    for line, note in zip(lines, _notes(notes), strict=False):
        seal = Seal.parse(line)
        _, size, root = checkpoint_head(note.encode())
        if size != seal.tree_size:
            raise ArchiveError(f"seals and checkpoints of the archive differ at leaf {size}")
        yield SealedSeal(seal, root, note, "")


def _number(form: re.Pattern[bytes], head: bytes) -> int:
    found = form.match(head)
    if found is None:
        raise ArchiveError("a seal or a checkpoint of the archive is damaged")
    return int(found[1])


def _notes(lines: Iterator[bytes]) -> Iterator[str]:
    """Each ends with the second empty line."""
    note: list[str] = []
    for line in lines:
        if not line and "" in note:
            yield "\n".join(note) + "\n"
            note = []
        else:
            note.append(line.decode())


def _place(record: bytes) -> tuple[UUID, int]:
    try:
        content = json.loads(record)
        return UUID(hex=content["writer_id"]), content["sequence"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveError("an entry of the archive is not a record") from None
