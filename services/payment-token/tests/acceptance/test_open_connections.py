"""A connection that was opened in good order, and what its certificate is worth afterwards."""

import signal
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from cryptography.x509 import Certificate, load_pem_x509_certificate

from payment_token.api.listener import DRAIN_SECONDS
from payment_token.infrastructure.database.location import deployment_url
from tests.support.certificates import Authority, internal_settings, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService, client_context
from tests.support.rpc import decrypt_message, rpc_client

KNOWN = [uri("spiffe://test/known")]
POLICY = """
[[worker]]
identity = "spiffe://test/known"
merchants = ["m_demo"]
purposes = ["authorization"]
fields = ["pan", "expiry"]
"""
PATIENCE_SECONDS = 20
SHORT_LIFE = timedelta(seconds=8)


@dataclass
class Internal:
    """A service whose certificates are this test's."""

    deployment: Deployment
    service: RunningService
    authority: Authority
    token: str

    @property
    def folder(self) -> Path:
        return self.authority.folder

    @property
    def request(self) -> dict[str, str]:
        return {
            "payment_token": self.token,
            "merchant_id": MERCHANT,
            "purpose": "authorization",
        }

    @contextmanager
    def connection(self, certificate: str) -> Iterator[httpx.Client]:
        with httpx.Client(
            base_url=self.service.urls["internal"],
            verify=client_context(self.folder, certificate),
            limits=httpx.Limits(max_connections=1),
            timeout=10,
        ) as client:
            yield client

    def release(self, client: httpx.Client, request_id: str | None = None) -> httpx.Response:
        headers = {"X-Request-ID": request_id or uuid.uuid4().hex}
        return client.post("/internal/v1/decrypt", json=self.request, headers=headers)

    def records(self, request_id: str) -> list[tuple[str, str, str, int]]:
        with psycopg.connect(deployment_url(self.deployment.settings)) as database:
            return database.execute(
                "SELECT outcome, code, identity, length(certificate_sha256) FROM audit_records"
                " WHERE request_id = %s",
                (request_id,),
            ).fetchall()

    def shown_certificate(self) -> Certificate:
        """The service's, to a connection that begins now."""
        address = urlsplit(self.service.urls["internal"])
        return load_pem_x509_certificate(
            ssl.get_server_certificate((address.hostname or "", address.port or 0)).encode()
        )


@pytest.fixture(scope="module")
def internal(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Internal]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    folder = authority.folder
    authority.issue_server("server")
    authority.issue("known", KNOWN)
    authority.revoke()
    (folder / "policy.toml").write_text(POLICY)
    with (
        deployment.serving(
            **internal_settings(folder),
        ) as service,
        service.public() as pos,
    ):
        token = service.create(pos, deployment.body()).json()["payment_token"]
        yield Internal(deployment, service, authority, token)
        assert not [line for line in service.log_lines if '"exception"' in line]


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def check_refused_on_record(internal: Internal, client: httpx.Client) -> None:
    request_id = uuid.uuid4().hex
    refused = internal.release(client, request_id)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert internal.records(request_id) == [("refused", "unauthenticated", "", 64)]


def test_a_certificate_that_is_revoked_meanwhile(internal: Internal) -> None:
    leaver = internal.authority.issue("leaver", KNOWN)
    with internal.connection("leaver") as client, internal.connection("known") as other:
        assert internal.release(client).status_code == 200
        internal.authority.revoke(leaver)

        eventually(lambda: internal.release(client).status_code == 401, "it is still served")
        check_refused_on_record(internal, client)
        assert internal.release(other).status_code == 200

    # A new connection does not get as far as that: the handshake has the new list as well.
    with internal.connection("leaver") as client, pytest.raises(httpx.TransportError):
        internal.release(client)


