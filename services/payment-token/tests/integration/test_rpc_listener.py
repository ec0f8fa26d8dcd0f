"""A gRPC listener: what a call may cost, what a caller sees when it fails, and how it ends."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from payment_token.api.batch import Batches
from payment_token.api.listening_socket import ListenError, listening_socket, reserved_address
from payment_token.api.rest.internal import InternalUseCases
from payment_token.api.rest.observation import Observation, RequestMetrics
from payment_token.api.rpc.bounds import Bounds
from payment_token.api.rpc.call import Call
from payment_token.api.rpc.credentials import CertificateFiles, Credentials
from payment_token.api.rpc.generated.decryption_service_pb2 import DecryptRequest, DecryptResponse
from payment_token.api.rpc.listener import RPCListener
from payment_token.api.rpc.methods import Methods
from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.bootstrap.grpc_listeners import internal_grpc, public_grpc
from payment_token.domain.errors import ForbiddenError
from payment_token.settings import Environment, Settings
from tests.support.certificates import Authority, uri
from tests.support.rpc import DECRYPTION, RPCAnswer, credentials, refusal

ANYWHERE = "127.0.0.1:0"
DECRYPT = "/payment_token.v1.DecryptionService/Decrypt"
ROUTE = {"listener": "test", "route": DECRYPT, "method": "gRPC"}
SECRET = "4111111111111111 is what the exception says"
PATIENCE_SECONDS = 10

Work = Callable[[Call], Awaitable[Message]]


async def at_once(_: Call) -> Message:
    return DecryptResponse(payment_token="pt_1")


@dataclass
class Server:
    listener: RPCListener
    metrics: RequestMetrics
    failing: dict[str, str]
    folder: Path | None = None
    certificate: str | None = None
    serving: asyncio.Task[None] | None = None
    calls: list[Call] = field(default_factory=list)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[grpc.aio.Channel]:
        address = self.listener.url.partition("//")[2]
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        if self.folder is None:
            channel = grpc.aio.insecure_channel(address, options)
        else:
            tls = credentials(self.folder, self.certificate)
            channel = grpc.aio.secure_channel(address, tls, options)
        async with channel:
            yield channel

    def counted(self, status: str, code: str) -> float:
        labels = ROUTE | {"status": status, "code": code}
        return self.metrics.registry.get_sample_value("payment_token_requests_total", labels) or 0


@asynccontextmanager
async def serving(
    work: Work = at_once,
    *,
    bounds: Bounds | None = None,
    address: str = ANYWHERE,
    shared: bool = False,
    tls: Credentials | None = None,
    reflected: bool = False,
) -> AsyncIterator[Server]:
    metrics, failing = RequestMetrics(), {}
    bounds = bounds or Bounds()
    calls: list[Call] = []

    async def noted(call: Call) -> Message:
        calls.append(call)
        return await work(call)

    async def readiness() -> dict[str, str]:
        return dict(failing)

    operations = {method.name: noted for method in DECRYPTION.methods}
    methods = Methods(DECRYPTION, operations, Observation("test", metrics), bounds, hints=False)
    listener = RPCListener(
        "test", address, DECRYPTION.full_name, methods, bounds, readiness, tls, reflected=reflected
    )
    listener.bind(shared=shared)
    server = Server(listener, metrics, failing, calls=calls)
    server.serving = asyncio.create_task(listener.serve())
    try:
        yield server
    finally:
        listener.stop()
        await server.serving
        listener.close()


async def call(
    channel: grpc.aio.Channel,
    message: bytes = b"",
    path: str = DECRYPT,
    *,
    seconds: float | None = PATIENCE_SECONDS,
    compression: grpc.Compression | None = None,
) -> RPCAnswer:
    calling = channel.unary_unary(path)(message, timeout=seconds, compression=compression)
    try:
        received = await calling
    except grpc.aio.AioRpcError as refused:
        return refusal(refused)
    return RPCAnswer("OK", "", "", "", DecryptResponse.FromString(received), {})


async def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@dataclass
class Held:
    """Work that waits until it is let go."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: list[bool] = field(default_factory=list)

    async def work(self, call: Call) -> Message:
        self.begun.set()
        await self.let_go.wait()
        self.given_up.append(call.given_up)
        return DecryptResponse(payment_token="pt_1")


