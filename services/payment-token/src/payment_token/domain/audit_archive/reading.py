"""An archive as it is read from some leaf on: its entries, and its seals with their checkpoints."""

import json
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


def archived_entries(archive: Archive, begin: int, end: int) -> Iterator[Entry]:
    """``end`` is the size of the archive. Raises ArchiveError."""
    for index in range(begin // WIDTH, -(-end // WIDTH)):
        place = TilePlace(0, index, min(WIDTH, end - index * WIDTH))
        first = max(0, begin - index * WIDTH)
        for entry in archived_bundle(archive, place, end)[first:]:
            record, recorded_at = parsed_entry(entry)
            yield Entry(*_place(record), recorded_at, record)


def archived_seals(archive: Archive, after: SealedSeal | None) -> Iterator[SealedSeal]:
    """Those beyond a seal, which the archive must have as well. ``signing_key`` is left to who knows the keys."""
    mark = b"" if after is None else b'"tree_size":%d,' % after.seal.tree_size
    lines = archive.lines_after(SEALS, mark)
    notes = _notes(
        archive.lines_after(CHECKPOINTS, b"" if after is None else after.checkpoint.encode())
    )
    for line, note in zip(lines, notes, strict=False):
        seal = Seal.parse(line)
        _, size, root = checkpoint_head(note.encode())
        if size != seal.tree_size:
            raise ArchiveError(f"seals and checkpoints of the archive differ at leaf {size}")
        yield SealedSeal(seal, root, note, "")


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
