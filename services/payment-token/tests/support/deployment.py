"""A deployment as a developer has it: made by ``dev init``, run by ``serve``, used over real sockets and real TLS."""

import asyncio
import contextlib
import io
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import httpx

from payment_token.cli.main import main
from payment_token.cli.published_cards import PUBLISHED_CARDS, PublishedCard
from payment_token.cli.virtual_terminal import Encryption, VirtualTerminal, inject
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.settings import Settings

Result = TypeVar("Result")

MERCHANT = "m_demo"
START_SECONDS = 60

# Re-entrant, since a command within this process may start another.
_ENVIRONMENT = threading.RLock()

FREE_PORTS = {
    "PUBLIC_ADDRESS": "127.0.0.1:0",
    "INTERNAL_ADDRESS": "127.0.0.1:0",
    "PUBLIC_GRPC_ADDRESS": "127.0.0.1:0",
    "INTERNAL_GRPC_ADDRESS": "127.0.0.1:0",
    "METRICS_ADDRESS": "127.0.0.1:0",
}


@dataclass
class Deployment:
    """``environment`` overrides the deployment's ``.env``, for example with a DATABASE_URL."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made_in(cls, folder: Path, **environment: str) -> "Deployment":
        deployment = cls(folder, environment)
        deployment.run("dev", "init", "--dir", str(folder), env_file=False)
        return deployment

    def run(
        self,
        *arguments: str,
        env_file: bool = True,
        check: bool = True,
        stdin: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a ``payment-token`` command to its end."""
        command = [sys.executable, "-m", "payment_token", *arguments]
        if env_file:
            command += ["--env-file", str(self.folder / ".env")]
        done = subprocess.run(
            command,
            env=self._environment(environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def run_here(
        self, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The same inside the test's own process, which spares a second of imports for each command."""
        code = 0
        output, errors = io.StringIO(), io.StringIO()
        with (
            self._environment_set(environment),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                main([*arguments, "--env-file", str(self.folder / ".env")])
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
        if check and code:
            raise AssertionError(errors.getvalue())
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    @contextmanager
    def serving(
        self,
        *arguments: str,
        program: tuple[str, ...] = ("-m", "payment_token"),
        **environment: str,
    ) -> Iterator["RunningService"]:
        """``program`` is what Python runs: the service as it is, or one that a test has broken."""
        service = RunningService(
            self, program, arguments, self._environment(FREE_PORTS | environment)
        )
        try:
            service.wait_until_listening()
            yield service
        finally:
            service.stop()

    @property
    def api_key(self) -> str:
        return (self.folder / "api-key").read_text().strip()

    @property
    def settings(self) -> Settings:
        """As the commands of this deployment see them."""
        with self._environment_set({}):
            return Settings.load(self.folder / ".env")

    def terminal(
        self, bdk_id: str = "default-aes-128", encryption: Encryption | None = None
    ) -> VirtualTerminal:
        """A new terminal, injected under one of the default keys, or under a key that was imported as ``bdk_id``."""
        return self.injected(self.bdk(bdk_id), encryption)

    def injected(
        self, bdk: BaseDerivationKey, encryption: Encryption | None = None
    ) -> VirtualTerminal:
        """A new terminal with a key from the custodian of the BDK."""
        name = f"T-{uuid.uuid4().hex[:10]}"
        return self.with_custodians(
            lambda custodians: inject(name, MERCHANT, bdk, custodians, encryption)
        )

    def with_custodians(self, work: Callable[[Custodians], Coroutine[Any, Any, Result]]) -> Result:
        """``work`` with the custodians of this deployment's keys, also from within an event loop."""

        async def run() -> Result:
            custodians = Custodians(self.settings)
            try:
                return await work(custodians)
            finally:
                custodians.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()

    @staticmethod
    def bdk(bdk_id: str = "default-aes-128") -> BaseDerivationKey:
        algorithm = next(
            (known for known in BDKAlgorithm if bdk_id.endswith(known)), BDKAlgorithm.AES_128
        )
        prefix = {
            "default-tdes-2key": "FFFFDE0002",
            "default-aes-128": "DE000128",
            "default-aes-192": "DE000192",
            "default-aes-256": "DE000256",
        }.get(bdk_id)
        return BaseDerivationKey(bdk_id, f"local:{bdk_id}", algorithm, ksn_prefix=prefix)

    def body(
        self,
        card: PublishedCard = PUBLISHED_CARDS[0],
        part: PartFormat = PartFormat.TRACK2,
        **changes: Any,
    ) -> dict[str, Any]:
        """A create request of a new terminal, in good order but for ``changes``."""
        return self.terminal().create_body(MERCHANT, card, part) | changes

    def bodies(self, number: int) -> list[dict[str, Any]]:
        """Create requests of one terminal, read after read."""
        terminal = self.terminal()
        return [
            terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
            for _ in range(number)
        ]

    @contextmanager
    def _environment_set(self, changes: dict[str, str]) -> Iterator[None]:
        """The environment of a command, within this process.

        It is emptied and put back whole, so two threads that did this at once would lose variables for good.
        """
        with _ENVIRONMENT, mock.patch.dict(os.environ, self._environment(changes), clear=True):
            yield

    def _environment(self, changes: dict[str, str]) -> dict[str, str]:
        ours = Settings.model_fields
        with _ENVIRONMENT:
            inherited = {
                name: value for name, value in os.environ.items() if name.lower() not in ours
            }
        return inherited | self.environment | changes


class RunningService:
    """One ``payment-token serve``. Its log lines are kept, so that a test can search them."""

    def __init__(
        self,
        deployment: Deployment,
        program: tuple[str, ...],
        arguments: tuple[str, ...],
        environment: dict[str, str],
    ) -> None:
        self.deployment = deployment
        self.log_lines: list[str] = []
        self.urls: dict[str, str] = {}
        self._news: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [
                sys.executable,
                *program,
                "serve",
                *arguments,
                "--env-file",
                str(deployment.folder / ".env"),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "metrics" not in self.urls:
            line = self._news.get(timeout=max(0.1, deadline - time.monotonic()))
            if line is None:
                raise AssertionError("the service did not start: " + "".join(self.log_lines))
            if '"listening"' in line:
                entry = json.loads(line)
                self.urls[entry["listener"]] = entry["url"]

    def public(self, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.deployment.api_key}"} | options.pop(
            "headers", {}
        )
        return httpx.Client(base_url=self.urls["public"], headers=headers, timeout=20, **options)

    def worker(
        self, certificate: str | None = "worker", folder: Path | None = None
    ) -> httpx.Client:
        """A client of the internal API; ``certificate`` names NAME.pem and NAME-key.pem in ``folder``."""
        return httpx.Client(
            base_url=self.urls["internal"],
            verify=client_context(self.deployment.folder, certificate, folder),
            timeout=20,
        )

    def create(
        self, client: httpx.Client, body: dict[str, Any], key: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return client.post("/v1/payment-tokens", json=body, headers=headers)

    def release(self, client: httpx.Client, token: str, **changes: Any) -> httpx.Response:
        body = {
            "payment_token": token,
            "merchant_id": MERCHANT,
            "purpose": "authorization",
        } | changes
        return client.post("/internal/v1/decrypt", json=body)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self._reader.join()
        return code

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as log:
            for line in log:
                self.log_lines.append(line)
                self._news.put(line)
        self._news.put(None)


def client_context(
    folder: Path, certificate: str | None, certificate_folder: Path | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if certificate is not None:
        where = certificate_folder or folder
        context.load_cert_chain(where / f"{certificate}.pem", where / f"{certificate}-key.pem")
    return context
