"""Which client certificates were revoked: asked with every request, because a handshake only knows the past.

It fails closed as OpenSSL does: where there is no list of a certificate's own issuer, or it is past its next update,
nobody is let in (RFC 5280 §6.3.3).
"""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509

_BEGIN = b"-----BEGIN X509 CRL-----"
_CERTIFICATES = 1024


class RevocationList:
    """Raises OSError when a file cannot be read, ValueError for a list that no authority of ``client_ca`` signed."""

    def __init__(self, path: Path, client_ca: Path) -> None:
        authorities = x509.load_pem_x509_certificates(client_ca.read_bytes())
        parts = path.read_bytes().split(_BEGIN)[1:]
        lists = [x509.load_pem_x509_crl(_BEGIN + part) for part in parts]
        if not lists:
            raise ValueError("no revocation list in PEM")
        self._lists = {found.issuer: found for found in lists}
        for found in lists:
            keys = [each.public_key() for each in authorities if each.subject == found.issuer]
            if not any(found.is_signature_valid(key) for key in keys):  # type: ignore[arg-type]
                raise ValueError("a revocation list that no authority of the workers signed")
            # Every list must have one (RFC 5280 §5.1.2.5): without it, an old list would be good for ever.
            if found.next_update_utc is None:
                raise ValueError("a revocation list without its next update")
        self._listed = lru_cache(maxsize=_CERTIFICATES)(self._look_up)

    @property
    def is_stale(self) -> bool:
        """Whether a list of the file is past its next update, so that workers of its issuer are refused."""
        return not all(_in_force(found) for found in self._lists.values())

    def lets_in(self, certificate: str) -> bool:
        """``certificate`` in PEM, as the handshake verified it."""
        issuer, revoked = self._listed(certificate)
        found = self._lists.get(issuer)
        if found is None or revoked:
            return False
        return _in_force(found)

    def _look_up(self, certificate: str) -> tuple[x509.Name, bool]:
        """Its issuer, and whether that has revoked it. A connection shows the same certificate with each of its calls."""
        parsed = x509.load_pem_x509_certificate(certificate.encode("ascii"))
        found = self._lists.get(parsed.issuer)
        # A list is false where it has no entry.
        if found is None:
            return parsed.issuer, False
        entry = found.get_revoked_certificate_by_serial_number(parsed.serial_number)
        return parsed.issuer, entry is not None


def _in_force(found: x509.CertificateRevocationList) -> bool:
    return found.next_update_utc is not None and datetime.now(UTC) < found.next_update_utc
