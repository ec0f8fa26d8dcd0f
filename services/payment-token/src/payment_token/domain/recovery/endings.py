"""What records of the log have ended: tokens, their SAD, API keys, keys; and which devices they have stopped. A restored database has them alive again.

A record is written before what it tells of is done. So one may tell of what never happened: a revocation whose caller
heard of an outage. Ending what somebody wanted ended is the safe side.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from payment_token.domain.audit import EventKind
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import TokenNotFoundError
from payment_token.domain.key_life.key_event import KeyEventKind
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.token_id import TokenId

_BDK = "bdk"


@dataclass(frozen=True, slots=True)
class TokenEnd:
    """A token, or its SAD, that ended at a time."""

    merchant_id: str
    token_id: TokenId
    at: datetime


@dataclass(slots=True)
class KeyFate:
    """What became of a version. ``kek`` and ``public_key`` are known of one that was made since.

    ``due_at`` is when the custodian destroys the KEK, as far as destruction has begun and is not over.
    """

    purpose: KeyPurpose
    version: str
    made_at: datetime | None = None
    kek: str = ""
    public_key: bytes | None = None
    activated_at: datetime | None = None
    moved_to: str | None = None
    retired_at: datetime | None = None
    destroying_at: datetime | None = None
    due_at: datetime | None = None
    destroyed_at: datetime | None = None

    @property
    def is_gone(self) -> bool:
        """Nobody may have the wrapped key any more."""
        return self.destroying_at is not None or self.destroyed_at is not None


@dataclass(frozen=True, slots=True)
class DeviceFate:
    """The state in which somebody has put a device last."""

    state: DeviceState
    at: datetime
    reason: str


@dataclass(slots=True)
class Endings:
    """``api_keys`` and ``bdks`` by their ids, ``devices`` by merchant and id, ``expiring`` the API keys whose end came nearer. ``made`` counts what was made since and cannot be made again from records."""

    revoked: dict[str, TokenEnd] = field(default_factory=dict)
    completed: dict[str, TokenEnd] = field(default_factory=dict)
    api_keys: dict[str, datetime] = field(default_factory=dict)
    expiring: dict[str, datetime] = field(default_factory=dict)
    bdks: dict[str, datetime] = field(default_factory=dict)
    devices: dict[tuple[str, str], DeviceFate] = field(default_factory=dict)
    keys: dict[tuple[KeyPurpose, str], KeyFate] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)

    def read(self, record: bytes, at: datetime) -> None:
        """The next record. One that does not say what it should is left: the log is verified, so nobody has changed it."""
        content = _content(record)
        kind = content.get("event")
        if kind in _READERS and content.get("outcome") == "done":
            _READERS[kind](self, content, at)


def _content(record: bytes) -> dict[str, Any]:
    try:
        content = json.loads(record)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _read_revoked(endings: Endings, content: Mapping[str, Any], at: datetime) -> None:
    _read_token_end(endings.revoked, content, at)


def _read_completed(endings: Endings, content: Mapping[str, Any], at: datetime) -> None:
    _read_token_end(endings.completed, content, at)


def _read_token_end(ends: dict[str, TokenEnd], content: Mapping[str, Any], at: datetime) -> None:
    try:
        token_id = TokenId.parse(str(content.get("token_id")))
    except TokenNotFoundError:
        return
    ends.setdefault(token_id.text, TokenEnd(str(content.get("merchant_id")), token_id, at))


def _read_api_key_revoked(endings: Endings, content: Mapping[str, Any], at: datetime) -> None:
    endings.api_keys.setdefault(str(_details(content).get("key_id")), at)


def _read_api_key_expiring(endings: Endings, content: Mapping[str, Any], _: datetime) -> None:
    details = _details(content)
    key_id = str(details.get("key_id"))
    try:
        expires_at = datetime.fromisoformat(str(details.get("expires_at"))).astimezone(UTC)
    except (ValueError, OverflowError):
        return
    endings.expiring[key_id] = min(expires_at, endings.expiring.get(key_id, expires_at))


def _read_api_key_created(endings: Endings, _: Mapping[str, Any], __: datetime) -> None:
    endings.made["api_keys"] = endings.made.get("api_keys", 0) + 1


def _read_device_state(endings: Endings, content: Mapping[str, Any], at: datetime) -> None:
    details = _details(content)
    if details.get("to") not in list(DeviceState):
        return
    name = (str(content.get("merchant_id")), str(details.get("device_id")))
    known = endings.devices.get(name)
    # Leaves are in the order of their sealing: two writers' may not be in that of their times.
    if known is None or known.at <= at:
        state = DeviceState(str(details["to"]))
        endings.devices[name] = DeviceFate(state, at, str(details.get("reason", "")))


def _read_device_registered(endings: Endings, content: Mapping[str, Any], _: datetime) -> None:
    if "added_initial_key" not in _details(content):
        endings.made["devices"] = endings.made.get("devices", 0) + 1


def _read_key(endings: Endings, content: Mapping[str, Any], at: datetime) -> None:
    details = _details(content)
    key, change, name = details.get("key"), details.get("change"), str(content.get("key_name"))
    if key == _BDK:
        if change == "retired":
            endings.bdks.setdefault(name, at)
        return
    if key not in list(KeyPurpose) or change not in list(KeyEventKind):
        return
    purpose = KeyPurpose(key)
    fate = endings.keys.setdefault((purpose, name), KeyFate(purpose, name))
    _CHANGES.get(KeyEventKind(change), _nothing)(fate, details, at)


def _details(content: Mapping[str, Any]) -> Mapping[str, Any]:
    details = content.get("details")
    return details if isinstance(details, dict) else {}


def _created(fate: KeyFate, details: Mapping[str, Any], at: datetime) -> None:
    fate.made_at = at
    fate.kek = str(details.get("kek", ""))
    public_key = details.get("public_key")
    fate.public_key = bytes.fromhex(public_key) if isinstance(public_key, str) else None


def _activated(fate: KeyFate, _: Mapping[str, Any], at: datetime) -> None:
    fate.activated_at = at


def _moved(fate: KeyFate, details: Mapping[str, Any], _: datetime) -> None:
    fate.moved_to = str(details.get("kek", ""))


def _retired(fate: KeyFate, _: Mapping[str, Any], at: datetime) -> None:
    fate.retired_at = at


def _destroying(fate: KeyFate, details: Mapping[str, Any], at: datetime) -> None:
    fate.destroying_at = at
    try:
        fate.due_at = datetime.fromisoformat(str(details.get("due_at")))
    except ValueError:
        fate.due_at = None


def _destroyed(fate: KeyFate, _: Mapping[str, Any], at: datetime) -> None:
    fate.destroyed_at = at


def _nothing(_: KeyFate, __: Mapping[str, Any], ___: datetime) -> None: ...


_READERS: dict[str, Callable[[Endings, Mapping[str, Any], datetime], None]] = {
    EventKind.TOKEN_REVOKED: _read_revoked,
    EventKind.AUTHORIZATION_COMPLETED: _read_completed,
    EventKind.API_KEY_REVOKED: _read_api_key_revoked,
    EventKind.API_KEY_ROTATED: _read_api_key_expiring,
    EventKind.API_KEY_EXPIRY_CHANGED: _read_api_key_expiring,
    EventKind.API_KEY_CREATED: _read_api_key_created,
    EventKind.KEY_CHANGED: _read_key,
    EventKind.DEVICE_STATE_CHANGED: _read_device_state,
    EventKind.DEVICE_REGISTERED: _read_device_registered,
}

_CHANGES: dict[KeyEventKind, Callable[[KeyFate, Mapping[str, Any], datetime], None]] = {
    KeyEventKind.CREATED: _created,
    KeyEventKind.ACTIVATED: _activated,
    KeyEventKind.MOVED: _moved,
    KeyEventKind.RETIRED: _retired,
    KeyEventKind.DESTRUCTION_BEGUN: _destroying,
    KeyEventKind.DESTROYED: _destroyed,
}
