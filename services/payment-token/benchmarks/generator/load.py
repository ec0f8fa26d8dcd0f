"""What is sent, where to, and in which rhythm."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Target:
    """A listener. ``certificates`` is the deployment's folder where it wants mutual TLS. ``grpc`` is what it speaks."""

    host: str
    port: int
    certificates: Path | None = None
    grpc: bool = False

    @classmethod
    def of(cls, url: str, deployment: Path) -> "Target":
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"no address in {url}")
        return cls(
            parts.hostname,
            parts.port,
            deployment if parts.scheme in ("https", "grpcs") else None,
            grpc=parts.scheme.startswith("grpc"),
        )

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    def tls(self) -> ssl.SSLContext | None:
        if self.certificates is None:
            return None
        context = ssl.create_default_context(cafile=self.certificates / "ca.pem")
        context.load_cert_chain(
            self.certificates / "worker.pem", self.certificates / "worker-key.pem"
        )
        if self.grpc:
            context.set_alpn_protocols(["h2"])
        return context


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of request. An answer of another status than ``status`` is an error, and so is one that has ``never`` in it."""

    name: str
    target: Target
    status: int
    never: bytes = b""


# The number of its kind in the load, and the bytes that go out.
Request = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Each client sends its next request when the one before is answered: what is the most that can be had?"""

    clients: int

    def __str__(self) -> str:
        return f"{self.clients} clients"


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Requests fall due at a fixed rate, whatever the answers do: how long does one take at this rate?

    Latency counts from when a request was due. One that finds no free connection waits for it, and the wait counts.
    """

    rate: float
    clients: int = 256

    def __str__(self) -> str:
        return f"{self.rate:g}/s"


Shape = ClosedLoop | OpenLoop


@dataclass(frozen=True, slots=True)
class Load:
    """``requests`` may be used up: the run then ends before its time.

    ``keep`` answers are handed back; with ``timed`` also when each request of an open loop was due.
    """

    kinds: tuple[Kind, ...]
    requests: Iterator[Request]
    shape: Shape
    seconds: float
    warm_up_seconds: float
    keep: int = 0
    timed: bool = False