# --- What a call may cost --------------------------------------------------------------------------------------------


async def test_what_takes_too_long_is_an_outage_and_goes_on_by_itself() -> None:
    held = Held()
    async with (
        serving(held.work, bounds=Bounds(deadline_seconds=0.05)) as server,
        server.client() as client,
    ):
        answer = await call(client)
        assert (answer.status, answer.code) == ("UNAVAILABLE", "database_unavailable")
        assert answer.retry_after_seconds == 1
        assert not held.given_up
        held.let_go.set()
        await eventually(lambda: held.given_up == [True])
    assert server.counted("UNAVAILABLE", "database_unavailable") == 1


async def test_a_deadline_of_the_caller_ends_its_call_and_not_the_work() -> None:
    held = Held()
    async with serving(held.work) as server, server.client() as client:
        began = time.monotonic()
        answer = await call(client, seconds=0.3)
        assert answer.status == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 2.5
        await eventually(lambda: server.counted("CANCELLED", "cancelled") == 1)
        assert server.calls[0].given_up
        held.let_go.set()
        await eventually(lambda: held.given_up == [True])


async def test_a_caller_that_hangs_up_ends_its_call_and_not_the_work() -> None:
    held = Held()
    async with serving(held.work) as server, server.client() as client:
        calling = client.unary_unary(DECRYPT)(b"")
        await held.begun.wait()
        calling.cancel()
        await eventually(lambda: server.counted("CANCELLED", "cancelled") == 1)
        held.let_go.set()
        await eventually(lambda: held.given_up == [True])


async def test_work_that_fails_after_its_caller_has_gone_says_so_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go = asyncio.Event()

    async def fails(_: Call) -> Message:
        await let_go.wait()
        raise ValueError(SECRET)

    async with (
        serving(fails, bounds=Bounds(deadline_seconds=0.05)) as server,
        server.client() as client,
    ):
        assert (await call(client)).code == "database_unavailable"
        let_go.set()
    assert SECRET not in caplog.text


async def test_more_than_can_be_are_sent_away_until_there_is_room() -> None:
    held = Held()
    async with serving(held.work, bounds=Bounds(at_once=2)) as server, server.client() as client:
        working = [asyncio.create_task(call(client)) for _ in range(2)]
        await eventually(lambda: len(server.calls) == 2)
        sent_away = await call(client)
        assert (sent_away.status, sent_away.code) == ("UNAVAILABLE", "overloaded")
        held.let_go.set()
        assert [answer.status for answer in await asyncio.gather(*working)] == ["OK"] * 2
        assert (await call(client)).status == "OK"


async def test_calls_beyond_what_can_be_hear_so_from_us_on_one_connection_as_well() -> None:
    held = Held()
    bounds = Bounds(deadline_seconds=30)
    async with serving(held.work, bounds=bounds) as server, server.client() as client:
        calls = [asyncio.create_task(call(client)) for _ in range(600)]
        await eventually(lambda: sum(made.done() for made in calls) == 100)
        held.let_go.set()
        answers = [(await made) for made in calls]
    refused = [answer for answer in answers if answer.status != "OK"]
    assert len(refused) == 100
    assert {(answer.status, answer.code) for answer in refused} == {("UNAVAILABLE", "overloaded")}


async def test_work_of_callers_that_have_gone_takes_room() -> None:
    held = Held()
    async with (
        serving(held.work, bounds=Bounds(at_once=1, deadline_seconds=0.05)) as server,
        server.client() as client,
    ):
        assert (await call(client)).code == "database_unavailable"
        assert (await call(client)).code == "overloaded"
        held.let_go.set()
        await eventually(lambda: held.given_up == [True])
        assert (await call(client)).status == "OK"


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
async def test_a_message_beyond_all_bounds_reaches_no_method(
    compression: grpc.Compression | None,
) -> None:
    """However small it is on the wire: 8 MB of one letter are 8 KB there."""
    bomb = DecryptRequest(purpose="a" * 8_000_000).SerializeToString()
    async with serving() as server, server.client() as client:
        answer = await call(client, bomb, compression=compression)
        assert answer.status == "RESOURCE_EXHAUSTED"
        assert not server.calls
        assert (await call(client)).status == "OK"


