"""A CSV file of terminals, line by line: what a spreadsheet or an inventory system writes.

UTF-8 with or without a byte order mark, or UTF-16 with one; comma, semicolon or tab, as the header has it; fields may be quoted. A
field holds no line break: a quote that is never closed costs its own line, and not the rest of the file.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from payment_token.settings import ConfigurationError

LONGEST_LINE = 4096
_LINE_ENDS = ("\n", "\r")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""

COLUMNS = (
    "device_id",
    "merchant_id",
    "bdk_id",
    "ksn",
    "serial",
    "make",
    "model",
    "firmware",
    "profile",
)
# Of a file that came back with the refused lines.
PASSED_OVER = ("line", "reason")

_DELIMITERS = (",", ";", "\t")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """``fields`` by column, without those that are empty; ``fault`` says why there are none."""

    number: int
    fields: Mapping[str, str]
    fault: str = ""


class DeviceFile:
    """Raises ConfigurationError for a file that is no list of terminals. ``encoding`` overrides what the file's first bytes say."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self._encoding = encoding or self._marked_encoding()
        with self._opened() as file:
            self.delimiter, self.columns = _header(_bounded(file))

    def __iter__(self) -> Iterator[Line]:
        with self._opened() as file:
            _bounded(file)
            number = 1
            while (text := _bounded(file)) is None or text:
                number += 1
                line = self._line(number, text)
                if line is not None:
                    yield line

    def count(self) -> int:
        return sum(1 for _ in self)

    def _line(self, number: int, text: str | None) -> Line | None:
        if text is None:
            return Line(number, {}, f"is longer than {LONGEST_LINE} characters")
        if not text.strip():
            return None
        values: list[str] = []
        try:
            (values,) = csv.reader([text.rstrip("\r\n")], delimiter=self.delimiter, strict=True)
        except (csv.Error, ValueError):
            return Line(number, {}, "has a quote that is not closed, or in the wrong place")
        if not any(value.strip() for value in values):
            return None
        if len(values) != len(self.columns):
            return Line(
                number, {}, f"has {len(values)} fields, and the header has {len(self.columns)}"
            )
        named = zip(self.columns, (_meant(value.strip()) for value in values), strict=True)
        return Line(number, {name: value for name, value in named if value})

    def _marked_encoding(self) -> str:
        try:
            with self.path.open("rb") as file:
                start = file.read(3)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None
        return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")

    def _opened(self) -> "_Decoded":
        return _Decoded(self.path, self._encoding)


class _Decoded:
    """The text of a file, whose bytes may turn out to be of another encoding anywhere in it."""

    def __init__(self, path: Path, encoding: str) -> None:
        try:
            self._file: TextIO = path.open(encoding=encoding, newline="")
        except (OSError, LookupError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such encoding"
            raise ConfigurationError(f"{path} cannot be read: {reason}.") from None
        self._path = path
        self._encoding = encoding

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def readline(self, limit: int) -> str:
        try:
            return self._file.readline(limit)
        except UnicodeError:
            pass
        raise ConfigurationError(
            f"{self._path} is not {self._encoding}. Save it as CSV in UTF-8, or name its --encoding, for example cp1252."
        )


def _meant(text: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from taking a text for a formula, as refused lines are written."""
    return text[1:] if text[:1] == "'" and text[1:2] in FORMULA else text


def _bounded(file: _Decoded) -> str | None:
    """The next line, empty at the end of the file; ``None`` for one that is too long, which is passed over."""
    text = file.readline(LONGEST_LINE + 1)
    if len(text) <= LONGEST_LINE or text.endswith(_LINE_ENDS):
        return text
    while (more := file.readline(LONGEST_LINE)) and not more.endswith(_LINE_ENDS):
        pass
    return None


def _header(text: str | None) -> tuple[str, tuple[str, ...]]:
    """The delimiter, and the columns in order."""
    first = (text or "").lstrip("\ufeff").rstrip("\r\n")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), ",")
    try:
        (names,) = csv.reader([first], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        names = []
    columns = tuple(name.strip().lower().replace(" ", "_") for name in names)
    known = set(COLUMNS) | set(PASSED_OVER)
    if "device_id" not in columns or len(set(columns)) < len(columns) or not set(columns) <= known:
        raise ConfigurationError(
            "The first line must name the columns, once each: device_id, and of"
            f" {', '.join(COLUMNS[1:])} those that there are."
        )
    return delimiter, columns
