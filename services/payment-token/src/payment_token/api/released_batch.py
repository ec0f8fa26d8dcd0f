"""The releases of a batch as both protocols do them: each item, released or refused, is a durable record of its own."""

import time
from collections.abc import Callable, Mapping, Sequence

from payment_token.api.audited_release import Attempt, released_on_record
from payment_token.api.batch import SECONDS, Batch, Batches, asked, item_id, read_in_turns
from payment_token.domain.errors import AuditUnavailableError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Release, Released, ReleaseRequest


async def released_batch(
    release: Release,
    batches: Batches,
    whole: Attempt[ReleaseRequest],
    items: Sequence[Callable[[], ReleaseRequest]],
    is_given_up: Callable[[], bool],
    seconds: float = SECONDS,
) -> Mapping[int, Released | Exception]:
    """Outcomes by place. ``items`` raise what is wrong with them.

    Whatever is released without an answer that leaves is taken back: what is late by itself, and all of a batch whose
    caller is gone. Raises AuditUnavailableError then.
    """
    ends_at = time.monotonic() + seconds
    requests = await read_in_turns(items, seconds)

    async def release_one(place: int) -> Released:
        if is_given_up():
            # Nothing more is begun for a caller that is gone.
            raise AuditUnavailableError
        attempt: Attempt[ReleaseRequest] = Attempt(
            whole.worker, RequestId(item_id(whole.request_id, place))
        )

        async def read() -> None:
            attempt.request = asked(requests[place])

        return await released_on_record(
            release, attempt, read, lambda: batch.is_over or is_given_up()
        )

    batch = Batch(batches, release_one)
    answered = False
    try:
        await batch.run([[place] for place in range(len(requests))], ends_at - time.monotonic())
        answered = not is_given_up()
    finally:
        # Also where this is cancelled, at the end of the process.
        if not answered:
            for outcome in batch.outcomes.values():
                if isinstance(outcome, Released):
                    release.take_back(outcome)
    if not answered:
        raise AuditUnavailableError
    return batch.outcomes
