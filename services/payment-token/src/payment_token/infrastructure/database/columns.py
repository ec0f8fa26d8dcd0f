"""The columns of a batch, as PostgreSQL's binary arrays (``array_send`` in its source).

The driver finds the type of a list out from its elements, each time anew. For the twenty-five arrays of a batch of creates that
cost more than all else that the driver does; the type of a column is known.

====================  =====  ================================================
field                 bytes  value
====================  =====  ================================================
dimensions            4      1, or 0 for an empty array, which ends here
has null              4      0 or 1
type of the elements  4      OID
elements              4      number
lower bound           4      1
each element          4      its length, -1 for null; then its bytes
====================  =====  ================================================
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiIii")
_EMPTY = struct.Struct(">iiI")
_NULL = b"\xff\xff\xff\xff"

_FIRST_DAY = date(2000, 1, 1).toordinal()
_FIRST_INSTANT = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Column(tuple[Any, ...]):
    """The values of one column; ``None`` is null. Made by :func:`columns`."""

    __slots__ = ()


class _ColumnDumper(Dumper):
    format = Format.BINARY
    element_oid: ClassVar[int]
    encode: ClassVar[Callable[[Any], bytes]]

    def dump(self, values: Sequence[Any]) -> bytes:
        if not values:
            return _EMPTY.pack(0, 0, self.element_oid)
        encode = type(self).encode
        parts = [_HEAD.pack(1, None in values, self.element_oid, len(values), 1)]
        for value in values:
            if value is None:
                parts.append(_NULL)
            else:
                raw = encode(value)
                parts.append(len(raw).to_bytes(4, "big"))
                parts.append(raw)
        return b"".join(parts)


def _days(value: date) -> bytes:
    return (value.toordinal() - _FIRST_DAY).to_bytes(4, "big", signed=True)


def _microseconds(value: datetime) -> bytes:
    return ((value - _FIRST_INSTANT) // _MICROSECOND).to_bytes(8, "big", signed=True)


# By the name of the type: OIDs of the element and of its array, as pg_type has them, and the element's binary form.
_KINDS: dict[str, tuple[int, int, Callable[[Any], bytes]]] = {
    "text": (25, 1009, str.encode),
    "bytea": (17, 1001, bytes),
    "smallint": (21, 1005, lambda value: value.to_bytes(2, "big", signed=True)),
    "bigint": (20, 1016, lambda value: value.to_bytes(8, "big", signed=True)),
    "boolean": (16, 1000, lambda value: b"\x01" if value else b"\x00"),
    "date": (1082, 1182, _days),
    "timestamptz": (1184, 1185, _microseconds),
    "uuid": (2950, 2951, lambda value: value.bytes),
}


def _column_of(kind: str) -> type[Column]:
    element_oid, array_oid, encode = _KINDS[kind]
    column = type(f"{kind.title()}Column", (Column,), {"__slots__": ()})
    dumper = type(
        f"{kind.title()}ColumnDumper",
        (_ColumnDumper,),
        {"oid": array_oid, "element_oid": element_oid, "encode": staticmethod(encode)},
    )
    adapters.register_dumper(column, dumper)
    return column


_COLUMNS = {kind: _column_of(kind) for kind in _KINDS}


def columns(kinds: Iterable[str], rows: Iterable[Sequence[object]]) -> list[Column]:
    """The rows as columns of these types, for ``%b`` parameters. There is one row at least."""
    return [
        _COLUMNS[kind](values) for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)
    ]


def text_column(values: Iterable[str]) -> Column:
    return _COLUMNS["text"](values)