async def test_a_flood_of_pings_ends_the_connection() -> None:
    async with serving() as server:
        host, port = server.listener.url.partition("//")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        # The preface, empty settings, and more pings than anybody needs (RFC 9113 §3.4, §6.7).
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\0" + bytes(4))
        writer.write((b"\0\0\x08\x06\0" + bytes(4) + bytes(8)) * 50)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        assert b"too_many_pings" in answer
        writer.close()


# --- What a caller sees ----------------------------------------------------------------------------------------------


async def test_nothing_of_an_exception_reaches_a_caller(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: Call) -> Message:
        raise ValueError(SECRET)

    async with serving(fails) as server, server.client() as client:
        answer = await call(client)

    assert (answer.status, answer.code) == ("INTERNAL", "internal_error")
    assert answer.request_id
    assert SECRET not in repr(answer)
    assert server.counted("INTERNAL", "internal_error") == 1
    (defect,) = [record for record in caplog.records if record.message == "defect"]
    assert vars(defect)["request_id"] == answer.request_id


async def test_an_answer_that_cannot_be_written_is_a_defect() -> None:
    async def wrong(_: Call) -> Message:
        return None  # type: ignore[return-value]

    async with serving(wrong) as server, server.client() as client:
        assert (await call(client)).code == "internal_error"


