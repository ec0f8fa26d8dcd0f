"""Which client certificates were revoked, for the listener whose handshake does not know: that of gRPC.

The list is read at the start, as the REST listener reads it, and fails closed as OpenSSL does: where it is not of a
certificate's own issuer, or is past its next update, nobody is let in (RFC 5280 §6.3.3).
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
        self._listed = lru_cache(maxsize=_CERTIFICATES)(self._look_up)

    def lets_in(self, certificate: str) -> bool:
        """``certificate`` in PEM, as the handshake verified it."""
        issuer, revoked = self._listed(certificate)
        found = self._lists.get(issuer)
        if found is None or revoked:
            return False
        return found.next_update_utc is not None and datetime.now(UTC) < found.next_update_utc

    def _look_up(self, certificate: str) -> tuple[x509.Name, bool]:
        """Its issuer, and whether that has revoked it. A connection shows the same certificate with each of its calls."""
        parsed = x509.load_pem_x509_certificate(certificate.encode("ascii"))
        found = self._lists.get(parsed.issuer)
        # A list is false where it has no entry.
        if found is None:
            return parsed.issuer, False
        entry = found.get_revoked_certificate_by_serial_number(parsed.serial_number)
        return parsed.issuer, entry is not None
