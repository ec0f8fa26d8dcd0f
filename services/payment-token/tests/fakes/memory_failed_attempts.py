from collections import Counter

from payment_token.domain.failed_attempts import AttemptName


class MemoryFailedAttempts:
    def __init__(self) -> None:
        self.counted: Counter[AttemptName] = Counter()

    async def count(self, attempt: AttemptName) -> int:
        self.counted[attempt] += 1
        return self.counted[attempt]