async def test_an_error_of_the_domain_has_its_status_and_its_count() -> None:
    async def refuses(_: Call) -> Message:
        raise ForbiddenError("Not this one: ü, and\nmore.")

    async with serving(refuses) as server, server.client() as client:
        answer = await call(client)

    assert (answer.status, answer.code) == ("PERMISSION_DENIED", "forbidden")
    assert answer.detail == "Not this one: ü, and\nmore."
    assert server.counted("PERMISSION_DENIED", "forbidden") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/payment_token.v1.DecryptionService/Encrypt",
        "/payment_token.v1.TokenService/CreateToken",
        "/nothing/at-all",
        "/" + "x" * 4000,
    ],
)
async def test_a_method_that_is_none_has_an_answer_of_ours(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as server, server.client() as client:
        answer = await call(client, b"", path)
    assert (answer.status, answer.code) == ("UNIMPLEMENTED", "route_not_found")
    # What a caller made up stands in no log line and no label.
    assert not server.calls
    assert [vars(record)["route"] for record in caplog.records if record.message == "request"] == [
        "unmatched"
    ]


async def test_a_call_knows_its_peer_as_rest_does() -> None:
    async with serving() as server, server.client() as client:
        await call(client)
    host, _, port = server.calls[0].source.partition(":")
    assert (host, port.isdecimal()) == ("127.0.0.1", True)


async def test_a_call_over_ipv6_knows_its_peer_as_rest_does() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    async with serving(address="[::1]:0") as server, server.client() as client:
        await call(client)
    assert server.calls[0].source.startswith("::1:")


@pytest.mark.parametrize("messages", [0, 2, 50])
async def test_a_caller_that_sends_none_or_several_messages_harms_nobody(messages: int) -> None:
    async with serving() as server, server.client() as client:
        streaming = client.stream_unary(DECRYPT)(iter([b""] * messages), timeout=2)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await streaming
        assert (await call(client)).status == "OK"


# --- Is it ready, what is there --------------------------------------------------------------------------------------


async def test_health_is_readiness() -> None:
    async with serving() as server, server.client() as client:
        health = health_pb2_grpc.HealthStub(client)
        for service in ("", "payment_token.v1.DecryptionService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health.Check(health_pb2.HealthCheckRequest(service="payment_token.v1.Other"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        server.failing["database"] = "database_unavailable"
        await asyncio.sleep(1.1)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_readiness_that_fails_is_not_ready_and_says_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> dict[str, str]:
        raise ValueError(SECRET)

    async with serving() as server, server.client() as client:
        server.listener._health._readiness = fails
        answer = await health_pb2_grpc.HealthStub(client).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert any(record.message == "defect" for record in caplog.records)


async def test_readiness_that_does_not_end_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payment_token.api.rpc.health.DEADLINE_SECONDS", 0.1)
    asked, let_go = 0, asyncio.Event()

    async def hangs() -> dict[str, str]:
        nonlocal asked
        asked += 1
        await let_go.wait()
        return {}

    async with serving() as server, server.client() as client:
        server.listener._health._readiness = hangs
        stub = health_pb2_grpc.HealthStub(client)
        for _ in range(3):
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            server.listener._health._found_at = -10.0
        let_go.set()
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert asked == 1


async def test_who_watches_hears_of_the_end_and_does_not_hold_it_up() -> None:
    async with serving() as server, server.client() as client:
        watching = health_pb2_grpc.HealthStub(client).Watch(health_pb2.HealthCheckRequest())
        heard = []
        async for answer in watching:
            heard.append(answer.status)
            began = time.monotonic()
            server.listener.stop()
        assert server.serving is not None
        await server.serving
    assert heard == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]
    assert time.monotonic() - began < 5


async def services(client: grpc.aio.Channel) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(client)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    return [
        service.name
        async for answer in stub.ServerReflectionInfo(asked)
        for service in answer.list_services_response.service
    ]


async def test_reflection_says_what_there_is() -> None:
    async with serving(reflected=True) as server, server.client() as client:
        assert "payment_token.v1.DecryptionService" in await services(client)


async def test_without_reflection_nothing_is_said() -> None:
    async with serving() as server, server.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await services(client)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("environment", Environment)
async def test_in_production_there_is_no_reflection(
    environment: Environment, tmp_path: Path
) -> None:
    worker_side = Authority(tmp_path)
    worker_side.issue_server()
    worker_side.issue("worker", [uri("spiffe://test/known")])
    settings = Settings(
        environment=environment,
        public_grpc_address=ANYWHERE,
        internal_grpc_address=ANYWHERE,
        internal_tls_cert_file=tmp_path / "server.pem",
        internal_tls_key_file=tmp_path / "server-key.pem",
        client_ca_file=tmp_path / "ca.pem",
    )

    async def ready() -> dict[str, str]:
        return {}

    for listener, folder in (
        (public_grpc(settings, RequestMetrics(), None, Batches(), ready), None),  # type: ignore[arg-type]
        (internal_grpc(settings, RequestMetrics(), InternalUseCases(None, None), WorkerCertificates(None), Batches(), ready), tmp_path),  # type: ignore[arg-type]
    ):
        listener.bind()
        task = asyncio.create_task(listener.serve())
        server = Server(listener, RequestMetrics(), {}, folder, "worker")
        async with server.client() as client:
            if environment is Environment.PRODUCTION:
                with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                    await services(client)
            else:
                assert await services(client)
        listener.stop()
        await task
        listener.close()


# --- Where it listens, and how it ends -------------------------------------------------------------------------------


async def test_a_call_in_progress_is_answered_and_no_other_is_taken() -> None:
    held = Held()
    async with serving(held.work) as server, server.client() as client, server.client() as late:
        working = asyncio.create_task(call(client))
        await held.begun.wait()
        server.listener.stop()
        await eventually(lambda: server.serving is not None)
        await asyncio.sleep(0.2)
        assert (await call(late, seconds=2)).status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert not working.done()
        held.let_go.set()
        assert (await working).status == "OK"
        assert server.serving is not None
        await server.serving


async def test_the_end_waits_for_work_of_callers_that_have_gone() -> None:
    held = Held()
    async with (
        serving(held.work, bounds=Bounds(deadline_seconds=0.05)) as server,
        server.client() as client,
    ):
        assert (await call(client)).code == "database_unavailable"
        server.listener.stop()
        await asyncio.sleep(0.2)
        assert server.serving is not None
        assert not server.serving.done()
        held.let_go.set()
        await server.serving
    assert held.given_up == [True]


async def test_an_address_that_is_taken_is_refused() -> None:
    with listening_socket("other", ANYWHERE) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"test: cannot listen on {address}"):
            async with serving(address=address):
                pass


async def test_nobody_else_listens_where_it_does() -> None:
    async with serving() as server:
        address = server.listener.url.partition("//")[2]
        with pytest.raises(ListenError):
            listening_socket("other", address)
        # As another deployment of the same user, or gRPC itself, would.
        with pytest.raises(ListenError):
            reserved_address("other", address)
        with pytest.raises(ListenError):
            async with serving(address=address):
                pass


