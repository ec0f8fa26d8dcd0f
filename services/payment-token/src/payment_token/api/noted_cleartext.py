"""A request of which card data in clear was refused is news of whoever sent it, in either protocol."""

from contextlib import AbstractAsyncContextManager

from payment_token.domain.api_key import APIKey
from payment_token.domain.device_events import DeviceEvent, DeviceEventKind, DeviceEvents
from payment_token.domain.errors import CleartextCardDataError
from payment_token.domain.identifiers import DeviceId, MerchantId


class CleartextNoted(AbstractAsyncContextManager[None]):
    """Stands around what reads a request: its refusal for card data in clear is noted, and goes on."""

    def __init__(self, events: DeviceEvents, api_key: APIKey) -> None:
        self._events = events
        self._api_key = api_key

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, CleartextCardDataError):
            await self._events.note(_event_of(error, self._api_key))


def _event_of(error: CleartextCardDataError, api_key: APIKey) -> DeviceEvent:
    return DeviceEvent(
        DeviceEventKind.CLEARTEXT_CARD_DATA,
        _merchant_of(error, api_key),
        DeviceId(error.device_id),
        api_key_id=api_key.key_id,
        detail=error.field,
    )


def _merchant_of(error: CleartextCardDataError, api_key: APIKey) -> MerchantId:
    """The claimed one, if it is one of the key's: nobody fills the list of another merchant."""
    if error.merchant_id in api_key.merchants:
        return MerchantId(error.merchant_id)
    return api_key.merchants[0] if len(api_key.merchants) == 1 else MerchantId("")


async def note_cleartext_of_worker(events: DeviceEvents, field: str) -> None:
    """Who the worker is stands in the audit record of the refusal."""
    await events.note(
        DeviceEvent(
            DeviceEventKind.CLEARTEXT_CARD_DATA,
            MerchantId(""),
            DeviceId(""),
            detail=f"{field}, of a worker",
        )
    )
