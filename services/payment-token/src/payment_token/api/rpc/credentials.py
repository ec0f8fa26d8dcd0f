"""TLS of the gRPC listeners: from the files of the REST listeners, read again once one of them has changed.

The library's own TLS (BoringSSL) takes 1.2 and 1.3, with forward secrecy and AEAD suites only (PCI DSS 4.2.1), and a peer
without a client certificate of the authority does not get through its handshake. It may resume sessions, and knows no
revocation list: who a certificate may still stand for is decided with each call, in ``worker_certificate``.
"""

from dataclasses import dataclass
from pathlib import Path

import grpc

from payment_token.api.read_again import ReadAgain


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """``client_ca`` is that of a listener that insists on client certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path)

    def read(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=None if self.client_ca is None else self.client_ca.read_bytes(),
        )


class Credentials:
    """Raises OSError when a file cannot be read at the start. Afterwards what was read last stays in force."""

    def __init__(self, files: CertificateFiles) -> None:
        self._with_clients = files.client_ca is not None
        self._configurations = ReadAgain("certificates", files.all, files.read)

    def for_server(self) -> grpc.ServerCredentials:
        """Of one server: each of those behind an address must hear of a change itself."""
        in_force = self._configurations.current()

        def newer() -> grpc.ServerCertificateConfiguration | None:
            # Asked at each handshake, in a thread of the library.
            nonlocal in_force
            found = self._configurations.current()
            if found is in_force:
                return None
            in_force = found
            return found

        return grpc.dynamic_ssl_server_credentials(
            in_force,
            newer,  # type: ignore[arg-type] # None, which leaves what is in force, is what it documents
            require_client_authentication=self._with_clients,
        )
