"""``payment-token audit verify``, ``prove`` and ``witness``, as an auditor and an operator give them, right and wrong."""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest

from tests.support.databases import own_database
from tests.support.deployment import Deployment
from tests.support.made_archives import write_archive
from tests.support.made_logs import OTHER_KEY, MadeLog, insert_log, insert_seals, made_log, vkey

_ORIGIN = "payment-token/development/decrypt-audit"
_KEY = vkey(name=_ORIGIN)
_SIZE = 1500


@dataclass(frozen=True, slots=True)
class Sealed:
    """A deployment with a sealed log; its newest record is not sealed."""

    deployment: Deployment
    database: psycopg.Connection
    log: MadeLog
    folder: Path

    def run(self, *arguments: str | Path) -> CompletedProcess[str]:
        return self.deployment.run_here("audit", *map(str, arguments), check=False)

    def report(self, *arguments: str | Path) -> tuple[int, dict[str, object]]:
        run = self.run("verify", "--json", *arguments)
        return run.returncode, json.loads(run.stdout)

    def checkpoints(self, log: MadeLog | None = None) -> Path:
        file = self.folder / "kept"
        file.write_text("".join((log or self.log).checkpoints()))
        return file

    def execute(self, statement: str, *parameters: object) -> None:
        self.database.execute("SET session_replication_role = replica")
        self.database.execute(statement, parameters)


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, server_url: str, template: str
) -> Iterator[Deployment]:
    with own_database(server_url, template) as url:
        yield Deployment.made_in(tmp_path_factory.mktemp("proofs"), DATABASE_URL=url)


@pytest.fixture
def sealed(deployed: Deployment, tmp_path: Path) -> Iterator[Sealed]:
    """The newest record was written a second ago."""
    begin = datetime.now(UTC) - timedelta(milliseconds=10) * (_SIZE + 1) - timedelta(seconds=1)
    log = made_log(_SIZE, begin, of_a_seal=90, unsealed=1, origin=_ORIGIN)
    with psycopg.connect(deployed.environment["DATABASE_URL"], autocommit=True) as database:
        made = Sealed(deployed, database, log, tmp_path)
        made.execute("TRUNCATE decrypt_audit_log, audit_seals, audit_tiles, audit_chains")
        made.execute("DELETE FROM encryption_keys WHERE purpose = 'audit-signing'")
        insert_log(database, log)
        yield made


def _changed(sealed: Sealed, index: int = 700) -> None:
    row = sealed.log.rows[index]
    sealed.execute(
        "UPDATE decrypt_audit_log SET record = replace(record, 'spiffe', 'nobody') WHERE writer_id = %s AND sequence = %s",
        row.writer_id,
        row.sequence,
    )


def test_an_honest_log(sealed: Sealed) -> None:
    run = sealed.run("verify", "--key", _KEY, "--checkpoints", sealed.checkpoints())

    assert run.returncode == 0, run
    assert "Verified." in run.stdout
    assert "1,500" in run.stdout


def test_the_keys_of_the_database_are_not_an_auditors(sealed: Sealed) -> None:
    run = sealed.run("verify")

    assert run.returncode == 0, run
    assert "An auditor brings keys of their own" in run.stdout
    assert "No checkpoints from outside" in run.stdout


def test_a_change_is_named_by_its_leaf(sealed: Sealed) -> None:
    _changed(sealed)

    run = sealed.run("verify", "--key", _KEY)
    code, report = sealed.report("--key", _KEY)

    assert run.returncode == code == 1
    assert "leaf 700" in run.stdout
    assert (report["verdict"], report["first_bad_index"]) == ("tampered", 700)


def test_the_deployments_file_of_checkpoints_is_compared(sealed: Sealed) -> None:
    """A log that was made anew with the right key."""
    file = sealed.deployment.folder / "audit-checkpoints"
    file.write_text("".join(sealed.log.checkpoints()))
    other = made_log(
        _SIZE, datetime.now(UTC) - timedelta(seconds=20), of_a_seal=90, seed=2, origin=_ORIGIN
    )
    sealed.execute("TRUNCATE decrypt_audit_log, audit_seals, audit_tiles, audit_chains")
    sealed.execute("DELETE FROM encryption_keys WHERE purpose = 'audit-signing'")
    insert_log(sealed.database, other)

    code, report = sealed.report("--key", _KEY)
    file.unlink()

    assert (code, report["first_bad_index"]) == (1, 0)
    assert sealed.report("--key", _KEY)[0] == 0


def test_the_read_is_on_record_before_anything_is_shown(sealed: Sealed) -> None:
    sealed.run("verify", "--key", _KEY)

    (found,) = sealed.database.execute(
        "SELECT details ->> 'command' FROM audit_records WHERE event = 'audit_read'"
    ).fetchall()
    assert found == ("verify",)


