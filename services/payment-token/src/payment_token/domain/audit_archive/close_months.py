"""Close: a month that is over gets its manifest in the archive, signed, one month after the other.

1. the first month begins with the first leaf; each other one where the one before it ended
2. nothing of the month may be unsealed, and everything that is sealed must be in the archive
3. the tiles as they were at its end stay for good
4. the manifest names every file of it; its signature comes last, and makes the month closed
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from payment_token.domain.audit_archive.layout import (
    ArchiveError,
    TilePlace,
    manifest_path,
    packed,
    partial_places,
    places_over,
    signature_path,
)
from payment_token.domain.audit_archive.manifest import Manifest
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.months_of_archive import end_of_last_month
from payment_token.domain.audit_archive.ports import Archive, ManifestSigner, SealedLog, Writer
from payment_token.domain.audit_archive.position import (
    Position,
    archived_bundle,
    archived_position,
    archived_root,
    archived_tile,
)
from payment_token.domain.audit_archive.sealed_log import parsed_entry


class CloseMonths:
    def __init__(self, log: SealedLog, archive: Archive, sign: ManifestSigner) -> None:
        self._log = log
        self._archive = archive
        self._sign = sign

    async def due(self, now: datetime) -> list[Month]:
        """The closed months without a manifest, the oldest first."""
        position = archived_position(self._archive)
        if not position.size:
            return []
        months = self._archive.months()
        month = months[-1].next if months else self._first_month(position.size)
        due = []
        while month.is_closed(now):
            due.append(month)
            month = month.next
        return due

    async def __call__(self, month: Month) -> Manifest:
        """The next month that is due. Raises ArchiveError."""
        # 1.
        begin = end_of_last_month(self._archive)
        # 2.
        in_database = await self._log.month(month, begin)
        if in_database.unsealed:
            raise ArchiveError(_unsealed(month, in_database.unsealed))
        end = max(begin, in_database.last_size or 0)
        position = archived_position(self._archive)
        if end > position.size:
            raise ArchiveError(f"{month} ends at leaf {end}, and the archive at {position.size}")
        # 3.
        root = self._keep_edge(end, position.size)
        # 4.
        manifest = self._manifest(month, begin, end, root, position)
        self._archive.write(manifest_path(month), manifest.text.encode())
        note = await self._sign(manifest.note)
        self._archive.write(signature_path(month), note.encode())
        return manifest

    def _first_month(self, size: int) -> Month:
        place = TilePlace(0, 0, 1)
        _, recorded_at = parsed_entry(archived_bundle(self._archive, place, size)[0])
        return Month.of(recorded_at)

    def _keep_edge(self, size: int, size_of_archive: int) -> bytes:
        """Writes the partial tiles of a tree of this size where they are not, and returns its root."""
        for place in partial_places(size):
            if self._archive.read(place.path) is None:
                hashes = archived_tile(self._archive, place, size_of_archive)
                self._archive.write(place.path, b"".join(hashes))
            if place.level == 0 and self._archive.read(place.entries_path) is None:
                entries = archived_bundle(self._archive, place, size_of_archive)
                self._archive.write(place.entries_path, packed(entries))
        return archived_root(self._archive, size, size_of_archive)

    def _manifest(
        self, month: Month, begin: int, end: int, root: bytes, position: Position
    ) -> Manifest:
        files = {}
        for place in places_over(begin, end) if end > begin else ():
            paths = [place.path] if place.level else [place.path, place.entries_path]
            for path in paths:
                content = self._archive.read(path)
                if content is None:
                    raise ArchiveError(f"the archive lacks {path}")
                files[path] = sha256(content).hexdigest()
        return Manifest(position.origin, month, begin, end - 1, root, files)


def _unsealed(month: Month, writers: Sequence[Writer]) -> str:
    named = "; ".join(
        f"{writer.records:,} of writer {writer.writer_id.hex} ({writer.recorder})"
        for writer in writers
    )
    return f"{month} has records that are not sealed: {named}. The sealer's log says why; a month is archived whole"
