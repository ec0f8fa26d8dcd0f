"""Workers that speak gRPC: who gets through the handshake, and what becomes of releases that nobody waits for."""

import json
import re
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from payment_token.infrastructure.database.location import deployment_url
from tests.support.certificates import DAY, Authority, internal_settings, self_signed, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService, client_context
from tests.support.postgres_proxy import Way, Wire, postgres_proxy_beside
from tests.support.problems import PAN, check_nothing_was_a_defect
from tests.support.rpc import RPCAnswer, decrypt_message, rpc_client

KNOWN = [uri("spiffe://test/known")]
POLICY = """
[[worker]]
identity = "spiffe://test/known"
merchants = ["m_demo"]
purposes = ["authorization"]
fields = ["pan", "expiry"]
"""
PATIENCE_SECONDS = 20


@dataclass
class Internal:
    """A service whose certificates are this test's. ``wire`` is its way to the database."""

    service: RunningService
    folder: Path
    database: psycopg.Connection
    wire: Wire
    token: str

    def release(self, certificate: str | None, request_id: str, timeout: float = 20) -> RPCAnswer:
        message = decrypt_message(
            {
                "payment_token": self.token,
                "merchant_id": MERCHANT,
                "purpose": "authorization",
                "request_id": request_id,
            }
        )
        url = self.service.urls["internal_grpc"]
        with rpc_client(url, folder=self.folder, certificate=certificate) as worker:
            return worker.call("Decrypt", message, timeout=timeout)

    def refused_handshakes(self, reason: str) -> float:
        metrics = httpx.get(self.service.urls["metrics"] + "/metrics").text
        name = f'payment_token_handshakes_refused_total{{reason="{reason}"}} '
        found = (line for line in metrics.splitlines() if line.startswith(name))
        return sum(float(line[len(name) :]) for line in found)

    def events(self, request_id: str) -> list[tuple[str, str]]:
        return self.database.execute(
            "SELECT event, outcome FROM audit_records WHERE request_id = %s ORDER BY sequence",
            (request_id,),
        ).fetchall()


@pytest.fixture(scope="module")
def internal(
    new_deployment: Callable[[], Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Internal]:
    with serving(new_deployment(), tmp_path_factory.mktemp("certificates")) as made:
        yield made
        made.wire.heal()
        check_nothing_was_a_defect(made.service)


@contextmanager
def serving(deployment: Deployment, folder: Path) -> Iterator[Internal]:
    _certificates(folder)
    url = deployment_url(deployment.settings)
    with (
        psycopg.connect(url, autocommit=True) as database,
        postgres_proxy_beside(url) as wire,
        deployment.serving(
            *("--only", "public", "--only", "internal"),
            DATABASE_URL=wire.url,
            MIGRATION_DATABASE_URL=url,
            **internal_settings(folder),
        ) as service,
    ):
        with service.public() as pos:
            token = service.create(pos, deployment.body()).json()["payment_token"]
        yield Internal(service, folder, database, wire, token)


def _certificates(folder: Path) -> None:
    authority, other = Authority(folder), Authority(folder, "other")
    authority.issue_server()
    authority.issue("known", KNOWN)
    authority.issue("expired", KNOWN, starts=-2 * DAY, ends=-DAY)
    authority.issue("not-yet", KNOWN, starts=DAY, ends=2 * DAY)
    authority.issue("for-servers", KNOWN, usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    self_signed(folder, "self-signed", KNOWN)
    other.issue("other-authority", KNOWN)
    authority.revoke(authority.issue("revoked", KNOWN))
    (folder / "policy.toml").write_text(POLICY)


def new_id() -> str:
    return uuid.uuid4().hex


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_known_worker_is_served(internal: Internal) -> None:
    request_id = new_id()

    assert internal.release("known", request_id).status == "OK"
    assert internal.events(request_id) == [("decrypt", "released")]
    recorded = internal.database.execute(
        "SELECT identity, source FROM audit_records WHERE request_id = %s", (request_id,)
    ).fetchone()
    assert recorded is not None
    assert recorded[0] == "spiffe://test/known"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", recorded[1])


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (None, "no_certificate"),
        ("expired", "expired"),
        ("not-yet", "not_yet_valid"),
        ("for-servers", "wrong_usage"),
        ("other-authority", "unknown_authority"),
        ("self-signed", "unknown_authority"),
    ],
)
def test_who_does_not_get_through_the_handshake_is_counted(
    internal: Internal, certificate: str | None, reason: str
) -> None:
    request_id, before = new_id(), internal.refused_handshakes(reason)
    refused = internal.release(certificate, request_id)

    assert (refused.status, refused.code) == ("UNAVAILABLE", "")
    assert internal.events(request_id) == []
    # The client tries again for as long as its call may take.
    eventually(
        lambda: internal.refused_handshakes(reason) > before, "the handshake was not counted"
    )
    assert internal.release("known", new_id()).status == "OK"