def test_a_certificate_that_is_revoked_meanwhile_over_grpc(internal: Internal) -> None:
    leaver = internal.authority.issue("grpc-leaver", KNOWN)
    url = internal.service.urls["internal_grpc"]
    message = decrypt_message(internal.request)
    with rpc_client(url, folder=internal.folder, certificate="grpc-leaver") as worker:
        assert worker.call("Decrypt", message).status == "OK"
        internal.authority.revoke(leaver)

        eventually(
            lambda: worker.call("Decrypt", message).status == "UNAUTHENTICATED",
            "it is still served",
        )
        refused = worker.call("Decrypt", message)
    assert internal.records(refused.request_id) == [("refused", "unauthenticated", "", 64)]


def test_a_certificate_that_expires_meanwhile(internal: Internal) -> None:
    internal.authority.issue("short", KNOWN, ends=SHORT_LIFE)
    with internal.connection("short") as client:
        assert internal.release(client).status_code == 200
        eventually(lambda: internal.release(client).status_code == 401, "it is still served")
        check_refused_on_record(internal, client)


def test_a_list_that_goes_stale_stops_everybody_until_there_is_a_new_one(
    internal: Internal,
) -> None:
    with internal.connection("known") as client:
        assert internal.release(client).status_code == 200
        internal.authority.revoke(next_update=timedelta(seconds=-1))

        eventually(lambda: internal.release(client).status_code == 401, "a stale list is enough")
        check_refused_on_record(internal, client)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["failing"]) == (503, {"client_crl": "stale"})
        with internal.connection("known") as new, pytest.raises(httpx.TransportError):
            internal.release(new)

        internal.authority.revoke()
        eventually(lambda: internal.release(client).status_code == 200, "the new list is not seen")
        assert client.get("/readyz").status_code == 200
    with internal.connection("known") as new:
        assert internal.release(new).status_code == 200


def test_a_list_that_is_wrong_changes_nothing(internal: Internal) -> None:
    (internal.folder / "crl.pem").write_text("no list")
    with internal.connection("known") as client:
        eventually(
            lambda: (
                internal.release(client).status_code == 200
                and any(
                    "revocation list not read again" in line for line in internal.service.log_lines
                )
            ),
            "the wrong list is not said",
        )
    with internal.connection("known") as new:
        assert internal.release(new).status_code == 200
    internal.authority.revoke()


def test_a_new_certificate_of_the_service_costs_no_connection(internal: Internal) -> None:
    before = internal.shown_certificate()
    with internal.connection("known") as client:
        assert internal.release(client).status_code == 200
        stream = client.get("/healthz").extensions["network_stream"]
        socket_before = stream.get_extra_info("socket").getsockname()
        renewed = internal.authority.issue_server("server")
        assert renewed != before

        assert internal.shown_certificate() == renewed
        answer = internal.release(client)
        assert answer.status_code == 200
        socket_after = answer.extensions["network_stream"].get_extra_info("socket").getsockname()
        assert socket_after == socket_before


def test_an_idle_connection_does_not_keep_the_service_from_its_end(deployment: Deployment) -> None:
    """Its client says nothing to a goodbye before its next request, and the service waits for requests only."""
    with deployment.serving() as service, service.worker() as worker:
        assert worker.get("/healthz").is_success
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < DRAIN_SECONDS


def test_nor_does_one_whose_request_was_in_progress(deployment: Deployment) -> None:
    """It is answered, told that the connection ends, and says nothing more."""
    head = "POST /internal/v1/decrypt HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    with deployment.serving() as service:
        address = urlsplit(service.urls["internal"])
        context = client_context(deployment.folder, "worker")
        with (
            socket.create_connection((address.hostname, address.port)) as link,
            context.wrap_socket(link, server_hostname=address.hostname) as connection,
        ):
            connection.sendall(head.encode() + b"{")
            with service.worker() as worker:
                assert worker.get("/healthz").is_success
            service.process.send_signal(signal.SIGTERM)
            eventually(lambda: any("draining" in line for line in service.log_lines), "no drain")
            time.sleep(0.5)
            connection.sendall(b"}")
            answer = connection.recv(4096).lower()
            assert answer.startswith(b"http/1.1 422")
            assert b"connection: close" in answer
            assert service.process.wait(timeout=DRAIN_SECONDS - 2) == 0
