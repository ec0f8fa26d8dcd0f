"""Who gets through the handshake, and as whom."""

import signal
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from payment_token.infrastructure.database.location import deployment_url
from tests.support.certificates import DAY, Authority, dns, internal_settings, self_signed, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService

POLICY = """
[[worker]]
identity = "{identity}"
merchants = ["m_demo"]
purposes = ["authorization"]
fields = ["pan", "expiry"]
"""


@dataclass
class Internal:
    """A service whose certificates are this test's."""

    deployment: Deployment
    service: RunningService
    folder: Path
    token: str

    def context(self, certificate: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if certificate is not None:
            context.load_cert_chain(
                self.folder / f"{certificate}.pem", self.folder / f"{certificate}-key.pem"
            )
        return context

    def release(self, certificate: str | None, **headers: str) -> httpx.Response:
        body = {"payment_token": self.token, "merchant_id": MERCHANT, "purpose": "authorization"}
        url = self.service.urls["internal"] + "/internal/v1/decrypt"
        return httpx.post(
            url, json=body, headers=headers, verify=self.context(certificate), timeout=10
        )


@pytest.fixture(scope="module")
def internal(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Internal]:
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = Authority(folder), Authority(folder, "other")
    authority.issue_server()
    authority.issue("known", [uri("spiffe://test/known")])
    authority.issue("known-dns", [dns("worker.test")])
    authority.issue("uri-first", [dns("stranger.test"), uri("spiffe://test/known")])
    authority.issue("stranger", [uri("spiffe://test/stranger")])
    authority.issue("name-only", [])
    authority.issue("two-names", [uri("spiffe://test/known"), uri("spiffe://test/other")])
    authority.issue("wildcard", [dns("*.test")])
    authority.issue("expired", [uri("spiffe://test/known")], starts=-2 * DAY, ends=-DAY)
    authority.issue("not-yet", [uri("spiffe://test/known")], starts=DAY, ends=2 * DAY)
    authority.issue(
        "for-servers", [uri("spiffe://test/known")], usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    self_signed(folder, "self-signed", [uri("spiffe://test/known")])
    other.issue("other-authority", [uri("spiffe://test/known")])
    authority.revoke(authority.issue("revoked", [uri("spiffe://test/known")]))
    (folder / "policy.toml").write_text(
        POLICY.format(identity="spiffe://test/known") + POLICY.format(identity="worker.test")
    )
    with (
        deployment.serving(
            **internal_settings(folder),
        ) as service,
        service.public() as pos,
    ):
        token = service.create(pos, deployment.body()).json()["payment_token"]
        yield Internal(deployment, service, folder, token)


def talk(
    internal: Internal, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession:
    """One request; under TLS 1.3 a client learns of a refusal with the first bytes that it reads."""
    url = urlsplit(internal.service.urls["internal"])
    with (
        socket.create_connection((url.hostname, url.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        if session is not None and connection.session_reused:
            raise (
                ConnectionError("the session was resumed, and is of no use")
                if not answer
                else AssertionError
            )
        assert answer.startswith(b"HTTP/1.1 200")
        assert connection.session is not None
        return connection.session


def refused_handshakes(internal: Internal, reason: str) -> float:
    metrics = httpx.get(internal.service.urls["metrics"] + "/metrics").text
    name = f'payment_token_handshakes_refused_total{{reason="{reason}"}} '
    return sum(float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name))


@pytest.mark.parametrize("certificate", ["known", "known-dns", "uri-first"])
def test_a_known_worker_is_served(internal: Internal, certificate: str) -> None:
    assert internal.release(certificate).status_code == 200


@pytest.mark.parametrize(
    ("certificate", "alert", "reason"),
    [
        (None, "CERTIFICATE_REQUIRED", "no_certificate"),
        ("expired", "CERTIFICATE_EXPIRED", "expired"),
        ("not-yet", "BAD_CERTIFICATE", "not_yet_valid"),
        ("for-servers", "CERTIFICATE", "wrong_usage"),
        ("other-authority", "UNKNOWN_CA", "unknown_authority"),
        ("self-signed", "UNKNOWN_CA", "unknown_authority"),
        ("revoked", "CERTIFICATE_REVOKED", "revoked"),
    ],
)
def test_who_does_not_get_through_the_handshake_is_counted(
    internal: Internal, certificate: str | None, alert: str, reason: str
) -> None:
    before = refused_handshakes(internal, reason)
    with pytest.raises(ssl.SSLError) as refused:
        talk(internal, internal.context(certificate))

    assert alert in str(refused.value)
    assert refused_handshakes(internal, reason) == before + 1


@pytest.mark.parametrize("certificate", [None, "expired", "for-servers", "self-signed", "revoked"])
def test_tls_1_2_lets_nobody_else_through(internal: Internal, certificate: str | None) -> None:
    context = internal.context(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError) as refused:
        talk(internal, context)

    assert "_ALERT_" in str(refused.value)
    assert internal.release("known").status_code == 200


@pytest.mark.parametrize(
    "change",
    [{"purpose": "refund"}, {"fields": ["pan", "sad"]}, {"merchant_id": "m_other"}],
    ids=["purpose", "fields", "merchant"],
)
def test_what_the_policy_does_not_grant_is_refused_on_record(
    internal: Internal, change: dict[str, object]
) -> None:
    request_id = uuid.uuid4().hex
    body = {"payment_token": internal.token, "merchant_id": MERCHANT, "purpose": "authorization"}

    answer = httpx.post(
        internal.service.urls["internal"] + "/internal/v1/decrypt",
        json=body | change,
        headers={"X-Request-ID": request_id},
        verify=internal.context("known"),
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    with psycopg.connect(deployment_url(internal.deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code, identity FROM audit_records WHERE request_id = %s",
            (request_id,),
        ).fetchall()
    assert rows == [("refused", "forbidden", "spiffe://test/known")]


@pytest.mark.parametrize(
    ("certificate", "status", "code"),
    [
        ("stranger", 403, "forbidden"),
        ("name-only", 401, "unauthenticated"),
        ("two-names", 401, "unauthenticated"),
        ("wildcard", 401, "unauthenticated"),
    ],
)
def test_who_gets_through_and_is_refused_on_record(
    internal: Internal, certificate: str, status: int, code: str
) -> None:
    request_id = uuid.uuid4().hex
    answer = internal.release(certificate, **{"X-Request-ID": request_id})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    with psycopg.connect(deployment_url(internal.deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code, length(certificate_sha256) FROM audit_records WHERE request_id = %s",
            (request_id,),
        ).fetchall()
    assert rows == [("refused", code, 64)]


def test_headers_do_not_make_an_identity(internal: Internal) -> None:
    spoofed = {
        "X-Forwarded-Client-Cert": 'URI="spiffe://test/known"',
        "X-SSL-Client-Verify": "SUCCESS",
        "X-SSL-Client-S-DN": "CN=spiffe://test/known",
        "X-Service-Auth": "spiffe://test/known",
        "Forwarded": "for=127.0.0.1",
    }
    assert internal.release("stranger", **spoofed).status_code == 403
    assert internal.release("name-only", **spoofed).status_code == 401


@pytest.mark.parametrize(
    ("version", "suites", "alert"),
    [
        (ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0", "ALERT_PROTOCOL_VERSION"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256", "ALERT_HANDSHAKE_FAILURE"),
    ],
    ids=["TLS 1.1", "TLS 1.2 with CBC"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_longer_spoken(
    internal: Internal, version: ssl.TLSVersion, suites: str, alert: str
) -> None:
    url = urlsplit(internal.service.urls["internal"])
    context = internal.context("known")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers(suites)

    with (
        socket.create_connection((url.hostname, url.port), timeout=5) as plain,
        pytest.raises(ssl.SSLError) as refused,
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")

    # The alert is the service's; without it this client would have refused by itself.
    assert alert in str(refused.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_not_resumed(internal: Internal, version: ssl.TLSVersion) -> None:
    """A resumed session is not verified again, so a certificate that was revoked meanwhile would get in."""
    context = internal.context("known")
    context.minimum_version = context.maximum_version = version
    session = talk(internal, context)
    assert not session.has_ticket

    before = refused_handshakes(internal, "resumed")
    try:
        talk(internal, context, session)
    except (ConnectionError, ssl.SSLError):
        # TLS 1.2 offers its session id again, and is sent away.
        assert version is ssl.TLSVersion.TLSv1_2
        assert refused_handshakes(internal, "resumed") == before + 1
    talk(internal, context)


def test_refused_handshakes_are_on_record_once_for_each_reason(internal: Internal) -> None:
    """Counted for a minute, or until the process ends; never one by one."""
    with internal.deployment.serving(**internal_settings(internal.folder)) as service:
        own = replace(internal, service=service)
        for certificate in ("expired", "other-authority", *["expired"] * 4):
            with pytest.raises(httpx.HTTPError):
                own.release(certificate)
    with psycopg.connect(deployment_url(internal.deployment.settings)) as database:
        rows = database.execute(
            "SELECT details ->> 'reason', details -> 'handshakes', outcome, code, identity,"
            "       details ->> 'first' <= details ->> 'last'"
            "  FROM audit_records WHERE event = 'handshake_refused' AND writer_id ="
            "       (SELECT writer_id FROM audit_records WHERE event = 'log_closed' ORDER BY recorded_at DESC LIMIT 1)"
        ).fetchall()
    said = ("refused", "unauthenticated")
    assert sorted((*row[:4], row[5]) for row in rows) == [
        ("expired", 5, *said, True),
        ("unknown_authority", 1, *said, True),
    ]
    assert all(row[4].startswith("service:") for row in rows)


def test_the_policy_is_read_again_when_its_file_changes(internal: Internal) -> None:
    policy = internal.folder / "policy.toml"
    before = policy.read_text()

    def becomes(text: str, expected: int) -> None:
        policy.write_text(text)
        deadline = time.monotonic() + 20
        while internal.release("stranger").status_code != expected:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    becomes(before + POLICY.format(identity="spiffe://test/stranger"), 200)
    becomes(before, 403)


def test_the_policy_is_read_again_on_sighup(internal: Internal) -> None:
    policy = internal.folder / "policy.toml"
    before = policy.read_text()

    def reload(text: str, expected: int) -> None:
        policy.write_text(text)
        internal.service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 5
        while internal.release("stranger").status_code != expected:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    reload(before + POLICY.format(identity="spiffe://test/stranger"), 200)
    # A file that is wrong changes nothing.
    policy.write_text("[[worker")
    internal.service.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert internal.release("stranger").status_code == 200
    assert any("not reloaded" in line for line in internal.service.log_lines)
    reload(before, 403)