def test_refused_handshakes_are_on_record_and_in_the_log(
    new_deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment()
    with serving(deployment, tmp_path) as internal:
        internal.release("expired", new_id())
        eventually(lambda: internal.refused_handshakes("expired") > 0, "it was not counted")
    lines = [json.loads(line) for line in internal.service.log_lines]
    refused = [line for line in lines if line["message"] == "handshake refused"]
    assert {(line["class"], line["reason"]) for line in refused} == {
        ("expired", "CERTIFICATE_VERIFY_FAILED")
    }
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT details ->> 'reason', (details -> 'handshakes')::int, outcome, code FROM audit_records"
            " WHERE event = 'handshake_refused'"
        ).fetchall()
    assert {(reason, *rest) for reason, _, *rest in rows} == {
        ("expired", "refused", "unauthenticated")
    }
    assert sum(row[1] for row in rows) >= len(refused)


def test_what_a_stranger_says_is_no_line_of_the_log_and_no_refusal(internal: Internal) -> None:
    """The library writes the farewell of an HTTP/2 peer to standard error as it comes: RFC 9113 §6.8, debug data."""
    farewell = (
        b'x\n{"message": "forged", "pan": "4111111111111111"}\n'
        b"I1128 02:29:21.115077   28798 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL:"
        b" error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired\n"
    )
    goaway = bytes(4) + (11).to_bytes(4, "big") + farewell
    before = internal.refused_handshakes("expired")
    where = urlsplit(internal.service.urls["public_grpc"])
    with socket.create_connection((where.hostname, where.port)) as stranger:
        stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, b"") + _frame(7, goaway))
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(PATIENCE_SECONDS)
        while stranger.recv(4096):
            pass

    unknown = internal.refused_handshakes("no_certificate")
    internal.release(None, new_id())
    eventually(lambda: internal.refused_handshakes("no_certificate") > unknown, "nothing is heard")
    assert internal.refused_handshakes("expired") == before
    assert "forged" not in {json.loads(line)["message"] for line in internal.service.log_lines}
    assert "4111111111111111" not in "".join(internal.service.log_lines)


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + bytes(4) + payload


def test_a_revoked_certificate_is_refused_on_record(internal: Internal) -> None:
    """The handshake of gRPC lets it through."""
    request_id = new_id()
    refused = internal.release("revoked", request_id)

    assert (refused.status, refused.code) == ("UNAUTHENTICATED", "unauthenticated")
    recorded = internal.database.execute(
        "SELECT outcome, code, identity, length(certificate_sha256) FROM audit_records"
        " WHERE request_id = %s",
        (refused.request_id,),
    ).fetchall()
    assert recorded == [("refused", "unauthenticated", "", 64)]


def test_the_library_writes_nothing_into_the_log(internal: Internal) -> None:
    internal.release(None, new_id())

    for line in list(internal.service.log_lines):
        json.loads(line)
        assert PAN not in line


