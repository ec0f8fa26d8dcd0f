"""Tries the combinations, and keeps what each of them gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from payment_token.domain.device_payload import Mode
from payment_token.domain.diagnosis.attempts import (
    Attempt,
    InitialKeyTried,
    TriedKey,
    attempts,
    tried_keys,
)
from payment_token.domain.diagnosis.clues import Clue, clue_in
from payment_token.domain.diagnosis.inquiry import Closest, Finding, Inquiry
from payment_token.domain.diagnosis.plaintext import Reading, read_part, read_parts, together
from payment_token.domain.diagnosis.remark import Mistake, Remark
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.payload_cipher import block_bytes, decrypt
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

Clear = Sequence[SensitiveBytes]


@dataclass(slots=True)
class Search:
    """For one inquiry. ``combinations`` counts; ``closest`` is in the order in which it was met."""

    inquiry: Inquiry
    bdks: list[BaseDerivationKey]
    initial_key_tried: InitialKeyTried
    combinations: int = 0
    closest: list[Closest] = field(default_factory=list)
    _keys: dict[bytes, list[TriedKey]] = field(default_factory=dict)

    def thorough(self, ksn: KSN, ciphertexts: Sequence[bytes]) -> Iterator[Finding]:
        """Every combination, and clues where one gives no card."""
        for attempt, clear in self._plaintexts(ksn, ciphertexts):
            finding = self._read(attempt, clear)
            if finding is not None:
                yield finding
            else:
                self._note_clues(attempt, clear)

    def quick(self, ksn: KSN, ciphertexts: Sequence[bytes]) -> Iterator[Finding]:
        """Only what profiles can have and terminals do, without clues."""
        for attempt, clear in self._plaintexts(ksn, ciphertexts):
            if attempt.variant is not None and attempt.mode is not Mode.OFB:
                finding = self._read(attempt, clear)
                if finding is not None:
                    yield finding

    def keys_for(self, ksn: KSN) -> list[TriedKey]:
        """One key tree for each BDK and terminal, because neighbouring counters share most of the way."""
        name = bytes((len(ksn.value),)) + ksn.initial_key_id
        if name not in self._keys:
            self._keys[name] = list(tried_keys(self.bdks, ksn, self.initial_key_tried))
        return self._keys[name]

    def _plaintexts(
        self, ksn: KSN, ciphertexts: Sequence[bytes]
    ) -> Iterator[tuple[Attempt, Clear]]:
        for tried in self.keys_for(ksn):
            for attempt, key in attempts(tried, ksn, self.inquiry.iv):
                if _fits(attempt, ciphertexts):
                    self.combinations += 1
                    yield attempt, [_decrypted(attempt, key, text) for text in ciphertexts]

    def _read(self, attempt: Attempt, clear: Clear) -> Finding | None:
        reading, remarks = self._reading(clear)
        if reading is None:
            return None
        return Finding(attempt, reading, self.inquiry.container, remarks)

    def _reading(self, clear: Clear) -> tuple[Reading | None, tuple[Remark, ...]]:
        frame, now = self.inquiry.frame, self.inquiry.now
        if frame is None:
            return read_parts(clear, now), ()
        stage = ""
        try:
            return together(frame.assemble(clear), now), ()
        except DecryptionFailedError as error:
            stage = error.stage
        text = f"This is card data, but not what the message says of it ({stage}): was the message changed?"
        return read_parts(clear, now), (Remark(Mistake.STATED_OTHERWISE, text),)

    def _note_clues(self, attempt: Attempt, clear: Clear) -> None:
        for number, plaintext in enumerate(clear, 1):
            clue = self._clue(attempt, plaintext, len(clear))
            if clue is not None:
                self.closest.append(Closest(attempt, number, clue))

    @staticmethod
    def _clue(attempt: Attempt, plaintext: SensitiveBytes, parts: int) -> Clue | None:
        part = read_part(plaintext) if parts > 1 else None
        if part is not None:
            return Clue(
                0, f"is {part.form}, but not every ciphertext of the read is card data under this"
            )
        return clue_in(plaintext, attempt.mode, block_bytes(attempt.cipher))


def _fits(attempt: Attempt, ciphertexts: Sequence[bytes]) -> bool:
    block = block_bytes(attempt.cipher)
    return attempt.mode is Mode.OFB or not any(len(text) % block for text in ciphertexts)


def _decrypted(attempt: Attempt, key: SecretKey, ciphertext: bytes) -> SensitiveBytes:
    return decrypt(key, attempt.cipher, attempt.mode, attempt.iv, ciphertext)
