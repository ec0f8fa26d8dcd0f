"""The creates of a batch as both protocols do them: each under an idempotency key of its own."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from payment_token.api.batch import SECONDS, Batch, Batches, asked, in_lines, read_in_turns
from payment_token.api.noted_cleartext import CleartextNoted
from payment_token.domain.api_key import APIKey
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.tokenise import Tokenise, Tokenised
from payment_token.domain.tokenise_request import TokeniseRequest


async def tokenised_batch(
    tokenise: Tokenise,
    device_events: DeviceEvents,
    take_permit: Callable[[], Awaitable[None]],
    batches: Batches,
    api_key: APIKey,
    items: Sequence[Callable[[], TokeniseRequest]],
    seconds: float = SECONDS,
) -> Mapping[int, Tokenised | Exception]:
    """Outcomes by place. ``items`` raise what is wrong with them.

    A batch costs as many permits as it has items. The one that let it in is that of its first.
    """
    ends_at = time.monotonic() + seconds
    requests = await read_in_turns(items, seconds)

    async def tokenise_one(place: int) -> Tokenised:
        if place:
            await take_permit()
        async with CleartextNoted(device_events, api_key):
            request = asked(requests[place])
        api_key.acting_for(request.merchant_id)
        return await tokenise(request)

    batch = Batch(batches, tokenise_one)
    # A key that comes twice is a replay of the first, or another request under its key.
    await batch.run(in_lines(map(_claim_of, requests)), ends_at - time.monotonic())
    return batch.outcomes


def _claim_of(request: TokeniseRequest | Exception) -> tuple[str, str] | None:
    """What must not be worked on twice at a time. What is refused is not worked on at all."""
    if isinstance(request, Exception):
        return None
    return request.merchant_id, request.idempotency_key
