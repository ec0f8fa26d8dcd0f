"""One request, sent over REST or over gRPC, and its answer in a form that does not say which it was."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from payment_token.api.errors import ANSWERS
from payment_token.api.rpc.generated.token_service_pb2 import DeleteTokenRequest, GetTokenRequest
from tests.support.rpc import (
    UNKNOWN_FIELD,
    RPCAnswer,
    RPCClient,
    as_json,
    batch_message,
    completion_message,
    create_message,
    decrypt_message,
    results_of,
)

_BY_CODE = {error.code: answer for error, answer in ANSWERS.items()}


@dataclass(frozen=True)
class Answer:
    """``code`` is empty for a success, ``detail`` for a success and where the protocols have to say it differently."""

    code: str
    detail: str
    body: dict[str, Any] | None
    request_id: str
    more: Mapping[str, Any]
    results: tuple["Answer", ...] = ()


@dataclass(frozen=True)
class Sent:
    """``raw`` is sent in the place of the message: (what REST sends, what gRPC sends).

    ``unknown`` adds a field that nobody knows.
    """

    body: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_id: str | None = None
    raw: tuple[bytes, bytes] | None = None
    unknown: bool = False


@dataclass(frozen=True)
class SentBatch:
    """``raw`` as in ``Sent``."""

    items: Sequence[Sent] = ()
    request_id: str | None = None
    raw: tuple[bytes, bytes] | None = None


@dataclass
class OverREST:
    public: httpx.Client
    internal: httpx.Client | None = None

    def create(self, sent: Sent) -> Answer:
        return self._posted(self.public, "/v1/payment-tokens", sent)

    def view(self, sent: Sent) -> Answer:
        return self._asked("GET", sent)

    def revoke(self, sent: Sent) -> Answer:
        return self._asked("DELETE", sent)

    def device_events(self, sent: Sent) -> Answer:
        headers = self._headers(sent)
        return _rest_answer(self.public.get("/v1/device-events", params=sent.body, headers=headers))

    def decrypt(self, sent: Sent) -> Answer:
        assert self.internal is not None
        return self._posted(self.internal, "/internal/v1/decrypt", sent)

    def complete(self, sent: Sent) -> Answer:
        assert self.internal is not None
        body = dict(sent.body)
        token = quote(body.pop("payment_token"), safe="")
        path = f"/internal/v1/payment-tokens/{token}/authorization-complete"
        return self._posted(self.internal, path, replace(sent, body=body))

    def create_batch(self, sent: SentBatch) -> Answer:
        return self._posted_batch(self.public, "/v1/payment-tokens:batch", sent)

    def decrypt_batch(self, sent: SentBatch) -> Answer:
        assert self.internal is not None
        return self._posted_batch(self.internal, "/internal/v1/decrypt:batch", sent)

    def _posted_batch(self, client: httpx.Client, path: str, sent: SentBatch) -> Answer:
        items = [_rest_item(item) for item in sent.items]
        content = json.dumps({"items": items}).encode() if sent.raw is None else sent.raw[0]
        headers = {"Content-Type": "application/json"}
        if sent.request_id is not None:
            headers["X-Request-ID"] = sent.request_id
        answer = client.post(path, content=content, headers=headers)
        if not answer.is_success:
            return _rest_answer(answer)
        results = tuple(map(_rest_result, answer.json()["results"]))
        return Answer("", "", None, answer.headers["X-Request-ID"], {}, results)

    def _posted(self, client: httpx.Client, path: str, sent: Sent) -> Answer:
        body = sent.body | ({"x": "4111111111111111"} if sent.unknown else {})
        content = json.dumps(body).encode() if sent.raw is None else sent.raw[0]
        headers = self._headers(sent) | {"Content-Type": "application/json"}
        return _rest_answer(client.post(path, content=content, headers=headers))

    def _asked(self, method: str, sent: Sent) -> Answer:
        body = dict(sent.body)
        path = f"/v1/payment-tokens/{quote(body.pop('payment_token'), safe='')}"
        return _rest_answer(
            self.public.request(method, path, params=body, headers=self._headers(sent))
        )

    def _headers(self, sent: Sent) -> dict[str, str]:
        headers = {}
        if sent.idempotency_key is not None:
            headers["Idempotency-Key"] = sent.idempotency_key
        if sent.request_id is not None:
            headers["X-Request-ID"] = sent.request_id
        return headers


@dataclass
class OverGRPC:
    public: RPCClient
    internal: RPCClient | None = None

    def create(self, sent: Sent) -> Answer:
        return self._called(self.public, "CreateToken", create_message, sent)

    def view(self, sent: Sent) -> Answer:
        return self._called(self.public, "GetToken", GetTokenRequest, sent)

    def revoke(self, sent: Sent) -> Answer:
        return self._called(self.public, "DeleteToken", DeleteTokenRequest, sent)

    def decrypt(self, sent: Sent) -> Answer:
        assert self.internal is not None
        return self._called(
            self.internal, "Decrypt", lambda **fields: decrypt_message(fields), sent
        )

    def complete(self, sent: Sent) -> Answer:
        assert self.internal is not None
        return self._called(
            self.internal,
            "CompleteAuthorization",
            lambda **fields: completion_message(fields),
            sent,
        )

    def create_batch(self, sent: SentBatch) -> Answer:
        return self._called_batch(self.public, "BatchCreateTokens", create_message, sent)

    def decrypt_batch(self, sent: SentBatch) -> Answer:
        assert self.internal is not None
        return self._called_batch(self.internal, "BatchDecrypt", decrypt_message, sent)

    def _called_batch(self, client: RPCClient, method: str, make: Any, sent: SentBatch) -> Answer:
        items = [_rpc_item(item, make) for item in sent.items]
        message = batch_message(items, sent.request_id) if sent.raw is None else sent.raw[1]
        return answers_of(client.call(method, message))

    def _called(self, client: RPCClient, method: str, make: Any, sent: Sent) -> Answer:
        if sent.raw is not None:
            return _rpc_answer(client.call(method, sent.raw[1]))
        more = {
            name: value
            for name in ("idempotency_key", "request_id")
            if (value := getattr(sent, name)) is not None
        }
        message = (
            make(sent.body, **more) if make is create_message else make(**sent.body, **more)
        ).SerializeToString()
        return _rpc_answer(client.call(method, message + (UNKNOWN_FIELD if sent.unknown else b"")))


def new_key() -> str:
    return str(uuid.uuid4())


def answers_of(batch: RPCAnswer) -> Answer:
    if batch.message is None:
        return _rpc_answer(batch)
    results = tuple(map(_rpc_answer, results_of(batch.message)))
    return Answer("", "", None, batch.request_id, {}, results)


def _rest_item(sent: Sent) -> dict[str, Any]:
    key = {} if sent.idempotency_key is None else {"idempotency_key": sent.idempotency_key}
    return sent.body | key | ({"x": "4111111111111111"} if sent.unknown else {})


def _rpc_item(sent: Sent, make: Any) -> bytes:
    key = {} if sent.idempotency_key is None else {"idempotency_key": sent.idempotency_key}
    message: bytes = make(sent.body, **key).SerializeToString()
    return message + (UNKNOWN_FIELD if sent.unknown else b"")


def _rest_result(result: dict[str, Any]) -> Answer:
    if "body" in result:
        replayed = result.get("idempotency_replayed", False)
        return Answer("", "", _with_times(result["body"]), "", {"replayed": replayed})
    problem = result["problem"]
    assert result["status"] == problem["status"] == _BY_CODE[problem["code"]].status
    more = {name: problem[name] for name in ("payment_token", "hint") if name in problem}
    more["retry_after_seconds"] = problem.get("retry_after_seconds")
    return Answer(problem["code"], problem["detail"], None, problem["request_id"], more)


def _rest_answer(answer: httpx.Response) -> Answer:
    body = answer.json() if answer.content else {}
    request_id = answer.headers["X-Request-ID"]
    if answer.is_success:
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        return Answer("", "", _with_times(body), request_id, {"replayed": replayed})
    assert answer.status_code == _BY_CODE[body["code"]].status
    retry = answer.headers.get("Retry-After")
    more = {name: body[name] for name in ("payment_token", "hint") if name in body}
    return Answer(
        body["code"],
        body["detail"],
        None,
        request_id,
        more | {"retry_after_seconds": None if retry is None else int(retry)},
    )


def _rpc_answer(answer: RPCAnswer) -> Answer:
    if answer.message is not None:
        body = as_json(answer.message)
        replayed = body.pop("replayed", False)
        token = body.get("token", body)
        return Answer("", "", _with_times(token), answer.request_id, {"replayed": replayed})
    assert answer.status == _BY_CODE[answer.code].rpc
    assert (answer.field != "") is (answer.code == "invalid_field")
    assert answer.detail.startswith(answer.field)
    more = dict(answer.info) | {"retry_after_seconds": answer.retry_after_seconds}
    return Answer(answer.code, answer.detail, None, answer.request_id, more)


def _with_times(body: dict[str, Any]) -> dict[str, Any]:
    for name in ("created_at", "expires_at", "sad_destroyed_at", "unrecoverable_from"):
        if body.get(name) is not None:
            body[name] = datetime.fromisoformat(body[name])
    return body
