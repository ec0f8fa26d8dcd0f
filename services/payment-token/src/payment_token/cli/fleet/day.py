"""Who comes when, and what each sends: drawn from a seed, so that a day can be had again.

What encrypts is new each time: no counter of a terminal comes twice, so the same day never meets its own replays.
"""

import base64
import copy
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from payment_token.cli.fleet.expectations import PER_HUNDRED, Kind
from payment_token.cli.fleet.floor import Floor
from payment_token.cli.published_cards import PUBLISHED_CARDS, PublishedCard
from payment_token.cli.virtual_terminal import DUKPTTerminal
from payment_token.domain.device_payload import PartFormat

_FORMATS = (PartFormat.TRACK2, PartFormat.TRACK2, PartFormat.TRACK1, PartFormat.EMV_TLV)
_LATE_READS = (3, 6)
_FAR_AHEAD = 5_000  # past any window
_COUNTER_DIGITS = (
    6  # of those that are counter under either scheme, with more one-bits than either allows
)
_MASK = 0x01


@dataclass(frozen=True, slots=True)
class Send:
    """One request. ``same_as`` is the key of one whose token it must get again."""

    kind: Kind
    body: dict[str, Any]
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """Requests that follow one upon the other, made as they are taken. ``alone``: no other such visit meanwhile."""

    sends: Iterator[Send]
    alone: bool = False


class Day:
    def __init__(
        self, floor: Floor, merchant: str, seed: int, *, registration_required: bool
    ) -> None:
        self._floor = floor
        self._merchant = merchant
        self._random = random.Random(seed)  # noqa: S311  a schedule is no secret
        weights = self._weights(registration_required=registration_required)
        self._kinds, self._weight = list(weights), list(weights.values())

    def visits(self) -> Iterator[Visit]:
        """Without end."""
        while True:
            (kind,) = self._random.choices(self._kinds, self._weight)
            yield Visit(_VISITS[kind](self), alone=kind in {Kind.JUMP, Kind.BEHIND})

    def _weights(self, *, registration_required: bool) -> Mapping[Kind, float]:
        left_out = set()
        if not registration_required:
            left_out.add(Kind.UNKNOWN_DEVICE)  # it would be taken
        if not self._floor.checked:
            left_out.add(Kind.DAMAGED_FRAME)
        rare = {kind: share for kind, share in PER_HUNDRED.items() if kind not in left_out}
        return {Kind.READ: 100 - sum(rare.values()), **rare}

    # --- the visits -------------------------------------------------------------------------------------------------

    def read(self) -> Iterator[Send]:
        yield Send(Kind.READ, self._body(self._any()))

    def late_reads(self) -> Iterator[Send]:
        """Of a terminal that was without a network: it sends what it kept, in no order."""
        terminal = self._any()
        kept = [self._body(terminal) for _ in range(self._random.randint(*_LATE_READS))]
        self._random.shuffle(kept)
        for body in kept:
            yield Send(Kind.LATE_READ, body)

    def retry(self) -> Iterator[Send]:
        first = Send(Kind.READ, self._body(self._any()))
        yield first
        yield Send(Kind.RETRY, first.body, first.key, same_as=first.key)

    def replay(self) -> Iterator[Send]:
        first = Send(Kind.READ, self._body(self._any()))
        yield first
        yield Send(Kind.REPLAY, first.body)

    def reused_key(self) -> Iterator[Send]:
        terminal = self._any()
        first = Send(Kind.READ, self._body(terminal))
        yield first
        yield Send(Kind.REUSED_KEY, self._body(terminal), first.key)

    def jump(self) -> Iterator[Send]:
        terminal = self._random.choice(self._floor.jumping)
        yield Send(Kind.READ, self._body(terminal))
        terminal.pass_over(_FAR_AHEAD)
        yield Send(Kind.JUMP, self._body(terminal))

    def behind(self) -> Iterator[Send]:
        terminal = self._random.choice(self._floor.jumping)
        kept = self._body(terminal)
        terminal.pass_over(_FAR_AHEAD)
        yield Send(Kind.JUMP, self._body(terminal))
        yield Send(Kind.BEHIND, kept)

    def stolen_device(self) -> Iterator[Send]:
        yield Send(Kind.STOLEN_DEVICE, self._body(self._floor.stolen))

    def unknown_device(self) -> Iterator[Send]:
        yield Send(Kind.UNKNOWN_DEVICE, self._body(self._floor.unknown))

    def wrong_variant(self) -> Iterator[Send]:
        body = self._body(self._floor.wrong_variant)
        del body["encrypted_payload"]["key_variant"]
        yield Send(Kind.WRONG_VARIANT, body)

    def impossible_counter(self) -> Iterator[Send]:
        body = self._body(self._plain())
        payload = body["encrypted_payload"]
        payload["ksn"] = payload["ksn"][:-_COUNTER_DIGITS] + "F" * _COUNTER_DIGITS
        yield Send(Kind.IMPOSSIBLE_COUNTER, body)

    def damaged_ciphertext(self) -> Iterator[Send]:
        body = self._body(self._plain())
        yield Send(Kind.DAMAGED_CIPHERTEXT, _with_data(body, "ciphertext", _first_bit_changed))

    def cut_ciphertext(self) -> Iterator[Send]:
        body = self._body(self._plain())
        yield Send(Kind.CUT_CIPHERTEXT, _with_data(body, "ciphertext", lambda data: data[:-1]))

    def damaged_frame(self) -> Iterator[Send]:
        body = self._body(self._random.choice(self._floor.checked))
        yield Send(Kind.DAMAGED_FRAME, _with_data(body, "frame", _middle_changed))

    def clear_track(self) -> Iterator[Send]:
        card = self._card()
        clear = card.track2.encode("ascii")
        padded = clear + bytes(-len(clear) % 16)
        body = self._body(self._plain())
        yield Send(Kind.CLEAR_TRACK, _with_data(body, "ciphertext", lambda _: padded))

    def clear_metadata(self) -> Iterator[Send]:
        body = self._body(self._any()) | {"metadata": {"note": f"paid with {self._card().pan}"}}
        yield Send(Kind.CLEAR_METADATA, body)

    # --- what they are made of --------------------------------------------------------------------------------------

    def _any(self) -> DUKPTTerminal:
        return self._random.choice([*self._floor.good, *self._floor.framed])

    def _plain(self) -> DUKPTTerminal:
        return self._random.choice(self._floor.good)

    def _card(self) -> PublishedCard:
        return self._random.choice(PUBLISHED_CARDS)

    def _body(self, terminal: DUKPTTerminal) -> dict[str, Any]:
        return terminal.create_body(self._merchant, self._card(), self._random.choice(_FORMATS))


