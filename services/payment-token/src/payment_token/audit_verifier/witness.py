"""A witness: it signs a checkpoint only if the tree that it saw before is the beginning of the new one (C2SP tlog-cosignature).

Whoever has its signatures knows that the log was never another one, even if the signing key of the log is stolen.
"""

from base64 import b64encode
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payment_token.audit_verifier.checkpoint import Checkpoint, TrustedKeys
from payment_token.audit_verifier.proofs import check_consistency, consistency_path
from payment_token.audit_verifier.signed_note import (
    COSIGNATURE,
    SignedNote,
    VerifierKey,
    cosigned,
    signature_line,
)
from payment_token.audit_verifier.tree import HashesAt


@dataclass(frozen=True, slots=True)
class Witness:
    name: str
    key: Ed25519PrivateKey

    @property
    def verifier_key(self) -> VerifierKey:
        return VerifierKey(self.name, COSIGNATURE, self.key.public_key().public_bytes_raw())

    def take(
        self,
        note: str,
        keys: TrustedKeys,
        seen: Checkpoint | None,
        hashes_at: HashesAt,
        time: int,
    ) -> str | None:
        """The note with its cosignature; ``None`` if it has seen that very tree.

        ``time`` is in seconds since 1970. Raises NoteError or ProofError for what it will not sign, and what ``hashes_at``
        raises.
        """
        checkpoint = keys.open(note).checkpoint
        if seen is not None:
            path = (
                consistency_path(seen.size, checkpoint.size, hashes_at)
                if seen.size < checkpoint.size
                else []
            )
            check_consistency(seen.size, seen.root, checkpoint.size, checkpoint.root, path)
            if seen.size == checkpoint.size:
                return None
        text = SignedNote.parse(note).text
        signature = time.to_bytes(8, "big") + self.key.sign(cosigned(text, time))
        return note + signature_line(self.verifier_key, signature)


def state_of(checkpoint: Checkpoint) -> str:
    """A line for each, as a checkpoint has them."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{b64encode(checkpoint.root).decode()}\n"