async def test_those_who_share_a_reserved_address_share_its_connections() -> None:
    address, reservation = reserved_address("test", ANYWHERE)
    with reservation:
        async with (
            serving(address=address, shared=True) as one,
            serving(address=address, shared=True) as other,
        ):
            for _ in range(40):
                async with one.client() as client:
                    assert (await call(client)).status == "OK"
            assert len(one.calls) + len(other.calls) == 40
            # 40 tosses of a coin.
            assert min(len(one.calls), len(other.calls)) >= 4


# --- Certificates ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[tuple[Server, Authority]]:
    authority = Authority(folder)
    authority.issue_server()
    authority.issue("worker", [uri("spiffe://test/known")])
    files = CertificateFiles(folder / "server.pem", folder / "server-key.pem", folder / "ca.pem")
    async with serving(tls=Credentials(files)) as server:
        server.folder, server.certificate = folder, "worker"
        yield server, authority


async def test_a_call_has_the_certificate_of_its_peer(tmp_path: Path) -> None:
    async with secured(tmp_path) as (server, _), server.client() as client:
        assert (await call(client)).status == "OK"
    assert server.calls[0].certificate == (tmp_path / "worker.pem").read_text()


async def test_where_none_is_asked_for_a_client_shows_no_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue_server()
    authority.issue("worker", [uri("spiffe://test/known")])
    files = CertificateFiles(tmp_path / "server.pem", tmp_path / "server-key.pem")
    async with serving(tls=Credentials(files)) as server:
        server.folder = tmp_path
        for certificate in (None, "worker"):
            server.certificate = certificate
            async with server.client() as client:
                assert (await call(client)).status == "OK"
    assert [given.certificate for given in server.calls] == [None, None]


@pytest.mark.parametrize("missing", ["server.pem", "server-key.pem", "ca.pem"])
def test_certificates_that_are_not_there_are_said_at_the_start(
    tmp_path: Path, missing: str
) -> None:
    Authority(tmp_path).issue("server", [])
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError):
        Credentials(
            CertificateFiles(
                tmp_path / "server.pem", tmp_path / "server-key.pem", tmp_path / "ca.pem"
            )
        )


async def test_metadata_makes_no_certificate(tmp_path: Path) -> None:
    async with serving() as server, server.client() as client:
        await client.unary_unary(DECRYPT)(b"", metadata=[("x509_pem_cert", "spiffe://known")])
    assert server.calls[0].certificate is None


async def test_a_new_certificate_is_shown_to_new_connections_and_drops_none(
    tmp_path: Path,
) -> None:
    async with secured(tmp_path) as (server, _), server.client() as old:
        assert (await call(old)).status == "OK"
        successor = Authority(tmp_path)
        # Until all three files are there, a handshake may fail; afterwards none does.
        successor.issue_server()
        successor.issue("worker", [uri("spiffe://test/known")])
        async with server.client() as new:
            assert (await call(new)).status == "OK"
        assert (await call(old)).status == "OK"
    assert server.calls[1].certificate == (tmp_path / "worker.pem").read_text()


async def test_every_server_behind_the_address_shows_the_new_certificate(tmp_path: Path) -> None:
    """The system spreads connections over them, so whoever looked first must not be the only one that has it."""
    async with secured(tmp_path) as (server, _):
        successor = Authority(tmp_path)
        successor.issue_server()
        successor.issue("worker", [uri("spiffe://test/known")])
        for _ in range(40):
            async with server.client() as new:
                assert (await call(new)).status == "OK"


@pytest.mark.parametrize("damage", ["gone", "nonsense"])
async def test_certificates_that_cannot_be_read_again_change_nothing(
    tmp_path: Path, damage: str
) -> None:
    async with secured(tmp_path) as (server, _):
        for name in ("server.pem", "server-key.pem"):
            if damage == "gone":
                (tmp_path / name).unlink()
            else:
                (tmp_path / name).write_text("nonsense")
        async with server.client() as client:
            assert (await call(client)).status == "OK"
