"""The sealer of a deployment, for as long as there is something to seal."""

from pathlib import Path

from payment_token.bootstrap.sealer import signing_keys
from payment_token.domain.log_sealing.seal_log import SealLog
from payment_token.infrastructure.checkpoint_file import CheckpointFile
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from tests.support.deployment import Deployment

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
