"""The verification of an archive: its months, and the log in it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from payment_token.audit_verifier.archive_folder import CHECKPOINT, ArchiveFolder
from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.month_manifests import MonthManifests
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.verify_log import Progress, VerifyLog


def verify_archive(
    folder: Path,
    keys: TrustedKeys,
    *,
    outside: Iterable[tuple[str, Iterable[str]]] = (),
    receipts: Receipts | None = None,
    progress: Callable[[int], Progress] = lambda _: lambda _: None,
) -> Report:
    """``outside`` are notes by the names of their places; ``progress`` gets the number of records first.

    Raises NoArchiveError.
    """
    archive = ArchiveFolder(folder)
    report = new_report(keys)
    months = MonthManifests(folder, keys, report, archive.minimum_index)
    months.check()
    own = opened_checkpoints(CHECKPOINT, [archive.newest_note], keys, report)
    places = [
        OutsideCheckpoints(CHECKPOINT, own, report),
        *(
            OutsideCheckpoints(
                name, opened_checkpoints(name, notes, keys, report), report, goes_on=True
            )
            for name, notes in outside
        ),
        OutsideCheckpoints("months", months.roots(), report),
    ]
    verify = VerifyLog(
        archive,
        keys,
        report,
        outside=places,
        receipts=receipts,
        progress=progress(archive.size()),
    )
    verify()
    if archive.minimum_index:
        report.remarks.append(
            f"The records before leaf {archive.minimum_index:,} have expired; their leaves were checked."
        )
    return report


def new_report(keys: TrustedKeys) -> Report:
    return Report(keys.origin, [str(key) for key in (*keys.log_keys, *keys.witnesses)])