def test_receipts(sealed: Sealed) -> None:
    receipts = sealed.folder / "receipts"
    receipts.write_text(f"{sealed.log.rows[5].receipt}\n\n{sealed.log.rows[900].receipt}\n")
    assert sealed.report("--key", _KEY, "--receipts", receipts)[1]["receipts"] == 2

    receipts.write_text(f"ar2.{'0' * 32}.5.{'0' * 64}\n")
    code, report = sealed.report("--key", _KEY, "--receipts", receipts)
    assert (code, report["first_bad_index"]) == (1, _SIZE)


def test_what_was_sealed_lately(sealed: Sealed) -> None:
    code, report = sealed.report(
        "--key", _KEY, "--since", "8s", "--checkpoints", sealed.checkpoints()
    )

    assert code == 0, report
    assert 0 < int(str(report["first_checked"])) < _SIZE

    _changed(sealed, _SIZE - 200)
    assert sealed.report("--key", _KEY, "--since", "8s")[1]["first_bad_index"] == _SIZE - 200


def test_records_that_no_sealer_takes(sealed: Sealed) -> None:
    sealed.execute(
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at - interval '1 day' WHERE false"
    )
    begin = datetime.now(UTC) - timedelta(minutes=1)
    late = made_log(90, begin, of_a_seal=90, unsealed=1, origin=_ORIGIN)
    sealed.execute("TRUNCATE decrypt_audit_log, audit_seals, audit_tiles, audit_chains")
    sealed.execute("DELETE FROM encryption_keys WHERE purpose = 'audit-signing'")
    insert_log(sealed.database, late)

    code, report = sealed.report("--key", _KEY)

    assert code == 3
    assert "does the sealer run" in str(report["incomplete"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key", "nonsense"),
        ("--key", vkey(name="another/log"), "--key", _KEY),
        ("--archive", "/nowhere"),
        ("--archive", "/nowhere", "--key", _KEY),
        ("--checkpoints", "/nowhere"),
        ("--receipts", "/nowhere"),
        ("--since", "yesterday"),
        ("--nonsense",),
    ],
)
def test_what_keeps_it_from_checking_is_no_verdict(
    sealed: Sealed, arguments: tuple[str, ...]
) -> None:
    run = sealed.run("verify", *arguments)

    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr


