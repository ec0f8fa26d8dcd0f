"""The results of a batch as JSON, in the order of its items."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic_core import to_json
from starlette.responses import Response

from payment_token.api.batch import in_order, item_id
from payment_token.api.rest.problem import result_of

Outcome = TypeVar("Outcome")


def batch_response(
    count: int,
    outcomes: Mapping[int, Outcome | Exception],
    render: Callable[[Outcome], dict[str, Any]],
    request_id: str,
    *,
    hints: bool,
) -> Response:
    """``outcomes`` by place; what is not there was not done in time. ``render`` gives the result of one that succeeded."""
    results = [
        (
            result_of(outcome, item_id(request_id, place), hints=hints)
            if isinstance(outcome, Exception)
            else render(outcome)
        )
        for place, outcome in enumerate(in_order(count, outcomes))
    ]
    return Response(
        to_json({"results": results}),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
