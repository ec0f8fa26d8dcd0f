"""An archive, as the independent verifier reads a log (:class:`payment_token.audit_verifier.sealed_log.SealedLog`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from payment_token.audit_verifier.sealed_log import Row, Run, Seal, TilePlace
from payment_token.domain.audit_archive import layout
from payment_token.domain.audit_archive.position import Position, archived_position, archived_tile
from payment_token.domain.audit_archive.reading import archived_entries, archived_seals
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder


class ArchivedLog:
    """``up_to`` is the size of the tree with which it ends here; by default that of the archive."""

    keeps_partial_tiles = True

    def __init__(self, archive: ArchiveFolder, up_to: int | None = None) -> None:
        self.lacking: list[str] = []
        self._archive = archive
        self._position: Position = archived_position(archive)
        self._size = self._position.size if up_to is None else up_to

    @property
    def origin(self) -> str:
        return self._position.origin

    def size(self) -> int:
        return self._size

    def seals(self, after: int) -> Iterator[Seal]:
        for sealed in archived_seals(self._archive, after, self.origin):
            seal = sealed.seal
            if seal.tree_size > self._size:
                return
            runs = [Run(run.writer_id.hex, run.first, run.last) for run in seal.runs]
            yield Seal(seal.first_index, seal.tree_size, seal.sealed_at, runs, sealed.checkpoint)

    def rows(self, runs: Sequence[Run], first_index: int) -> Iterable[Row]:
        end = first_index + sum(map(len, runs))
        entries = archived_entries(self._archive, first_index, end, self._position.size)
        for position, run in enumerate(runs):
            for sequence in range(run.first, run.last + 1):
                yield Row(position, sequence, next(entries).bytes, None)

    def tiles(self, places: Sequence[TilePlace]) -> Mapping[TilePlace, bytes]:
        found = {}
        for place in places:
            tile = layout.TilePlace(place.level, place.number, place.width)
            try:
                found[place] = b"".join(archived_tile(self._archive, tile, self._position.size))
            except layout.ArchiveError:
                continue
        return found
