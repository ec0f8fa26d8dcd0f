"""What a seal says of itself: its runs and sizes agree, and its checkpoint is signed and says the same as its row."""

from collections.abc import Mapping

from payment_token.audit_verifier.checkpoint import Opened, TrustedKeys
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import Seal
from payment_token.audit_verifier.signed_note import NoteError


class SealChecks:
    """``signing_keys`` are the public keys of the database by their names; an archive names none."""

    def __init__(
        self, keys: TrustedKeys, signing_keys: Mapping[str, bytes], report: Report
    ) -> None:
        self._keys = keys
        self._signing_keys = signing_keys
        self._report = report

    def is_sound(self, seal: Seal) -> bool:
        """Whether its records can be followed."""
        count = sum(map(len, seal.runs))
        forwards = all(0 <= run.first <= run.last for run in seal.runs)
        if forwards and 0 < count == seal.tree_size - seal.first_index:
            return True
        self._report.add(
            seal.first_index,
            f"the seal of size {seal.tree_size} says {count} records by its runs, and"
            f" {seal.tree_size - seal.first_index} by its sizes",
            seal.tree_size - 1,
        )
        return False

    def opened(self, seal: Seal) -> Opened | None:
        """Its checkpoint, ``None`` where there is none that a trusted key has signed for it."""
        where = f"the seal of size {seal.tree_size}"
        if seal.note is None:
            self._report.incomplete.append(f"{where} has no checkpoint here")
            return None
        try:
            opened = self._keys.open(seal.note)
        except NoteError as error:
            self._report.add(seal.first_index, f"{where}: {error}", seal.tree_size - 1)
            return None
        checkpoint = opened.checkpoint
        if checkpoint.size != seal.tree_size:
            self._report.add(
                seal.first_index,
                f"{where} has the checkpoint of another one, of size {checkpoint.size}",
                seal.tree_size - 1,
            )
            return None
        if seal.root is not None and checkpoint.root != seal.root:
            self._report.add(
                seal.first_index,
                f"{where} says another root than its checkpoint",
                seal.tree_size - 1,
            )
        if seal.signing_key is not None and self._signing_keys.get(seal.signing_key) != (
            opened.key.public_key
        ):
            self._report.add(
                seal.first_index,
                f"{where} names the signing key {seal.signing_key}, and another one signed it",
                seal.tree_size - 1,
            )
        return opened
