"""How often a test does what it does: enough to prove it, or the long form that scripts/heavy.sh runs."""

import os
from typing import TypeVar

Amount = TypeVar("Amount")

LONG = bool(os.environ.get("LONG_TESTS"))


def usual_or_long(usual: Amount, long: Amount) -> Amount:
    return long if LONG else usual
