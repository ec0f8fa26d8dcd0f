"""TLS of the gRPC listeners: from the files of the REST listeners, read again once one of them has changed.

The library's own TLS (BoringSSL) takes 1.2 and 1.3, with forward secrecy and AEAD suites only (PCI DSS 4.2.1), and a peer
without a client certificate of the authority does not get through its handshake. It may resume sessions, and knows no
revocation list: who a certificate may still stand for is decided with each call, in ``worker_certificate``.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

logger = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """``client_ca`` is that of a listener that insists on client certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def stamp(self) -> _Stamp:
        paths = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in (path.stat() for path in paths))

    def read(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=None if self.client_ca is None else self.client_ca.read_bytes(),
        )


class Credentials:
    """Raises OSError when a file cannot be read at the start. Afterwards what was read last stays in force."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._stamp = files.stamp()
        self._initial = files.read()

    def for_server(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._initial,
            self._newer,  # type: ignore[arg-type] # None is what it documents
            require_client_authentication=self._files.client_ca is not None,
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked at each handshake, in a thread of the library. ``None`` leaves what is in force."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            found = self._files.read()
        except OSError as error:
            logger.error("certificates not read again", extra={"reason": error.strerror})
            return None
        self._stamp = stamp
        return found
