"""The closed months of an archive: one begins where the one before it ended."""

import re

from payment_token.domain.audit_archive.layout import ArchiveError, manifest_path
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.ports import Archive

# What comes before the list of files, which is long.
_HEAD_BYTES = 1024
_LAST_INDEX = re.compile(rb'"last_index": (-?\d+),')


def end_of_last_month(archive: Archive) -> int:
    """The size of the tree with which the newest closed month ended; 0 without one."""
    months = archive.months()
    return end_of_month(archive, months[-1]) if months else 0


def end_of_month(archive: Archive, month: Month) -> int:
    """Raises ArchiveError."""
    head = archive.read_beginning(manifest_path(month), _HEAD_BYTES)
    found = _LAST_INDEX.search(head or b"")
    if found is None:
        raise ArchiveError(f"the manifest of {month} is damaged")
    return int(found[1]) + 1
