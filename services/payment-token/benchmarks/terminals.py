"""Simulated terminals that encrypt card reads beforehand: consecutive counters, each ciphertext once."""

import asyncio
import itertools
import json
import uuid
from pathlib import Path

from payment_token.cli.development import DEMO_MERCHANT
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import DUKPTTerminal, VirtualTerminal, new_base
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.local_keystore import SCHEME
from payment_token.settings import Settings

MERCHANT = DEMO_MERCHANT
TERMINALS = 200

# The prefixes that `dev init` registers its keys under.
_PREFIXES = {BDKAlgorithm.AES_128: "DE000128", BDKAlgorithm.TDES_2KEY: "FFFFDE0002"}


class Fleet:
    """Terminals of one algorithm; their reads come from one after the other, so that few meet at the service."""

    def __init__(self, env_file: Path, algorithm: BDKAlgorithm, terminals: int = TERMINALS) -> None:
        self._terminals = asyncio.run(_injected(env_file, algorithm, terminals))
        self._turns = itertools.count()

    def bodies(self, number: int, part: PartFormat = PartFormat.TRACK2) -> list[bytes]:
        """The bodies of so many creates, as JSON.

        All at once: what is left to the load's process, which is a fork, would be encrypted here once more under the same
        counters.
        """
        return [self._body(turn, part) for turn in itertools.islice(self._turns, number)]

    def _body(self, turn: int, part: PartFormat) -> bytes:
        terminal = self._terminals[turn % len(self._terminals)]
        card = PUBLISHED_CARDS[turn % len(PUBLISHED_CARDS)]
        return json.dumps(terminal.create_body(MERCHANT, card, part)).encode()


async def _injected(env_file: Path, algorithm: BDKAlgorithm, number: int) -> list[VirtualTerminal]:
    name = f"default-{algorithm}"
    bdk = BaseDerivationKey(name, f"{SCHEME}{name}", algorithm, ksn_prefix=_PREFIXES.get(algorithm))
    # Two terminals of one initial key would be refused, and under TDES a device has only 19 bits.
    bases: set[bytes] = set()
    while len(bases) < number:
        bases.add(new_base(bdk))
    custodians = Custodians(Settings.load(env_file))
    try:
        return [await _terminal(bdk, base, custodians) for base in bases]
    finally:
        custodians.close()


async def _terminal(bdk: BaseDerivationKey, base: bytes, custodians: Custodians) -> VirtualTerminal:
    ksn = KSN.of_any_counter(base.hex(), bdk.algorithm.scheme)
    key = await custodians.initial_key(bdk, ksn)
    return DUKPTTerminal(f"BENCH-{uuid.uuid4().hex[:8]}", bdk, base, key)
