import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from payment_token.audit_verifier.archive_folder import NoArchiveError
from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_archive import verify_archive
from tests.support.made_archives import write_archive, write_bundle, write_month
from tests.support.made_logs import KEY, OTHER_KEY, MadeLog, checkpoint, made_log, vkey

_LOG = made_log(1500, datetime(2026, 10, 31, 23, 59, 55, tzinfo=UTC), of_a_seal=90)
_KEYS = TrustedKeys([VerifierKey.parse(vkey())])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(_LOG, tmp_path)
    write_month(_LOG, tmp_path, "2026-10", 0, 540)
    write_month(_LOG, tmp_path, "2026-11", 540, 1080)
    return tmp_path


def _verified(
    folder: Path, receipts: tuple[str, ...] = (), outside: MadeLog | None = None
) -> Report:
    kept = [] if outside is None else [("outside", split_notes(outside.checkpoints()))]
    return verify_archive(folder, _KEYS, outside=kept, receipts=Receipts.parse(receipts))


def test_an_archive_verifies(archive: Path) -> None:
    report = _verified(archive, (_LOG.rows[3].receipt,), _LOG)

    assert report.verdict is Verdict.VERIFIED, (report.findings, report.incomplete)
    assert (report.records, report.tree_size, report.seals) == (1500, 1500, 17)
    # Five full tiles, and the two at the right edge.
    assert (report.tiles, report.months, report.receipts) == (7, 2, 1)
    # The newest, those of the months, and all that were kept outside.
    assert report.outside_checkpoints == 1 + 2 + 17


def test_an_auditor_needs_python_and_cryptography(archive: Path) -> None:
    """No other package is so much as imported, and no database is there."""
    program = (
        "import sys; sys.argv = ['verify', sys.argv[1], '--key', sys.argv[2]]\n"
        "from payment_token.audit_verifier.__main__ import main\n"
        "code = main()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, archive, vkey()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert json.loads(run.stdout)["verdict"] == "verified"
    assert not {"psycopg", "pydantic", "sqlalchemy", "typer", "rich"} & set(run.stderr.split())


_LOST = [
    ("tile/0/002", 0),
    ("tile/0/005.p/220", 0),
    ("tile/1/000.p/5", 0),
    ("tile/entries/002.gz", 256),
    ("tile/entries/005.p/220.gz", 220),
    ("months/2026-10.sig", 0),
    ("seals.jsonl", None),
    ("checkpoints", 0),
]


@pytest.mark.parametrize(("path", "records"), _LOST)
def test_what_is_lost_makes_it_incomplete(archive: Path, path: str, records: int | None) -> None:
    (archive / path).unlink()

    report = _verified(archive)

    if records is None:
        # Without its seals there is no log, and the checkpoint says that there was one.
        assert report.verdict is Verdict.TAMPERED
        return
    assert report.verdict is Verdict.INCOMPLETE, report.findings
    assert (
        any(path.removesuffix(".sig") in said for said in report.incomplete)
        or path == "checkpoints"
    )
    assert report.by_tiles_alone == records


def _flip(path: Path, place: int = 100) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("path", "first", "last"),
    [
        ("tile/0/004", 1024, 1027),
        ("tile/0/005.p/220", 1280, 1283),
        ("tile/1/000.p/5", 0, 1023),
        ("tile/entries/004.gz", 1024, 1279),
        ("tile/entries/005.p/220.gz", 1280, 1499),
        ("months/2026-11.json", 0, 540),
        ("months/2026-11.sig", 0, 540),
        ("checkpoints", 0, 90),
    ],
)
def test_a_bit_of_a_file(archive: Path, path: str, first: int, last: int) -> None:
    _flip(archive / path)

    report = _verified(archive)

    assert report.verdict is Verdict.TAMPERED
    assert first <= (report.first_bad_index or 0) <= last, report.findings


def test_a_bit_of_a_file_of_a_month(archive: Path) -> None:
    _flip(archive / "tile/0/003")

    report = _verified(archive)

    assert {finding.index for finding in report.findings} == {540, 771}


def test_an_entry_of_a_bundle(archive: Path) -> None:
    entries = [row.entry for row in _LOG.rows[1024:1280]]
    entries[7] = entries[7].replace(b"settle", b"nobody")
    write_bundle(archive / "tile/entries/004.gz", entries)

    assert _verified(archive).first_bad_index == 1031


