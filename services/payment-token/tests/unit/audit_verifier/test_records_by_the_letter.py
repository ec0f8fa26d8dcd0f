import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.audit_verifier.record import Members, RecordError, read_members, written
from tests.support.made_logs import canonical

_RECORD = {
    "v": 1,
    "writer_id": "a" * 32,
    "sequence": 5,
    "previous": "b" * 64,
    "event": "decrypt",
    "event_time": "2026-11-24T20:54:14.123456Z",
    "outcome": "released",
    "code": "ok",
    "identity": "spiffe://example.test/worker",
}
_MEMBERS = Members(b"decrypt", b"2026-11-24T20:54:14.123456Z", b"b" * 64, b"5", b"a" * 32)

_texts = st.text(max_size=30)


@given(
    st.fixed_dictionaries(
        {"identity": _texts, "code": _texts},
        optional={
            "source": _texts,
            "request_id": _texts,
            "purpose": _texts,
            "token_id": _texts,
            "merchant_id": _texts,
            "key_name": _texts,
            "fields": st.lists(_texts, min_size=1, max_size=3),
            "details": st.dictionaries(_texts, _texts | st.integers(), min_size=1, max_size=3),
        },
    )
)
def test_the_pattern_reads_what_a_parser_reads(members: dict[str, object]) -> None:
    """Whatever stands in the texts, other names and braces too."""
    record = canonical(_RECORD | members).encode()

    assert written(record) is not None
    assert read_members(record) == _MEMBERS


def test_names_within_texts_and_details_are_not_members() -> None:
    forged = {
        "identity": '","previous":"' + "c" * 64 + '","sequence":9,"x":"',
        "details": {"sequence": 7, "previous": "d" * 64, "writer_id": "e" * 32},
        "source": '"}{"writer_id":"' + "f" * 32,
    }
    assert read_members(canonical(_RECORD | forged).encode()) == _MEMBERS


def test_a_later_form_is_read_too() -> None:
    assert read_members(canonical(_RECORD | {"v": 2, "new": [1, {"x": None}]}).encode()) == _MEMBERS


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        json.dumps(_RECORD, sort_keys=True).encode(),
        json.dumps(_RECORD, separators=(",", ":")).encode(),
        canonical(_RECORD).encode() + b"\n",
        canonical(_RECORD).replace("spiffe", "\xe9").encode(),
        canonical(_RECORD).replace('"code":"ok"', '"code":"ok","code":"ok"').encode(),
        canonical(_RECORD).replace('"sequence":5', '"sequence":05').encode(),
        *(
            canonical(_RECORD | {name: value}).encode()
            for name, value in (
                ("sequence", "5"),
                ("sequence", -5),
                ("sequence", True),
                ("sequence", 5.0),
                ("previous", "B" * 64),
                ("previous", 5),
                ("writer_id", "a" * 31),
                ("event_time", "2026-11-24T20:54:14Z"),
                ("event", None),
            )
        ),
    ],
)
def test_what_is_no_record(record: bytes) -> None:
    with pytest.raises(RecordError):
        read_members(record)
