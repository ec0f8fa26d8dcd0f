"""What a run of the generator found."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_LEVELS = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds, by the share of answers that came within them. Each is a latency that was seen, not a mean of two."""

    at: dict[float, float]

    @classmethod
    def of(cls, nanoseconds: "array[int]") -> "Quantiles":
        ordered: Sequence[int] = sorted(nanoseconds)
        last = len(ordered) - 1
        if last < 0:
            return cls({})
        return cls({level: ordered[round(level * last)] / 1e6 for level in _LEVELS})

    def __getitem__(self, level: float) -> float:
        return self.at.get(level, float("nan"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """``answers`` counts what was answered as expected within the measured ``seconds``.

    ``lateness`` is the generator's own: how long after it was due a request was sent although a connection was free.
    ``moments`` are pairs of when a request was due, by ``time.perf_counter_ns``, and how long it took.
    ``errors`` counts every answer that was not the expected one, during the warm-up as well.
    """

    seconds: float
    answers: dict[str, int]
    latency: Quantiles
    latency_of: dict[str, Quantiles]
    generator_cpu_seconds: float
    lateness: Quantiles = field(default_factory=lambda: Quantiles({}))
    unanswered: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    kept: tuple[bytes, ...] = ()
    moments: tuple[tuple[int, int], ...] = ()

    def times(self, number: int) -> "Outcome":
        """As many answers where each is for so many cards."""
        answers = {name: count * number for name, count in self.answers.items()}
        return replace(self, answers=answers)

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.total / self.seconds if self.seconds else 0.0
