"""How many records of a calendar month an archive has.

A month's leaves end with the last seal that holds a record of it; that seal, and the one with which the month before
ended, may hold records of two months.
"""

from collections.abc import Iterator

from payment_token.domain.audit_archive.layout import WIDTH, TilePlace
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.months_of_archive import end_of_month
from payment_token.domain.audit_archive.ports import Archive
from payment_token.domain.audit_archive.position import archived_bundle, archived_position

_YEAR_AND_MONTH = 7


def archived_records_of(archive: Archive, month: Month) -> int:
    """Raises ArchiveError."""
    months = archive.months()
    # A seal comes within moments of its records, or once the sealer is back: the leaves of two months before are enough.
    before = [earlier for earlier in months if earlier < month][-2:-1]
    begin = end_of_month(archive, before[0]) if before else 0
    end = end_of_month(archive, month)
    wanted = str(month).encode()
    return sum(recorded == wanted for recorded in _months(archive, begin, end))


def _months(archive: Archive, begin: int, end: int) -> Iterator[bytes]:
    size = archived_position(archive).size
    for index in range(begin // WIDTH, -(-end // WIDTH)):
        place = TilePlace(0, index, min(WIDTH, end - index * WIDTH))
        first = max(0, begin - index * WIDTH)
        for entry in archived_bundle(archive, place, size)[first:]:
            # As written: there are millions, and the verifier has read the times.
            yield entry.rpartition(b"\n")[2][:_YEAR_AND_MONTH]
