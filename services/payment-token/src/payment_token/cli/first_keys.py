"""``payment-token keys init``: the first keys of a new deployment."""

from collections.abc import Sequence

from payment_token.bootstrap.key_life import KeyLife
from payment_token.cli.deployment import load_settings, with_key_life
from payment_token.cli.terminal import console
from payment_token.domain.key_life.version import KeyVersion


def init() -> None:
    """Make the first version of each key, once, before the service starts. Does nothing where there are keys."""

    async def make(life: KeyLife) -> tuple[int, Sequence[KeyVersion]]:
        before = len(await life.keys.versions.all())
        await life.keys.make_first()
        return before, await life.keys.versions.all()

    before, versions = with_key_life(load_settings(), make)
    made = versions[before:] if before else versions
    if len(versions) == before:
        console.print("There are keys already: nothing to do.")
        return
    for version in made:
        console.print(f"Made {version.purpose} {version.version}.")
