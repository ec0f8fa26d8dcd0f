"""Who a worker is: what its verified client certificate says, never a header.

The TLS handshake has checked the chain, the dates and the revocation list by the time a request is here. The identity
is the certificate's one URI SAN (SPIFFE ids are such), else its one DNS SAN. The common name is never looked at: it has
no agreed syntax and no place in path validation (RFC 9525 §2).
"""

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.types import Scope

from payment_token.domain.worker_policy import Worker

_CERTIFICATES = 1024


def worker_of(scope: Scope) -> Worker:
    """Reads the ASGI TLS extension."""
    client = scope.get("client") or ("unknown", 0)
    source = f"{client[0]}:{client[1]}"
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    return worker_with(chain[0] if chain else None, source)


def worker_with(certificate: str | None, source: str) -> Worker:
    """``certificate`` is the leaf that the handshake verified, in PEM; ``source`` is the peer's address and port."""
    if certificate is None:
        return Worker("", b"", source)
    identity, fingerprint = _read(certificate)
    return Worker(identity, fingerprint, source)


@lru_cache(maxsize=_CERTIFICATES)
def _read(pem: str) -> tuple[str, bytes]:
    """Identity and fingerprint. A connection shows the same certificate with each of its requests."""
    certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
    return _identity(certificate), certificate.fingerprint(SHA256())


def _identity(certificate: x509.Certificate) -> str:
    names = _alternative_names(certificate)
    if names is None:
        return ""
    candidates = names.get_values_for_type(
        x509.UniformResourceIdentifier
    ) or names.get_values_for_type(x509.DNSName)
    # More than one name would leave open which of them is meant; a wildcard names nobody.
    if len(candidates) != 1 or "*" in candidates[0] or not candidates[0].isprintable():
        return ""
    return candidates[0]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
