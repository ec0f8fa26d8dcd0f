"""What is written as an array comes back as it was."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payment_token.infrastructure.database.columns import Column, columns, text_column

_TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXT,
    "bytea": st.binary(max_size=40),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "boolean": st.booleans(),
    "date": st.dates(),
    "timestamptz": st.datetimes(
        datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants it without a zone, and adds one
        datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.sampled_from((UTC, timezone(timedelta(hours=-8)))),
    ),
    "uuid": st.uuids(),
}


@pytest.fixture
def link(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True, options="-c timezone=UTC") as link:
        yield link


@pytest.mark.parametrize("kind", _VALUES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_value_comes_back(link: psycopg.Connection, kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | _VALUES[kind], min_size=1, max_size=8))

    (column,) = columns([kind], [(value,) for value in values])

    assert read_back(link, column, kind) == values


def test_an_empty_one(link: psycopg.Connection) -> None:
    assert read_back(link, text_column([]), "text") == []


def test_values_out_of_range_are_refused_here(link: psycopg.Connection) -> None:
    (column,) = columns(["smallint"], [(2**15,)])

    with pytest.raises(OverflowError):
        read_back(link, column, "smallint")


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        columns(["text", "date"], [("a", date.max), ("b",)])


def read_back(link: psycopg.Connection, column: Column, kind: str) -> list[object]:
    rows = link.execute(f"SELECT value FROM unnest(%b::{kind}[]) AS value", [column], binary=True)
    return [value for (value,) in rows.fetchall()]
