"""A hash chain as it is usually built: one head for all, a row that each transaction locks."""

from pathlib import Path

import psycopg

from benchmarks.baselines.pgbench import run_pgbench

CLIENTS = 16

_TABLES = """
CREATE TABLE single_chain (
    sequence bigint PRIMARY KEY, recorded_at timestamptz NOT NULL, hash bytea NOT NULL, record text NOT NULL
);
CREATE TABLE single_head (sequence bigint NOT NULL, hash bytea NOT NULL);
INSERT INTO single_head VALUES (0, '\\x00');
CREATE FUNCTION append_to_chain(record text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head single_head%ROWTYPE;
BEGIN
    SELECT * INTO head FROM single_head FOR UPDATE;
    head.sequence := head.sequence + 1;
    head.hash := sha256(head.hash || convert_to(record, 'UTF8'));
    INSERT INTO single_chain VALUES (head.sequence, clock_timestamp(), head.hash, record);
    UPDATE single_head SET sequence = head.sequence, hash = head.hash;
    RETURN head.sequence;
END
$$;
"""

# As long as the service's records are.
_RECORD = "x" * 450


def prepare_single_chain(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(_TABLES)


def single_chain_rate(url: str, folder: Path, seconds: float) -> float:
    """Records a second."""
    script = folder / "single-chain.sql"
    script.write_text(f"SELECT append_to_chain('{_RECORD}');\n")
    return run_pgbench(url, script, seconds, CLIENTS).rate
