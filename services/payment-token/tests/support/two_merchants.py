"""A service with two merchants, callers of each kind, and tokens in each state, over both protocols."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.location import deployment_url
from tests.support.both_protocols import OverGRPC, OverREST, Sent, new_key
from tests.support.certificates import Authority, dns, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService, client_context
from tests.support.problems import check_nothing_was_a_defect
from tests.support.rpc import rpc_client

OTHER = "m_other"
UNKNOWN = "pt_" + "b" * 36

_CARD = PUBLISHED_CARDS[0]


_POLICY = """
[[worker]]
identity = "spiffe://test/known"
merchants = ["m_demo", "m_4711"]
purposes = ["authorization", "capture"]
fields = ["pan", "expiry", "cardholder_name"]
operations = ["decrypt", "authorization-complete"]

[[worker]]
identity = "worker.test"
merchants = ["*"]
purposes = ["*"]
fields = ["pan", "expiry", "cardholder_name", "sad"]

[[worker]]
identity = "spiffe://test/sparing"
merchants = ["m_demo"]
purposes = ["capture"]
fields = ["pan", "expiry"]
budget = { tokens = 1, window_seconds = 86400 }

[[worker]]
identity = "spiffe://test/hurried"
merchants = ["m_demo"]
purposes = ["capture"]
fields = ["pan", "expiry"]
rate = { requests = 2, per_seconds = 3600 }
"""


@dataclass
class World:
    """A service with two merchants, and tokens in each state."""

    deployment: Deployment
    service: RunningService
    folder: Path
    keys: dict[str, str]
    closing: ExitStack
    tokens: dict[str, str] = field(default_factory=dict)
    _clients: dict[tuple[str, str, str], OverREST | OverGRPC] = field(default_factory=dict)

    def over(self, protocol: str, key: str, certificate: str) -> OverREST | OverGRPC:
        """Clients are kept: what belongs to a connection must not depend on its first request."""
        name = (protocol, key, certificate)
        if name not in self._clients:
            self._clients[name] = self._client(protocol, self.keys[key], certificate)
        return self._clients[name]

    def create(self, sent: Sent, key: str = "own") -> str:
        answer = self.over("REST", key, "known").create(sent)
        assert answer.body is not None, answer
        token: str = answer.body["payment_token"]
        return token

    def records(self, request_id: str) -> list[tuple[Any, ...]]:
        columns = "identity, outcome, code, merchant_id, token_id, purpose, fields, key_name"
        with psycopg.connect(deployment_url(self.deployment.settings)) as database:
            return database.execute(
                f"SELECT {columns}, length(certificate_sha256), event FROM audit_records"
                " WHERE request_id = %s",
                (request_id,),
            ).fetchall()

    def _client(self, protocol: str, secret: str, certificate: str) -> OverREST | OverGRPC:
        urls, enter = self.service.urls, self.closing.enter_context
        if protocol == "REST":
            headers = {"Authorization": secret} if secret else {}
            tls = client_context(self.folder, certificate)
            return OverREST(
                enter(httpx.Client(base_url=urls["public"], headers=headers, timeout=20)),
                enter(httpx.Client(base_url=urls["internal"], verify=tls, timeout=20)),
            )
        metadata = (("authorization", secret),) if secret else ()
        return OverGRPC(
            enter(rpc_client(urls["public_grpc"], metadata=metadata)),
            enter(rpc_client(urls["internal_grpc"], folder=self.folder, certificate=certificate)),
        )


@contextmanager
def two_merchants(deployment: Deployment, folder: Path) -> Iterator[World]:
    authority = Authority(folder)
    authority.issue_server()
    authority.issue("known", [uri("spiffe://test/known")])
    authority.issue("known-dns", [dns("worker.test")])
    authority.issue("sparing", [uri("spiffe://test/sparing")])
    authority.issue("hurried", [uri("spiffe://test/hurried")])
    authority.issue("stranger", [uri("spiffe://test/stranger")])
    authority.issue("name-only", [])
    authority.issue("two-names", [uri("spiffe://test/known"), uri("spiffe://test/other")])
    authority.issue("wildcard", [dns("*.test")])
    (folder / "policy.toml").write_text(_POLICY)
    with (
        ExitStack() as closing,
        deployment.serving(
            INTERNAL_TLS_CERT_FILE=str(folder / "server.pem"),
            INTERNAL_TLS_KEY_FILE=str(folder / "server-key.pem"),
            CLIENT_CA_FILE=str(folder / "ca.pem"),
            WORKER_POLICY_FILE=str(folder / "policy.toml"),
        ) as service,
    ):
        made = World(deployment, service, folder, _keys(deployment), closing)
        made.tokens = {
            "active": made.create(good(made, metadata={"order": "A-1"})),
            "others": made.create(good(made, OTHER), "other"),
            "revoked": made.create(good(made)),
            "expired": made.create(good(made, ttl_seconds=1)),
            "unknown": UNKNOWN,
        }
        made.over("REST", "own", "known").revoke(Sent({"payment_token": made.tokens["revoked"]}))
        time.sleep(1.5)
        yield made
        check_nothing_was_a_defect(service)


def _keys(deployment: Deployment) -> dict[str, str]:
    def secret(*merchants: str, more: tuple[str, ...] = ()) -> str:
        options = [word for merchant in merchants for word in ("--merchant", merchant)]
        return deployment.run_here("api-keys", "create", *options, *more).stdout.strip()

    revoked, rotated = secret(MERCHANT), secret(MERCHANT)
    deployment.run_here("api-keys", "revoke", revoked.split("_")[1])
    successor = deployment.run_here("api-keys", "rotate", rotated.split("_")[1]).stdout.strip()
    keys = {
        "own": deployment.api_key,
        "other": secret(OTHER),
        "both": secret(MERCHANT, OTHER),
        "revoked": revoked,
        "expired": secret(MERCHANT, more=("--expires-in", "1s")),
        "rotated": rotated,
        "successor": successor,
        "reads": secret(MERCHANT, more=("--scope", "tokens:read")),
        "writes": secret(MERCHANT, more=("--scope", "tokens:write")),
        "admin": secret(MERCHANT, more=("--scope", "admin")),
        "others_admin": secret(OTHER, more=("--scope", "admin")),
        "unknown": f"ptk_{'0' * 16}_{'a' * 43}",
        "malformed": "nonsense",
    }
    bearers = {name: f"Bearer {key}" for name, key in keys.items()}
    return bearers | {"none": "", "basic": "Basic YTpi", "empty": "Bearer"}


def good(world: World, merchant: str = MERCHANT, **more: Any) -> Sent:
    body = world.deployment.terminal().create_body(merchant, _CARD, PartFormat.TRACK2)
    return Sent(body | more, new_key())
