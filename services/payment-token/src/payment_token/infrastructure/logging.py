"""Logs: one JSON object a line on standard error, made of fixed messages and named fields.

No log call formats a value of a request into its message. Exceptions are logged by type and place only: their text and
the locals of their frames could hold what must not be written down.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import TextIO

_ENCODER = json.JSONEncoder(default=str)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
# What a call adds stands behind what every record has.
_FIRST_ADDED = len(vars(logging.makeLogRecord({})))


class JSONFormatter(logging.Formatter):
    """``always`` stands in every line."""

    def __init__(self, always: dict[str, object] | None = None) -> None:
        super().__init__()
        self._always = always or {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        added = islice(vars(record).items(), _FIRST_ADDED, None)
        line.update({name: value for name, value in added if name not in _STANDARD})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [
                f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return _ENCODER.encode(line)


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever is Python's standard error then: it moves while the lines of libraries are read."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # of its own, there
        return sys.stderr

    def flush(self) -> None:
        """Nothing is left to do: standard error lets each line out by itself."""


@lru_cache(maxsize=2)
def _second(epoch: int) -> str:
    # A busy second has thousands of lines.
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def configure_logging(
    *, debug: bool, quiet: bool = False, serving_process: int | None = None
) -> None:
    """``quiet`` shows warnings and worse only: for commands whose output is for people.

    ``serving_process`` is the number of one of several that write to the same standard error. A line is one write, which the
    kernel does not mix with another's.
    """
    _leave_out_what_no_line_shows()
    handler = _LineHandler()
    handler.setFormatter(
        JSONFormatter({} if serving_process is None else {"serving_process": serving_process})
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING if quiet else logging.DEBUG if debug else logging.INFO)
    for noisy in ("psycopg.pool", "asyncio", "uvicorn", "uvicorn.error", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # At DEBUG they write down what custodians answer: keys and card data in clear.
    for telling in ("boto3", "botocore", "urllib3"):
        logging.getLogger(telling).setLevel(logging.WARNING)
    # It warns of upgrades to WebSockets that callers ask for, and advises to install them.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # Its warnings carry the driver's text; the adapters log the SQLSTATE instead.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def _leave_out_what_no_line_shows() -> None:
    # The places of calls, threads and processes: to find them out costs more than to write a line ("Optimization" in the
    # logging HOWTO of Python).
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
