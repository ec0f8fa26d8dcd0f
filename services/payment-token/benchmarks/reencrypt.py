"""How fast old records come under a new service key, alone and while the service works.

    python -m benchmarks.reencrypt [--records N] [--runs N] [--load CREATES_A_SECOND] [--json FILE]

It fills an embedded PostgreSQL with sealed records, rotates, and times ``payment-token keys reencrypt``: alone, then with a
service that answers creates at a fixed rate, then with ``--payload`` under the same load. Each is run several times,
in turns, so that a noisy minute of the machine hits all of them alike. The figure is the command's own: from its first batch
to the pass that finds nothing more.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.deployment import PAYMENT_TOKEN, make_deployment, run, serving
from payment_token.bootstrap.audit import opened_audit_log, this_process
from payment_token.bootstrap.keys import Keys
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing import Binding, Purpose, seal
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.infrastructure.database.pool import new_pool
from payment_token.settings import Settings

MERCHANT = MerchantId("m_demo")
SEALED_PAN_BYTES = 60  # of a card with a name, about what the service seals

SEALED_SAD_BYTES = 300

_RATE = re.compile(r"\(([\d,]+)/s\)")

_SAME_IN_ALL = {
    "status": "active",
    "card_brand": "visa",
    "card_bin": "411111",
    "card_last4": "1111",
    "card_exp_month": 12,
    "card_exp_year": 2030,
    "card_entry_mode": "swipe",
    "card_luhn": True,
    "card_expired": False,
    "card_expiry_valid": True,
    "metadata": "{}",
    "device_id": "d_1",
    "bdk_id": "b_1",
}
_COLUMNS = (
    "merchant_id, purge_day, token_id, created_at, expires_at, sealed_pan, sealed_sad, sad_deadline, service_key, "
    + ", ".join(_SAME_IN_ALL)
)


@dataclass(frozen=True, slots=True)
class Reencryption:
    """What is done again: the data keys alone, or the ``payload`` too; beside so many creates a second."""

    payload: bool
    creates: float

    def __str__(self) -> str:
        what = "payload" if self.payload else "data keys"
        return f"{what}, {self.creates:g} creates/s" if self.creates else f"{what}, alone"


def ways(creates: float) -> tuple[Reencryption, ...]:
    """Those that are measured, in their order."""
    return (
        Reencryption(payload=False, creates=0.0),
        Reencryption(payload=False, creates=creates),
        Reencryption(payload=True, creates=creates),
    )


def main() -> None:
    options = _options()
    cases = ways(options.load)
    rates: dict[str, list[float]] = {str(case): [] for case in cases}
    with old_records(options.records) as env_file:
        for _ in range(options.runs):
            for case in cases:
                rates[str(case)].append(records_a_second(env_file, case))
                print(f"{case}: {rates[str(case)][-1]:,.0f} records/s", flush=True)
    _report(options, rates)


@contextlib.contextmanager
def old_records(records: int) -> Iterator[Path]:
    """A deployment of its own with so many records. Its ``.env``."""
    with tempfile.TemporaryDirectory(prefix="pt-benchmark-") as folder:
        env_file = make_deployment(Path(folder) / "deployment")
        with EmbeddedServer(env_file.parent) as server:
            key = asyncio.run(_active_service_key(env_file, server.url))
            _fill(server.url, key, records)
            yield env_file


def records_a_second(env_file: Path, case: Reencryption) -> float:
    """Rotates, and re-encrypts whatever is under the key before."""
    with _loaded(env_file, case.creates) if case.creates else contextlib.nullcontext():
        run(env_file, "keys", "rotate")
        said = run(env_file, "keys", "reencrypt", *(["--payload"] if case.payload else []))
    found = _RATE.search(said)
    if found is None:
        raise SystemExit(f"the command did not say how fast it was: {said}")
    return float(found[1].replace(",", ""))


@contextlib.contextmanager
def _loaded(env_file: Path, load: float) -> Iterator[None]:
    with serving(env_file) as service:
        options = ("--rate", str(load), "--count", "1000000", "--url", service.urls["public"])
        terminal = subprocess.Popen(
            [*PAYMENT_TOKEN, "simulate", "terminal", *options, "--env-file", env_file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
            if terminal.poll() is not None:
                raise SystemExit("the load ended by itself: the service refused something")
        finally:
            terminal.kill()
            terminal.wait()


async def _active_service_key(env_file: Path, url: str) -> NamedKey:
    async with new_pool(url) as pool:
        clock = DatabaseClock(pool)
        await clock.synchronise()
        settings, process = Settings.load(env_file), this_process()
        async with (
            opened_audit_log(url, pool, clock, process) as log,
            Keys.opened(settings, pool, clock, AuditedKeyChanges(log, process)) as keys,
            keys.kept_fresh(),
        ):
            key = await keys.service.active()
            return NamedKey(key.name, type(key.key)(key.key.reveal()))


def _fill(url: str, key: NamedKey, records: int) -> None:
    now = datetime.now(UTC)
    expires_at = now + timedelta(hours=24)
    with (
        psycopg.connect(url) as database,
        database.cursor().copy(f"COPY payment_tokens ({_COLUMNS}) FROM STDIN") as copy,
    ):
        for _ in range(records):
            token_id = TokenId.new(os.urandom(RANDOM_BYTES), expires_at)
            binding = Binding(Purpose.PAN, MERCHANT, token_id, "development", expires_at)
            sealed = seal(SensitiveBytes(os.urandom(SEALED_PAN_BYTES)), key, binding, os.urandom)
            copy.write_row(
                {
                    "merchant_id": MERCHANT,
                    "purge_day": token_id.purge_day,
                    "token_id": token_id.text,
                    "created_at": now,
                    "expires_at": expires_at,
                    "sealed_pan": sealed,
                    "sealed_sad": os.urandom(SEALED_SAD_BYTES),
                    "sad_deadline": expires_at,
                    "service_key": key.name,
                    **_SAME_IN_ALL,
                }.values()
            )
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("VACUUM ANALYZE payment_tokens")


def _report(options: argparse.Namespace, rates: dict[str, list[float]]) -> None:
    print(f"\n{options.records:,} records, {options.runs} runs: records a second")
    for name, found in rates.items():
        print(
            f"  {name:32} median {statistics.median(found):8,.0f}   from {min(found):,.0f} to {max(found):,.0f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"records": options.records, "rates": rates}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--load", type=float, default=50.0, help="creates a second (default: 50)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
