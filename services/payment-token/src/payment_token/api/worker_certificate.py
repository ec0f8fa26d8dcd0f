"""Who a worker is: what its verified client certificate says, never a header.

The TLS handshake has checked the chain, the dates and the revocation list by the time a request is here. The identity
is the certificate's one URI SAN (SPIFFE ids are such), else its one DNS SAN. The common name is never looked at: it has
no agreed syntax and no place in path validation (RFC 9525 §2).
"""

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.types import Scope

from payment_token.domain.errors import UnauthenticatedError
from payment_token.domain.worker_policy import Worker


def worker_of(scope: Scope) -> Worker:
    """Reads the ASGI TLS extension. Raises UnauthenticatedError where there is no certificate with one identity."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    if not chain:
        raise UnauthenticatedError("A client certificate is required.")
    certificate = x509.load_pem_x509_certificate(chain[0].encode("ascii"))
    client = scope.get("client") or ("unknown", 0)
    return Worker(
        _identity(certificate), certificate.fingerprint(SHA256()), f"{client[0]}:{client[1]}"
    )


def _identity(certificate: x509.Certificate) -> str:
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    candidates = uris or (names.get_values_for_type(x509.DNSName) if names is not None else [])
    # More than one name would leave open which of them is meant; a wildcard names nobody.
    if len(candidates) != 1 or "*" in candidates[0] or not candidates[0].isprintable():
        raise UnauthenticatedError(
            "The client certificate must carry one URI SAN, or else one DNS SAN."
        )
    return candidates[0]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
