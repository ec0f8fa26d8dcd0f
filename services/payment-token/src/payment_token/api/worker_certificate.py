"""Who a worker is: what its verified client certificate says, never a header.

The TLS handshake has checked the chain. Whatever can have changed since then is checked with every request, because a
connection stays open for long: the certificate's dates, the revocation list and the list of allowed certificates in force now. The identity is the
certificate's one URI SAN (SPIFFE ids are such), else its one DNS SAN. The common name is never looked at: it has no
agreed syntax and no place in path validation (RFC 9525 §2).
"""

import re
import time
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.types import Scope

from payment_token.api.allowed_certificates import AllowedCertificates
from payment_token.api.revocation_file import RevocationFile
from payment_token.domain.worker_policy import Worker

_CERTIFICATES = 1024

# Visible ASCII: no NUL that ends a name early, no look-alike of another script. A wildcard names nobody.
_NAME = re.compile(r"[!-)+-~]+")


class WorkerCertificates:
    """Either list is ``None`` where it is not configured."""

    def __init__(
        self, revocations: RevocationFile | None, allowed: AllowedCertificates | None = None
    ) -> None:
        self._revocations = revocations
        self._allowed = allowed

    @property
    def list_is_stale(self) -> bool:
        return self._revocations is not None and self._revocations.current().is_stale

    def worker_of(self, scope: Scope) -> Worker:
        """Reads the ASGI TLS extension."""
        client = scope.get("client") or ("unknown", 0)
        source = f"{client[0]}:{client[1]}"
        chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
        return self.worker_with(chain[0] if chain else None, source)

    def worker_with(self, certificate: str | None, source: str) -> Worker:
        """``certificate`` is the leaf that the handshake verified, in PEM; ``source`` is the peer's address and port.

        Whom the certificate does not stand for now has no identity, and is refused on record.
        """
        if certificate is None:
            return Worker("", b"", source)
        found = _read(certificate)
        holds = found.starts <= time.time() <= found.ends and self._lets_in(certificate, found)
        return Worker(found.identity if holds else "", found.fingerprint, source)

    def _lets_in(self, certificate: str, found: "_Certificate") -> bool:
        if self._allowed is not None and not self._allowed.lets_in(found.fingerprint):
            return False
        return self._revocations is None or self._revocations.current().lets_in(certificate)


@dataclass(frozen=True, slots=True)
class _Certificate:
    """``starts`` and ``ends`` in seconds since 1970, both included (RFC 5280 §4.1.2.5)."""

    identity: str
    fingerprint: bytes
    starts: float
    ends: float


@lru_cache(maxsize=_CERTIFICATES)
def _read(pem: str) -> _Certificate:
    """A connection shows the same certificate with each of its requests."""
    certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
    return _Certificate(
        _identity(certificate),
        certificate.fingerprint(SHA256()),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def _identity(certificate: x509.Certificate) -> str:
    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ""
    if not _is_of_a_client(extensions):
        return ""
    candidates = names.get_values_for_type(
        x509.UniformResourceIdentifier
    ) or names.get_values_for_type(x509.DNSName)
    # More than one name would leave open which of them is meant.
    if len(candidates) != 1 or not _NAME.fullmatch(candidates[0]):
        return ""
    return candidates[0]


def _is_of_a_client(extensions: x509.Extensions) -> bool:
    """No authority's own, and where usages are given, authentication of a client is one (RFC 5280 §4.2.1.12)."""
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return False
        if (
            isinstance(value, x509.ExtendedKeyUsage)
            and ExtendedKeyUsageOID.CLIENT_AUTH not in value
        ):
            return False
    return True
