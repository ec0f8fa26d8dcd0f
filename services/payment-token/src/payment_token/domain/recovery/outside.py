"""The checkpoints that were kept outside, as recovery compares with them: signed by the log's own keys, else refused."""

from collections.abc import Iterable, Sequence

from payment_token.domain.recovery.comparison import RecoveryError
from payment_token.domain.recovery.ports import OutsideCheckpoint
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import NoteError, VerifierKey, split_notes


def outside_checkpoints(
    document: str, origin: str, public_keys: Iterable[bytes], *, most: int
) -> Sequence[OutsideCheckpoint]:
    """The last ``most`` of them: each says all of the log that the ones before it say. Raises RecoveryError."""
    keys = [VerifierKey(origin, public_key) for public_key in public_keys]
    found = []
    reason = None
    for note in split_notes(document)[-most:]:
        try:
            checkpoint = Checkpoint.verified(note, origin, keys)
        except NoteError as error:
            reason = f"a checkpoint outside is not one of this log: {error}"
            break
        found.append(OutsideCheckpoint(checkpoint.size, checkpoint.root))
    if reason is not None:
        raise RecoveryError(reason)
    return found
