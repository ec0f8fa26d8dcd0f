"""JSON without surprises: what two parsers could read differently is refused.

Duplicate names (one parser takes the first, another the last), lone surrogates and U+0000 (a database refuses them
late), NaN and Infinity (not JSON), and nesting that exhausts a parser's stack.
"""

import json
import math
from typing import Any, NoReturn

from payment_token.domain.errors import MalformedRequestError

MAX_DEPTH = 16

# Several times what the largest batch needs. Each value costs the event loop some microseconds: megabytes of empty lists
# would keep everybody waiting for seconds.
MAX_VALUES = 250_000


def parse_json(body: bytes) -> Any:
    """Raises MalformedRequestError; its text says the rule, never what was sent."""
    problem = "The body is not well-formed JSON."
    try:
        text = body.decode("utf-8")
        _check_number_of_values(text)
        document = _DECODER.decode(text)
    except _RefusedError as refused:
        problem = str(refused)
    except RecursionError:
        problem = f"The body nests deeper than {MAX_DEPTH} levels."
    except ValueError:
        pass
    else:
        # No document is deeper than its brackets are many.
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(document)
        # Control characters that stand for themselves are not JSON, nor are surrogates UTF-8: both come as escapes only.
        if "\\u" in text:
            check_texts(document)
        return document
    raise MalformedRequestError(problem)


class _RefusedError(Exception):
    pass


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _RefusedError("An object of the body has the same name twice.")
    return document


def _refuse_constant(_: str) -> NoReturn:
    raise _RefusedError("The body holds NaN or Infinity, which are not JSON.")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedError("A number of the body is beyond all bounds.")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_constant=_refuse_constant,
    parse_float=_finite_float,
)


def _check_number_of_values(text: str) -> None:
    """Each value begins a document, a list or an object, or comes after a comma."""
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise _RefusedError(f"The body has more than {MAX_VALUES} values.")


def _check_depth(document: Any) -> None:
    """Level by level, the lists and objects alone: a batch has thousands of texts."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            for child in (value.values() if type(value) is dict else value)
            if type(child) in (dict, list)
        ]
    if level:
        raise MalformedRequestError(f"The body nests deeper than {MAX_DEPTH} levels.")


def check_texts(document: Any) -> None:
    """Raises MalformedRequestError. ``document`` is of lists, dictionaries and plain values."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            pending += (*value, *value.values())
        elif isinstance(value, list):
            pending += value


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise MalformedRequestError("A text of the body holds U+0000.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise MalformedRequestError("A text of the body holds half of a surrogate pair.")