_VISITS: Mapping[Kind, Callable[[Day], Iterator[Send]]] = {
    Kind.READ: Day.read,
    Kind.LATE_READ: Day.late_reads,
    Kind.RETRY: Day.retry,
    Kind.REPLAY: Day.replay,
    Kind.JUMP: Day.jump,
    Kind.BEHIND: Day.behind,
    Kind.IMPOSSIBLE_COUNTER: Day.impossible_counter,
    Kind.STOLEN_DEVICE: Day.stolen_device,
    Kind.UNKNOWN_DEVICE: Day.unknown_device,
    Kind.WRONG_VARIANT: Day.wrong_variant,
    Kind.DAMAGED_CIPHERTEXT: Day.damaged_ciphertext,
    Kind.DAMAGED_FRAME: Day.damaged_frame,
    Kind.CUT_CIPHERTEXT: Day.cut_ciphertext,
    Kind.CLEAR_TRACK: Day.clear_track,
    Kind.CLEAR_METADATA: Day.clear_metadata,
    Kind.REUSED_KEY: Day.reused_key,
}


def _with_data(body: dict[str, Any], name: str, change: Callable[[bytes], bytes]) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    part = changed["encrypted_payload"]["parts"][0]
    part[name] = base64.b64encode(change(base64.b64decode(part[name]))).decode("ascii")
    return changed


def _first_bit_changed(data: bytes) -> bytes:
    return bytes((data[0] ^ _MASK,)) + data[1:]


def _middle_changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ _MASK,)) + data[middle + 1 :]
