"""``payment-token quickstart``: the main job, for real, shown step by step."""

import asyncio
import ssl
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Verdict
from payment_token.bootstrap.listeners import Listeners, Role, build_listeners, serving
from payment_token.bootstrap.sealer import Sealer
from payment_token.bootstrap.service import Service
from payment_token.bootstrap.upkeep import Upkeep
from payment_token.cli.audit_verify import verify_database
from payment_token.cli.deployment import database_url
from payment_token.cli.development import DEMO_MERCHANT, init_deployment, restore_registrations
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.serving import end_signalled, reload_on_hangup, wait_for
from payment_token.cli.terminal import console, listing
from payment_token.cli.virtual_terminal import VirtualTerminal, inject
from payment_token.domain.audit import EventKind
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.audit_search import AuditQuery, AuditSearch
from payment_token.infrastructure.logging import configure_logging
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.settings import DEVELOPMENT_FOLDER, ConfigurationError, Settings

_SEALED_WITHIN_SECONDS = 10

_READS = (
    ("default-tdes-2key", PartFormat.TRACK2, PUBLISHED_CARDS[0]),
    ("default-aes-128", PartFormat.TRACK1, PUBLISHED_CARDS[1]),
    ("default-aes-256", PartFormat.EMV_TLV, PUBLISHED_CARDS[2]),
    ("default-aes-128", PartFormat.CARD_JSON, PUBLISHED_CARDS[3]),
)


def quickstart(
    serve: bool = typer.Option(False, "--serve", help="Leave the service running afterwards."),
    folder: Path = typer.Option(
        DEVELOPMENT_FOLDER, "--dir", help="The deployment; made when it is not there."
    ),
) -> None:
    """Set up a development deployment, run the main job through it, and show each step."""
    _step(1, "A deployment for development")
    if (folder / ".env").is_file():
        console.print(f"   found in {folder}")
        restore_registrations(Settings.load(folder / ".env"))
    else:
        init_deployment(folder)
        console.print(f"   made in {folder}: keystore, certificates, policy, API key")
    settings = Settings.load(folder / ".env")
    configure_logging(debug=settings.debug, quiet=True)
    forbid_core_dumps()
    if not serve:
        settings = settings.on_free_ports()
    asyncio.run(_walk(settings, database_url(settings), stay=serve))


async def _walk(settings: Settings, url: str, *, stay: bool) -> None:
    ended = end_signalled()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(Service.started(settings, url))
        sealer = Sealer(settings, url, service.signing_keys)
        await stack.enter_async_context(sealer.at_work())
        stack.push_async_callback(service.audit_log.end)
        listeners = build_listeners(service, list(Role), sealer)
        reload_on_hangup(listeners)
        async with serving(listeners):
            _step(2, "PostgreSQL and the service are running")
            for listener in listeners.all:
                console.print(f"   {listener.name:13} {listener.url}")
            tour = _Tour(settings, service, listeners, url)
            await tour.terminals_send()
            await tour.worker_gets_card_back()
            await tour.others_are_refused()
            await tour.audit_is_there()
            await tour.audit_verifies()
            if stay:
                console.print("\nThe service stays up. Ctrl-C ends it.")
                async with Upkeep(settings, url).kept_up():
                    await wait_for(ended, settings)
            else:
                console.print(
                    "\nDone; everything is stopped again. Keep it running with ./scripts/quickstart.sh --serve,"
                    "\nand read on in docs/life-of-a-payload.md."
                )


