"""What the service answered, beside what it should."""

from collections import Counter
from collections.abc import Sequence
from statistics import quantiles

from rich.table import Table

from payment_token.cli.fleet.expectations import EXPECTED, Kind
from payment_token.cli.fleet.sending import Answer
from payment_token.cli.terminal import listing


def differing(answers: Sequence[Answer]) -> int:
    return sum(not _as_expected(answer) for answer in answers)


def table(answers: Sequence[Answer]) -> Table:
    """A row for each kind that was sent, in the order of the expectations."""
    shown = listing("sent", "times", "should be", "was", "median", "95 %", "slowest", "")
    for kind in EXPECTED:
        of_kind = [answer for answer in answers if answer.kind is kind]
        if of_kind:
            shown.add_row(*_row(kind, of_kind))
    return shown


def _row(kind: Kind, answers: Sequence[Answer]) -> list[str]:
    was = Counter(str(answer) for answer in answers)
    listed = (
        next(iter(was))
        if len(was) == 1
        else ", ".join(f"{number} x {answer}" for answer, number in was.most_common())
    )
    median, high, slowest = _latencies([answer.seconds for answer in answers])
    verdict = "differs" if differing(answers) else "ok"
    return [kind, str(len(answers)), str(EXPECTED[kind]), listed, median, high, slowest, verdict]


def _latencies(seconds: Sequence[float]) -> tuple[str, str, str]:
    parts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [*seconds] * 19
    return _ms(parts[9]), _ms(parts[18]), _ms(max(seconds))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _as_expected(answer: Answer) -> bool:
    expected = EXPECTED[answer.kind]
    return (answer.status, answer.code) == (expected.status, expected.code)
