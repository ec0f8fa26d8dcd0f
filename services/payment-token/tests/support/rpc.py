"""A gRPC client as a worker or an integrator has it, and answers of both protocols in one form."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from payment_token.api.rpc.generated import decryption_service_pb2, token_service_pb2

TOKENS = token_service_pb2.DESCRIPTOR.services_by_name["TokenService"]
DECRYPTION = decryption_service_pb2.DESCRIPTOR.services_by_name["DecryptionService"]

# A field that no message has, with a card number in it.
UNKNOWN_FIELD = b"\xba\x3e\x104111111111111111"
_NO_SUCH_NUMBER = 99
_STATUSES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True)
class RPCAnswer:
    """``code`` is empty for a success; ``info`` has the metadata of the ErrorInfo."""

    status: str
    code: str
    detail: str
    request_id: str
    message: Message | None
    info: Mapping[str, str]
    field: str = ""
    retry_after_seconds: int | None = None


@dataclass
class RPCClient:
    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...] = ()

    def call(
        self,
        method: str,
        message: Message | bytes,
        *,
        metadata: tuple[tuple[str, str], ...] | None = None,
        timeout: float = 20,
        compression: grpc.Compression | None = None,
    ) -> RPCAnswer:
        """``method`` is its name in its service, or a whole path."""
        path, response = _found(method)
        sent = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            received, call = self.channel.unary_unary(path).with_call(
                sent,
                metadata=self.metadata if metadata is None else metadata,
                timeout=timeout,
                compression=compression,
            )
        except grpc.RpcError as refused:
            return refusal(refused)
        return RPCAnswer(
            "OK", "", "", _request_id(call.trailing_metadata()), response.FromString(received), {}
        )


@contextmanager
def rpc_client(
    url: str,
    *,
    metadata: tuple[tuple[str, str], ...] = (),
    folder: Path | None = None,
    certificate: str | None = None,
) -> Iterator[RPCClient]:
    """``folder`` has ca.pem, and the ``certificate`` with its key as NAME.pem and NAME-key.pem."""
    address = urlsplit(url)
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    if address.scheme == "grpc":
        channel = grpc.insecure_channel(address.netloc, options)
    else:
        assert folder is not None
        channel = grpc.secure_channel(address.netloc, credentials(folder, certificate), options)
    with channel:
        yield RPCClient(channel, metadata)


def credentials(folder: Path, certificate: str | None) -> grpc.ChannelCredentials:
    roots = (folder / "ca.pem").read_bytes()
    if certificate is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(
        roots,
        (folder / f"{certificate}-key.pem").read_bytes(),
        (folder / f"{certificate}.pem").read_bytes(),
    )


def _found(method: str) -> tuple[str, type[Message]]:
    for service, module in ((TOKENS, token_service_pb2), (DECRYPTION, decryption_service_pb2)):
        found = service.methods_by_name.get(method)
        if found is not None:
            return f"/{service.full_name}/{method}", getattr(module, found.output_type.name)
    return method, decryption_service_pb2.DecryptResponse


def _request_id(metadata: Any) -> str:
    found = [value for name, value in metadata or () if name == "x-request-id"]
    assert len(found) <= 1
    return found[0] if found else ""


@dataclass
class _Refused:
    """What ``rpc_status`` asks of a call, where trailing metadata may also be ``None``."""

    call: Any

    def code(self) -> Any:
        return self.call.code()

    def details(self) -> Any:
        return self.call.details()

    def trailing_metadata(self) -> Any:
        return tuple(self.call.trailing_metadata() or ())


def refusal(refused: Any) -> RPCAnswer:
    """Of a call of either API of the library."""
    status = rpc_status.from_call(_Refused(refused))
    if status is None:
        return RPCAnswer(refused.code().name, "", refused.details() or "", "", None, {})
    answer = of_status(status)
    assert answer.request_id == _request_id(refused.trailing_metadata())
    assert (status.code, status.message) == (refused.code().value[0], refused.details())
    return answer


def of_status(status: Status) -> RPCAnswer:
    """Of a call, or of an item of a batch."""
    info, named, bad, retry = ErrorInfo(), RequestInfo(), BadRequest(), RetryInfo()
    for packed in status.details:
        assert any(packed.Unpack(detail) for detail in (info, named, bad, retry))
    assert info.domain == "payment-token"
    return RPCAnswer(
        _STATUSES[status.code],
        info.reason.lower(),
        status.message,
        named.request_id,
        None,
        dict(info.metadata),
        bad.field_violations[0].field if bad.field_violations else "",
        retry.retry_delay.seconds if retry.HasField("retry_delay") else None,
    )


# --- Between what REST has in JSON and messages. The service's own way there is what is tested. ------------------------


def create_message(body: Mapping[str, Any], **more: Any) -> token_service_pb2.CreateTokenRequest:
    document = dict(body) | more
    payload = document.pop("encrypted_payload", None)
    if payload is not None:
        document["encrypted_payload"] = _payload(payload)
    return token_service_pb2.CreateTokenRequest(**document)


def decrypt_message(body: Mapping[str, Any], **more: Any) -> decryption_service_pb2.DecryptRequest:
    document = dict(body) | more
    fields = [
        _number(name, decryption_service_pb2.ReleaseField.DESCRIPTOR)
        for name in document.pop("fields", ())
    ]
    return decryption_service_pb2.DecryptRequest(fields=fields, **document)


def completion_message(
    body: Mapping[str, Any], **more: Any
) -> decryption_service_pb2.CompleteAuthorizationRequest:
    document = dict(body) | more
    outcome = document.pop("outcome", None)
    if outcome is not None:
        document["outcome"] = _number(
            outcome, decryption_service_pb2.AuthorizationOutcome.DESCRIPTOR
        )
    return decryption_service_pb2.CompleteAuthorizationRequest(**document)


def batch_message(items: Iterable[Message | bytes], request_id: str | None = None) -> bytes:
    """A batch of creates or of decrypts: what an item lacks of their messages is its request id alone."""
    fields = [] if request_id is None else [(b"\x0a", request_id.encode())]
    fields += [
        (b"\x12", item if isinstance(item, bytes) else item.SerializeToString()) for item in items
    ]
    return b"".join(tag + _varint(len(data)) + data for tag, data in fields)


def results_of(message: Message) -> list[RPCAnswer]:
    """Of a batch's response: each item as if it had been a call of its own."""
    found = []
    for result in message.results:  # type: ignore[attr-defined]
        if result.WhichOneof("outcome") == "error":
            found.append(of_status(result.error))
        else:
            found.append(RPCAnswer("OK", "", "", "", result.response, {}))
    return found


