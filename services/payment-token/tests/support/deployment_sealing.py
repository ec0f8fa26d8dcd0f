"""The sealing of what a deployment has recorded: by its own sealer, or by one that a test plays."""

import time
from pathlib import Path

import psycopg

from payment_token.bootstrap.sealer import signing_keys
from payment_token.domain.log_sealing.seal_log import SealLog
from payment_token.infrastructure.checkpoint_file import CheckpointFile
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from tests.support.deployment import Deployment

_PATIENCE_SECONDS = 30

# The last record of a process that seals as well is sealed by the next one.
_UNSEALED = """
SELECT count(*) FROM decrypt_audit_log LEFT JOIN audit_chains USING (writer_id)
 WHERE (sealed_sequence IS NULL OR sealed_sequence < sequence) AND record NOT LIKE '%"event":"log_closed"%'
"""

ORIGIN = "payment-token/development/decrypt-audit"


async def seal_all(deployment: Deployment, checkpoints: Path) -> int:
    """Returns the size of the tree. Its checkpoints are in the file, as those that a sealer publishes."""
    url = deployment.environment["DATABASE_URL"]
    place = CheckpointFile(checkpoints)
    async with (
        signing_keys(deployment.settings, url) as keys,
        PostgresSealedLogs(url).alone() as log,
    ):
        assert log is not None
        seal = await SealLog.begun(log, [place], ORIGIN, keys)
        while True:
            done = await seal()
            assert not done.refusals, done.refusals
            if done.note is None:
                return done.tree_size
            await place.publish(done.note)


def wait_until_sealed(url: str) -> int:
    """Returns the size of the tree."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as database:
        while database.execute(_UNSEALED).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (size,) = database.execute("SELECT max(tree_size) FROM audit_seals").fetchone() or (0,)
        return int(size)
