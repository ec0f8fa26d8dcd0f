"""The independent verifier, as whoever is about to drop a copy asks it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import Start, VerifyLog
from payment_token.domain.audit_archive.layout import ArchiveError
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.months_of_archive import end_of_month
from payment_token.domain.transparency.signed_note import VerifierKey as SignersKey
from payment_token.infrastructure.audit_archive.archived_log import ArchivedLog
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder


class IndependentVerifier:
    """``public_keys`` are those that may have signed, raw Ed25519."""

    def __init__(self, public_keys: Sequence[bytes]) -> None:
        self._public_keys = public_keys

    async def __call__(self, location: str, month: Month | None = None) -> None:
        """Of a month, from its first leaf to its last. Raises ArchiveError."""
        # It reads and computes for as long as there are records; the clock and leases go on meanwhile.
        report = await asyncio.to_thread(self._verify, ArchiveFolder(Path(location)), month)
        if report.verdict is Verdict.TAMPERED and report.first_bad is not None:
            bad = report.first_bad
            raise ArchiveError(f"the archive does not verify: leaf {bad.index}: {bad.what}")
        if report.verdict is not Verdict.VERIFIED:
            raise ArchiveError(f"the archive is not whole: {'; '.join(report.incomplete[:3])}")

    def _verify(self, archive: ArchiveFolder, month: Month | None) -> Report:
        end = None if month is None else end_of_month(archive, month)
        log = ArchivedLog(archive, end)
        vkeys = [str(SignersKey(log.origin, key)) for key in self._public_keys]
        keys = TrustedKeys([VerifierKey.parse(vkey) for vkey in vkeys])
        report = Report(keys.origin, vkeys)
        return VerifyLog(log, keys, report)(Start(_begin(archive, month)))


def _begin(archive: ArchiveFolder, month: Month | None) -> int:
    before = [] if month is None else [known for known in archive.months() if known < month]
    return end_of_month(archive, before[-1]) if before else 0
