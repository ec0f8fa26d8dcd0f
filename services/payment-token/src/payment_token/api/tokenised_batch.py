"""The creates of a batch as both protocols do them: each under an idempotency key of its own."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from payment_token.api.batch import SECONDS, Batch, Batches, in_lines
from payment_token.domain.api_key import APIKey
from payment_token.domain.tokenise import Tokenise, Tokenised
from payment_token.domain.tokenise_request import TokeniseRequest


async def tokenised_batch(
    tokenise: Tokenise,
    batches: Batches,
    api_key: APIKey,
    requests: Sequence[Callable[[], TokeniseRequest]],
    claims: Iterable[Hashable],
    seconds: float = SECONDS,
) -> Mapping[int, Tokenised | Exception]:
    """Outcomes by place. ``requests`` raise what is wrong with an item, when it is its turn.

    ``claims`` are what must not be worked on twice at a time, merchant and key, or ``None`` where an item does not say. One
    that comes twice is a replay of the first, or another request under its key.
    """

    async def tokenise_one(place: int) -> Tokenised:
        request = requests[place]()
        api_key.acting_for(request.merchant_id)
        return await tokenise(request)

    batch = Batch(batches, tokenise_one)
    await batch.run(in_lines(claims), seconds)
    return batch.outcomes