def test_no_database_is_no_verdict(sealed: Sealed) -> None:
    deployment = Deployment(
        sealed.deployment.folder, {"DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}
    )
    run = deployment.run_here("audit", "verify", check=False)

    assert run.returncode == 2, run


def test_an_archive_needs_no_database(sealed: Sealed, tmp_path: Path) -> None:
    folder = write_archive(sealed.log, tmp_path / "archive")
    deployment = Deployment(
        sealed.deployment.folder, {"DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}
    )

    run = deployment.run_here(
        "audit", "verify", "--archive", str(folder), "--key", _KEY, check=False
    )

    assert run.returncode == 0, run
    assert "Verified." in run.stdout


# Proofs


def test_a_receipt_is_proven_and_the_proof_checked_elsewhere(sealed: Sealed) -> None:
    row, proof = sealed.log.rows[700], sealed.folder / "proof"

    made = sealed.run("prove", row.receipt, "--out", proof, "--key", _KEY)

    assert made.returncode == 0, made
    assert "leaf 700 of 1,500" in made.stdout
    assert row.writer_id in made.stdout
    assert proof.read_text().startswith("c2sp.org/tlog-proof@v1\nextra ")
    checked = sealed.run("prove", "--check", proof, "--key", _KEY, row.receipt)
    assert checked.returncode == 0, checked
    assert "The proof holds" in checked.stdout


def test_a_proof_that_does_not_hold(sealed: Sealed) -> None:
    proof = sealed.folder / "proof"
    sealed.run("prove", sealed.log.rows[700].receipt, "--out", proof, "--key", _KEY)
    text = proof.read_text()

    other = vkey(OTHER_KEY, _ORIGIN)
    assert sealed.run("prove", "--check", proof, "--key", other).returncode == 1
    another = sealed.log.rows[701].receipt
    assert sealed.run("prove", "--check", proof, "--key", _KEY, another).returncode == 1
    for changed in (
        text.replace("index 700", "index 701"),
        text.replace("extra ", "extra A"),
        text.replace("\nextra", "\n\nextra"),
        text[: text.index("index")],
        "",
    ):
        proof.write_text(changed)
        assert sealed.run("prove", "--check", proof, "--key", _KEY).returncode == 1
    assert sealed.run("prove", "--check", proof).returncode == 2


def test_a_receipt_of_what_is_not_sealed_yet(sealed: Sealed) -> None:
    run = sealed.run("prove", sealed.log.rows[-1].receipt)

    assert run.returncode == 3
    assert "few seconds" in run.stderr


def test_a_receipt_whose_record_was_hidden(sealed: Sealed) -> None:
    last = sealed.log.rows[-1]
    sealed.execute(
        "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
        last.writer_id,
        last.sequence,
    )

    run = sealed.run("prove", last.receipt)

    assert run.returncode == 1
    assert "hidden" in run.stderr


def test_a_receipt_whose_record_was_taken_away_or_changed(sealed: Sealed) -> None:
    row, other = sealed.log.rows[700], sealed.log.rows[710]
    _changed(sealed)
    changed = sealed.run("prove", row.receipt)
    sealed.execute("DELETE FROM decrypt_audit_log WHERE writer_id = %s", other.writer_id)
    taken = sealed.run("prove", other.receipt)

    assert (changed.returncode, taken.returncode) == (1, 1)
    assert "another record" in changed.stderr
    assert "was sealed as leaf 710, and was taken away" in taken.stderr


def test_a_receipt_is_proven_from_an_archive(sealed: Sealed, tmp_path: Path) -> None:
    folder = write_archive(sealed.log, tmp_path / "archive")

    run = sealed.run("prove", sealed.log.rows[1490].receipt, "--archive", folder, "--key", _KEY)

    assert run.returncode == 0, run
    assert "leaf 1,490 of 1,500" in run.stdout


@pytest.mark.parametrize("receipt", ["", "ar1.5", "ar2.x.y.z"])
def test_what_is_no_receipt(sealed: Sealed, receipt: str) -> None:
    assert sealed.run("prove", receipt).returncode == 2


# The witness


def _grown(sealed: Sealed, log: MadeLog) -> None:
    sealed.execute("TRUNCATE audit_seals, audit_tiles, audit_chains")
    insert_seals(sealed.database, log)


def test_a_witness_signs_what_only_grew(sealed: Sealed) -> None:
    state, kept = sealed.folder / "state", sealed.folder / "signed"
    options = ("--state", state, "--checkpoints", kept, "--key", _KEY)
    early = MadeLog(
        sealed.log.rows,
        [seal for seal in sealed.log.seals if seal.tree_size <= 900],
        origin=_ORIGIN,
    ).sealed_again()
    _grown(sealed, early)
    first = sealed.run("witness", *options)
    _grown(sealed, sealed.log)
    second, again = sealed.run("witness", *options), sealed.run("witness", *options)

    assert (first.returncode, second.returncode, again.returncode) == (0, 0, 0), second
    assert "1,500 leaves, after 900" in second.stdout
    assert stat.S_IMODE(state.with_name("state.key").stat().st_mode) == 0o600
    own = first.stdout.splitlines()[0].rpartition(" ")[2]
    # What it signed is compared like any checkpoint that was kept outside, its signatures included.
    code, report = sealed.report("--key", _KEY, "--key", own, "--checkpoints", kept)
    assert (code, report["outside_checkpoints"], report["witnessed"]) == (0, 2, 2), report
    text = kept.read_text()
    kept.write_text(text[:-20] + ("x" if text[-20] != "x" else "y") + text[-19:])
    assert sealed.report("--key", _KEY, "--key", own, "--checkpoints", kept)[0] == 1
    assert sealed.report("--key", _KEY, "--key", own)[0] == 3


def test_a_witness_does_not_sign_another_log(sealed: Sealed) -> None:
    state, kept = sealed.folder / "state", sealed.folder / "signed"
    options = ("--state", state, "--checkpoints", kept, "--key", _KEY)
    assert sealed.run("witness", *options).returncode == 0
    before = kept.read_text(), state.read_text()
    other = made_log(1600, datetime.now(UTC), of_a_seal=100, seed=2, origin=_ORIGIN)
    sealed.execute("TRUNCATE audit_seals, audit_tiles, audit_chains")
    sealed.execute("DELETE FROM encryption_keys WHERE purpose = 'audit-signing'")
    insert_log(sealed.database, other)
    forked = sealed.run("witness", *options)
    shorter = MadeLog(sealed.log.rows, sealed.log.seals[:-1], origin=_ORIGIN).sealed_again()
    _grown(sealed, shorter)
    shrunk = sealed.run("witness", *options)

    assert (forked.returncode, shrunk.returncode) == (1, 1)
    assert "Not signed" in forked.stderr
    assert "shrunk" in shrunk.stderr
    assert (kept.read_text(), state.read_text()) == before