@dataclass
class _Tour:
    settings: Settings
    service: Service
    listeners: Listeners
    url: str
    token: str = ""
    receipt: str = ""

    async def terminals_send(self) -> None:
        _step(3, "Terminals encrypt card reads with DUKPT, the service answers with tokens")
        table = listing("scheme", "read", "payment token", "card")
        async with self._public() as client:
            for number, (bdk_id, part, card) in enumerate(_READS, 1):
                body = (
                    await self._terminal(f"DEMO-{number}-{uuid.uuid4().hex[:6]}", bdk_id)
                ).create_body(DEMO_MERCHANT, card, part)
                headers = {"Idempotency-Key": str(uuid.uuid4())}
                answer = await client.post("/v1/payment-tokens", json=body, headers=headers)
                token = answer.raise_for_status().json()
                scheme = body["encrypted_payload"]["scheme"]
                shown = f"{token['card']['bin']}…{token['card']['last4']}"
                table.add_row(scheme, part, token["payment_token"], shown)
                again = await client.post("/v1/payment-tokens", json=body, headers=headers)
                _expect(
                    again.json()["payment_token"] == token["payment_token"],
                    "a retry gives the same token",
                )
            self.token = token["payment_token"]
        console.print(table)
        console.print("   Each was sent twice under its idempotency key, and gave one token.")

    async def worker_gets_card_back(self) -> None:
        _step(4, "A worker with a client certificate gets a card back over mutual TLS")
        async with self._worker() as client:
            answer = await client.post(
                "/internal/v1/decrypt", json=self._release_body(DEMO_MERCHANT)
            )
        released = answer.raise_for_status().json()
        self.receipt = released["audit_receipt"]
        data = released["payment_data"]
        pan = data["pan"]
        console.print(
            f"   card number  {pan[:6]}{'•' * (len(pan) - 10)}{pan[-4:]}   (in clear to the worker, masked here)"
        )
        console.print(f"   expiry       {data['exp_month']:02}/{data['exp_year']}")
        console.print(f"   SAD          {data['sad_status']}: CVV {'•' * len(data['sad']['cvv'])}")
        console.print(f"   receipt      {released['audit_receipt']}")

    async def others_are_refused(self) -> None:
        _step(5, "Whoever may not, does not")
        refusal = await asyncio.to_thread(self._connect_without_certificate)
        console.print(f"   without a certificate: no connection ({refusal})")
        async with self._worker() as client:
            answer = await client.post("/internal/v1/decrypt", json=self._release_body("m_other"))
        _expect(answer.status_code == httpx.codes.FORBIDDEN, "the policy refuses other merchants")
        console.print(
            f"   for a merchant that the policy does not grant: {answer.status_code} {answer.json()['code']}"
        )

    async def audit_is_there(self) -> None:
        _step(6, "Every attempt is an audit record, written before the answer left")
        table = listing("recorded at", "outcome", "code", "worker", "merchant", "fields")
        decrypts = AuditQuery(event=EventKind.DECRYPT)
        for row in await AuditSearch(self.service.pool).find(decrypts, limit=5):
            table.add_row(
                f"{row.recorded_at:%H:%M:%S}",
                row.outcome,
                row.code,
                (row.identity or "").rpartition("/")[2],
                row.merchant_id or "",
                ", ".join(row.fields),
            )
        console.print(table)

    async def audit_verifies(self) -> None:
        _step(
            7, "The audit log proves itself: chained, sealed, signed; the worker's receipt is in it"
        )
        for _ in range(_SEALED_WITHIN_SECONDS):
            await asyncio.sleep(1)
            receipts = Receipts.parse([self.receipt])
            report = await asyncio.to_thread(
                verify_database, self.settings, self.url, (), (), receipts
            )
            if report.verdict is Verdict.VERIFIED:
                break
        _expect(report.verdict is Verdict.VERIFIED, "the audit log verifies")
        console.print(f"   {report.records} records under {report.seals} signed checkpoints, root")
        console.print(f"   {(report.root or b'').hex()}")
        console.print("   Again, with keys of your own: payment-token audit verify --key …")

    async def _terminal(self, device_id: str, bdk_id: str) -> VirtualTerminal:
        registered = await self.service.directory.find_bdk(bdk_id)
        if registered is None:
            raise ConfigurationError(f"There is no key {bdk_id} in this deployment.")
        custodians = self.service.keys.custodians
        return await inject(device_id, DEMO_MERCHANT, registered.bdk, custodians)

    def _release_body(self, merchant_id: str) -> dict[str, Any]:
        return {
            "payment_token": self.token,
            "merchant_id": merchant_id,
            "purpose": "authorization",
            "fields": ["pan", "expiry", "sad"],
        }

    def _connect_without_certificate(self) -> str:
        context = self._tls(certificate=False)
        try:
            httpx.get(f"{self.listeners.named('internal').url}/healthz", verify=context)
        except httpx.TransportError as error:
            return _tls_reason(error)
        return "it was let in, which must not be"

    def _public(self) -> httpx.AsyncClient:
        secret = (self.settings.folder / "api-key").read_text().strip()
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(base_url=self.listeners.named("public").url, headers=headers)

    def _worker(self) -> httpx.AsyncClient:
        url = self.listeners.named("internal").url
        return httpx.AsyncClient(base_url=url, verify=self._tls(certificate=True))

    def _tls(self, *, certificate: bool) -> ssl.SSLContext:
        folder = self.settings.folder
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        if certificate:
            context.load_cert_chain(folder / "worker.pem", folder / "worker-key.pem")
        return context


def _tls_reason(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLError) and error.reason:
            return error.reason.replace("_", " ").lower()
        error = error.__cause__ or error.__context__
    return "the handshake fails"


def _step(number: int, text: str) -> None:
    console.print(f"\n[bold]{number}. {text}[/]")


def _expect(holds: bool, promise: str) -> None:
    if not holds:
        console.print(f"[red]This was promised and did not happen: {promise}.[/]")
        raise typer.Exit(1)