@pytest.mark.parametrize(
    ("version", "suites"),
    [
        (ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
    ],
    ids=["TLS 1.1", "CBC with SHA-256", "CBC", "no forward secrecy"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_longer_spoken(internal: Internal, version: ssl.TLSVersion, suites: str) -> None:
    context = client_context(internal.folder, "known")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers(suites)

    # The library hangs up without an alert. This client alone would have said what it misses.
    with pytest.raises(ssl.SSLError, match="EOF_WHILE_READING"):
        shaken_hands(internal, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_spoken(internal: Internal, version: ssl.TLSVersion) -> None:
    context = client_context(internal.folder, "known")
    context.minimum_version = context.maximum_version = version

    assert "GCM" in shaken_hands(internal, context) or version is ssl.TLSVersion.TLSv1_3


def shaken_hands(internal: Internal, context: ssl.SSLContext) -> str:
    """The cipher suite."""
    context.set_alpn_protocols(["h2"])
    url = urlsplit(internal.service.urls["internal_grpc"])
    with (
        socket.create_connection((url.hostname, url.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        suite = connection.cipher()
        assert suite is not None
        return suite[0]


def test_metadata_makes_no_identity(internal: Internal) -> None:
    spoofed = (
        ("x-forwarded-client-cert", 'URI="spiffe://test/known"'),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-service-auth", "spiffe://test/known"),
    )
    url = internal.service.urls["internal_grpc"]
    with rpc_client(url, folder=internal.folder, metadata=spoofed) as nobody:
        refused = nobody.call("Decrypt", decrypt_message({"payment_token": internal.token}))

    assert (refused.status, refused.code) == ("UNAVAILABLE", "")


def test_what_is_released_after_the_worker_s_deadline_is_taken_back(internal: Internal) -> None:
    """Each step is in time, but all of them together are not, for a worker that waits half a second."""
    request_id = new_id()
    # The first release of all opens a writer of audit records, which takes a step more.
    assert internal.release("known", new_id()).status == "OK"
    internal.wire.delay[Way.TO_CLIENT] = 0.3

    answer = internal.release("known", request_id, timeout=0.5)

    assert answer.status == "DEADLINE_EXCEEDED"
    taken_back = [("decrypt", "released"), ("not_released", "done")]
    eventually(
        lambda: internal.events(request_id) == taken_back,
        f"it is not taken back: {internal.events(request_id)}",
    )
    internal.wire.heal()
    eventually(lambda: internal.release("known", new_id()).status == "OK", "no more releases")


def test_a_database_that_answers_no_more_is_an_outage_in_time(internal: Internal) -> None:
    internal.wire.go_silent(for_all=True)
    began = time.monotonic()

    answer = internal.release("known", new_id())

    # The bound, and a busy machine.
    assert time.monotonic() - began < 6
    assert answer.status == "UNAVAILABLE"
    assert answer.code in ("database_unavailable", "audit_unavailable")
    assert answer.retry_after_seconds == 1
    internal.wire.heal()
    eventually(lambda: internal.release("known", new_id()).status == "OK", "no more releases")


def test_sigterm_lets_calls_in_progress_finish(
    new_deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    ids = [new_id() for _ in range(8)]
    with serving(new_deployment(), tmp_path) as internal, ThreadPoolExecutor(8) as workers:
        internal.wire.delay[Way.TO_CLIENT] = 0.15
        under_way = [workers.submit(internal.release, "known", request_id) for request_id in ids]
        time.sleep(0.3)
        assert internal.service.stop() == 0
        answers = [answer.result().status for answer in under_way]
        released = [internal.events(request_id) for request_id in ids]

    # One that came too late for this process was not begun.
    assert set(answers) <= {"OK", "UNAVAILABLE"}
    assert "OK" in answers
    assert [events == [("decrypt", "released")] for events in released] == [
        answer == "OK" for answer in answers
    ]
