"""The independent verifier, as whoever is about to drop or to put back a copy asks it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from payment_token.audit_verifier.archive_folder import ArchiveFolder, NoArchiveError
from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import NoteError, VerifierKey
from payment_token.audit_verifier.verify_archive import new_report, verify_archive
from payment_token.audit_verifier.verify_log import Start, VerifyLog
from payment_token.domain.audit_archive.layout import CHECKPOINT, ArchiveError
from payment_token.domain.audit_archive.position import checkpoint_head
from payment_token.domain.transparency.signed_note import VerifierKey as NamedPublicKey


class IndependentVerifier:
    """``public_keys`` are those that may have signed, raw Ed25519."""

    def __init__(self, public_keys: Sequence[bytes]) -> None:
        self._public_keys = public_keys

    async def __call__(self, location: str, since: int = 0) -> None:
        """All of the archive, or what was sealed since the tree had that size. Raises ArchiveError."""
        # It reads and computes for as long as there are records; the clock is kept in step meanwhile.
        report = await asyncio.to_thread(self._verified, Path(location), since)
        if report.first_bad is not None:
            bad = report.first_bad
            raise ArchiveError(
                f"the archive does not verify: leaf {bad.index}: {bad.what}. `payment-token audit verify --archive`"
                " says more"
            )
        if report.verdict is not Verdict.VERIFIED:
            raise ArchiveError(f"the archive is not whole: {'; '.join(report.incomplete[:3])}")

    def _verified(self, folder: Path, since: int) -> Report:
        reason = None
        try:
            keys = self._keys(folder)
            if not since:
                return verify_archive(folder, keys)
            return VerifyLog(ArchiveFolder(folder), keys, new_report(keys))(Start(since))
        except (NoArchiveError, NoteError, OSError) as error:
            reason = str(error)
        raise ArchiveError(reason)

    def _keys(self, folder: Path) -> TrustedKeys:
        # An auditor names the log; here it is that of the archive, which is compared with the database as well.
        origin, _, _ = checkpoint_head((folder / CHECKPOINT).read_bytes())
        vkeys = [str(NamedPublicKey(origin, key)) for key in self._public_keys]
        return TrustedKeys([VerifierKey.parse(vkey) for vkey in vkeys])
