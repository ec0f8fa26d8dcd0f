"""How fast the audit log is verified, from PostgreSQL and on one core.

    python -m benchmarks.verify [--records N] [--runs N] [--json FILE]

It fills an embedded PostgreSQL with a sealed log (records of about 550 bytes, a seal to 1,000 of them) and verifies all of it, as
``payment-token audit verify`` does. The figure is of everything between opening the snapshot and the verdict. The database reads
and sends on another core meanwhile; ``processor`` is the time of the verifier's own process.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import VerifyLog
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.audit_source import audit_source
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.made_logs import insert_log, made_log, vkey

_BETWEEN = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Verification:
    records: int
    seconds: float
    processor_seconds: float

    @property
    def rate(self) -> float:
        return self.records / self.seconds


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="pt-benchmark-") as folder,
        EmbeddedServer(Path(folder)) as server,
    ):
        fill(server.url, options.records, options.of_a_seal)
        runs = [verify(server.url) for _ in range(options.runs)]
    for run in runs:
        print(
            f"{run.records:,} records in {run.seconds:.2f} s: {run.rate:,.0f}/s;"
            f" processor {run.processor_seconds:.2f} s: {run.records / run.processor_seconds:,.0f}/s"
        )
    print(f"median {statistics.median(run.rate for run in runs):,.0f} records/s")
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))


def fill(url: str, records: int, of_a_seal: int) -> None:
    migration.upgrade(url)
    begin = datetime.now(UTC) - records * _BETWEEN - timedelta(minutes=1)
    log = made_log(records, begin, of_a_seal=of_a_seal, between=_BETWEEN)
    with psycopg.connect(url) as database:
        insert_log(database, log)
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("VACUUM ANALYZE")


def verify(url: str) -> Verification:
    keys = TrustedKeys([VerifierKey.parse(vkey())])
    report = Report(keys.origin, [])
    started, used = time.perf_counter(), time.process_time()
    with audit_source(url) as log:
        VerifyLog(log, keys, report, live=log)()
    verification = Verification(
        report.records, time.perf_counter() - started, time.process_time() - used
    )
    if report.verdict is not Verdict.VERIFIED:
        raise SystemExit(f"a log that nobody changed does not verify: {report.as_json()}")
    return verification


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--of-a-seal", type=int, default=1000, help="records that a seal covers")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
