"""Bodies of the administrative routes of devices, as they stand in JSON and in OpenAPI."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from payment_token.api.rest.token_models import StrictModel
from payment_token.domain.device_registry import (
    LONGEST_TEXT,
    MOST_KSNS,
    SERIAL,
    DeviceRequest,
    RegistryEntry,
)
from payment_token.domain.device_states import LONGEST_REASON
from payment_token.domain.identifiers import BDK_ID, DEVICE_ID, MERCHANT_ID
from payment_token.domain.reader_profiles import PROFILE_NAME
from payment_token.domain.registry_document import registry_document

_LONGEST_INITIAL_KEY_ID = 64

MerchantField = Annotated[
    str | None,
    Field(
        default=None,
        pattern=f"^{MERCHANT_ID.pattern}$",
        description="May be left out where the API key acts for exactly one merchant.",
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None
Reason = Annotated[
    str,
    Field(
        max_length=LONGEST_REASON,
        description="Printable; it stands in the registry and in the audit log.",
    ),
]


class RegisterDeviceBody(StrictModel):
    """``ksns``: one of each initial key, with any counter. ``profile``: a name that ``payment-token devices profiles`` lists."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "merchant_id": "m_4711",
                    "device_id": "IDT-0815",
                    "bdk_id": "idtech-2027",
                    "ksns": ["FFFF9876543210E00000"],
                    "serial": "706T123456",
                    "make": "ID TECH",
                    "model": "VP3300",
                    "firmware": "1.01.104",
                    "profile": "idtech-emv-tdes",
                }
            ]
        }
    )

    merchant_id: MerchantField
    device_id: Annotated[str, Field(pattern=f"^{DEVICE_ID.pattern}$")]
    bdk_id: Annotated[str, Field(pattern=f"^{BDK_ID.pattern}$")]
    ksns: Annotated[
        list[Annotated[str, Field(pattern="^([0-9A-Fa-f]{16}|[0-9A-Fa-f]{20}|[0-9A-Fa-f]{24})$")]],
        Field(max_length=MOST_KSNS, default_factory=list),
    ]
    serial: Annotated[str, Field(pattern=f"^{SERIAL.pattern}$")] | None = None
    make: Text = None
    model: Text = None
    firmware: Text = None
    profile: Annotated[str, Field(pattern=f"^{PROFILE_NAME.pattern}$")] | None = None

    def to_domain(self, merchant_id: str) -> DeviceRequest:
        return DeviceRequest(
            merchant_id=merchant_id,
            device_id=self.device_id,
            bdk_id=self.bdk_id,
            ksns=self.ksns,
            serial=self.serial,
            make=self.make,
            model=self.model,
            firmware=self.firmware,
            profile_name=self.profile,
        )


class StateChangeBody(StrictModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"merchant_id": "m_4711", "reason": "till 7 is missing"}]}
    )

    merchant_id: MerchantField
    reason: Reason = ""


class ResetCounterBody(StrictModel):
    """Without ``initial_key_id``: all initial keys of the device."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "merchant_id": "m_4711",
                    "initial_key_id": "FFFF9876543210E00000",
                    "reason": "repaired",
                }
            ]
        }
    )

    merchant_id: MerchantField
    initial_key_id: (
        Annotated[str, Field(pattern=f"^([0-9A-Fa-f]{{2}}){{1,{_LONGEST_INITIAL_KEY_ID}}}$")] | None
    ) = None
    reason: Reason = ""

    def key(self) -> bytes | None:
        return None if self.initial_key_id is None else bytes.fromhex(self.initial_key_id)


class EncryptionBody(BaseModel):
    """What is null is left to the base derivation key, or to the request."""

    scheme: str | None
    key_variant: str | None
    cipher: str | None
    mode: str | None
    iv: str | None
    container: str | None


class InitialKeyBody(BaseModel):
    initial_key_id: str
    bdk_id: str
    newest_counter: int | None
    bound_at: datetime
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    tokens: int


class DeviceBody(BaseModel):
    merchant_id: str
    device_id: str
    bdk_id: str | None
    state: str
    state_changed_at: datetime
    state_reason: str
    serial: str | None
    make: str | None
    model: str | None
    firmware: str | None
    profile: str | None
    encryption: EncryptionBody
    registered_at: datetime
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    tokens: int
    initial_keys: list[InitialKeyBody]

    @staticmethod
    def render(entry: RegistryEntry) -> bytes:
        return to_json(registry_document(entry))


class DeviceListBody(BaseModel):
    """``next_after`` is what ``after`` must be for the devices behind these; null at the end."""

    devices: list[DeviceBody]
    next_after: str | None

    @staticmethod
    def render(entries: Sequence[RegistryEntry], *, more: bool) -> bytes:
        document: dict[str, Any] = {
            "devices": [registry_document(entry) for entry in entries],
            "next_after": entries[-1].device.device_id if more else None,
        }
        return to_json(document)