@pytest.mark.parametrize("change", [lambda e: e[:-1], lambda e: [*e, e[0]], lambda e: e[1:]])
def test_the_number_of_entries_of_a_bundle(
    archive: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    write_bundle(
        archive / "tile/entries/004.gz", change([row.entry for row in _LOG.rows[1024:1280]])
    )

    report = _verified(archive)

    assert report.verdict is Verdict.TAMPERED
    assert report.first_bad_index == 1024


def test_a_bundle_that_unpacks_to_more_than_any(archive: Path) -> None:
    write_bundle(archive / "tile/entries/004.gz", [bytes(60_000)] * 400)

    report = _verified(archive)

    assert report.first_bad_index == 1024
    assert "the 256 entries" in report.findings[0].what


def test_seals_beyond_the_checkpoint_are_what_an_interrupted_export_left(archive: Path) -> None:
    with (archive / "seals.jsonl").open("a") as lines:
        lines.write(
            '{"first_index":1500,"tree_size":1600,"sealed_at":"2026-11-01T00:10:00.000000Z","runs":[]}\n'
        )

    assert _verified(archive).verdict is Verdict.VERIFIED


def test_a_shorter_log_under_the_old_checkpoint(archive: Path) -> None:
    lines = (archive / "seals.jsonl").read_text().splitlines(keepends=True)
    (archive / "seals.jsonl").write_text("".join(lines[:-1]))

    report = _verified(archive)

    assert report.first_bad_index == 1440
    assert "cut off" in report.findings[0].what


def test_an_older_export_than_the_checkpoints_outside(archive: Path, tmp_path: Path) -> None:
    longer = made_log(1600, datetime(2026, 10, 31, 23, 59, 55, tzinfo=UTC), of_a_seal=90)

    report = _verified(archive, outside=longer)

    assert report.findings == []
    assert report.verdict is Verdict.INCOMPLETE
    assert "has 1500 leaves here, and outside has a checkpoint of 1600" in report.incomplete[0]


def test_an_older_export_of_another_log(archive: Path) -> None:
    other = made_log(1600, datetime(2026, 10, 31, 23, 59, 55, tzinfo=UTC), of_a_seal=90, seed=2)

    report = _verified(archive, outside=other)

    assert (report.verdict, report.first_bad_index) == (Verdict.TAMPERED, 0)


def test_a_line_of_the_seals(archive: Path) -> None:
    lines = (archive / "seals.jsonl").read_text().splitlines(keepends=True)
    lines[5] = lines[5].replace("runs", "rans")
    (archive / "seals.jsonl").write_text("".join(lines))

    report = _verified(archive)

    assert report.first_bad_index == 450
    assert report.records == 450


def test_months_that_do_not_follow(archive: Path) -> None:
    write_month(_LOG, archive, "2026-11", 630, 1080)

    assert _verified(archive).first_bad_index == 540


def test_a_month_of_another_tree(archive: Path) -> None:
    other = made_log(1500, datetime(2026, 10, 31, tzinfo=UTC), of_a_seal=90, seed=3)
    write_month(other, archive, "2026-11", 540, 1080)

    report = _verified(archive)

    assert report.first_bad_index == 540
    assert "another root at size 1080" in report.findings[0].what


def test_a_manifest_that_names_a_file_elsewhere(archive: Path, tmp_path: Path) -> None:
    path = archive / "months/2026-11.json"
    path.write_text(path.read_text().replace("tile/0/003", "../0/003"))

    assert _verified(archive).verdict is Verdict.TAMPERED


def test_entries_that_have_expired(archive: Path) -> None:
    (archive / "minimum-index").write_text("540\n")
    for number in (0, 1):
        (archive / f"tile/entries/00{number}.gz").unlink()

    report = _verified(archive, outside=_LOG)

    assert report.verdict is Verdict.VERIFIED, (report.findings, report.incomplete)
    assert (report.records, report.by_tiles_alone) == (960, 540)
    assert "have expired" in report.remarks[0]


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NoArchiveError):
        _verified(tmp_path)


def test_a_checkpoint_of_another_key(archive: Path) -> None:
    (archive / "checkpoint").write_text(checkpoint(1500, _LOG.seals[-1].root, OTHER_KEY))

    assert _verified(archive).verdict is Verdict.TAMPERED
    (archive / "checkpoint").write_text(checkpoint(1500, _LOG.seals[-1].root, KEY))
    assert _verified(archive).verdict is Verdict.VERIFIED