def _varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return found + bytes((number,))


def as_json(message: Message) -> dict[str, Any]:
    """The message as REST would have written it."""
    found = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _lowered(found, message)


def _payload(payload: Mapping[str, Any]) -> token_service_pb2.EncryptedPayload:
    document = dict(payload)
    fields = token_service_pb2.EncryptedPayload.DESCRIPTOR.fields_by_name
    for name in ("scheme", "key_variant", "cipher", "mode"):
        if document.get(name) is not None:
            document[name] = _number(document[name], fields[name].enum_type)
    document["parts"] = [_part(part) for part in document.get("parts", ())]
    return token_service_pb2.EncryptedPayload(**document)


def _part(part: Mapping[str, Any]) -> token_service_pb2.EncryptedPart:
    document = dict(part)
    if "format" in document:
        document["format"] = _number(document["format"], token_service_pb2.PartFormat.DESCRIPTOR)
    for name in {"ciphertext", "frame"} & document.keys():
        document[name] = base64.b64decode(document[name])
    return token_service_pb2.EncryptedPart(**document)


def _number(text: str, enumeration: EnumDescriptor) -> int:
    prefix = enumeration.values_by_number[0].name.removesuffix("UNSPECIFIED")
    name = prefix + text.upper().replace("-", "_")
    value = enumeration.values_by_name.get(name)
    return _NO_SUCH_NUMBER if value is None else value.number


def _lowered(found: dict[str, Any], message: Message) -> dict[str, Any]:
    for name, field in message.DESCRIPTOR.fields_by_name.items():
        if field.has_presence and not message.HasField(name):
            found[name] = None
        elif field.enum_type is not None:
            prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
            found[name] = found[name].removeprefix(prefix).lower()
        elif field.message_type is not None and not _is_plain(field.message_type):
            found[name] = _lowered(found[name], getattr(message, name))
    return found


def _is_plain(kind: Descriptor) -> bool:
    """What stays as it is: a map, a time."""
    return kind.GetOptions().map_entry or kind.file.package == "google.protobuf"
