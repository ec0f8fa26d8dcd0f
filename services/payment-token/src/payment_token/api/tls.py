"""TLS contexts of the listeners: 1.3, and 1.2 only with forward secrecy and AEAD suites (PCI DSS 4.2.1)."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from payment_token.api.handshake_refusal import refusal_class
from payment_token.api.revocation_list import RevocationList

logger = logging.getLogger(__name__)

_TLS12_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) when the files are missing or do not fit together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_SUITES)
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.load_cert_chain(certificate, key)
    return context


def mutual_context(
    certificate: Path,
    key: Path,
    client_ca: Path,
    client_crl: Path | None,
    count_refusal: Callable[[str], None],
) -> ssl.SSLContext:
    """A peer without a valid client certificate of ``client_ca`` does not get through the handshake.

    ``count_refusal`` hears of each that failed, by the words of ``refusal_class``, or ``resumed``.
    Raises OSError likewise, and ValueError for a revocation list that RevocationList does not take.
    """
    if client_crl is not None:
        # OpenSSL would take one that nobody signed, and then let nobody in.
        RevocationList(client_crl, client_ca)
    context = server_context(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=client_ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if client_crl is not None:
        context.load_verify_locations(cafile=client_crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    # A resumed session is not verified again: a certificate revoked meanwhile would still get in. Without tickets
    # TLS 1.3 resumes nothing; the session ids of TLS 1.2 are refused by ``_Handshake``.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    counting = {"count_refusal": staticmethod(count_refusal)}
    context.sslobject_class = type("_CountedHandshake", (_Handshake,), counting)
    return context


class _Handshake(ssl.SSLObject):
    """A handshake that tells the peer, and the log, why it failed.

    asyncio drops a connection whose handshake failed before the alert has left. It does send what is pending when the
    handshake asks to read more, so a failure asks for that once; the peer reads the alert and hangs up.
    """

    count_refusal: Callable[[str], None]
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._failure = error
        if self._failure is not None:
            refused = refusal_class(self._failure)
            self.count_refusal(refused)
            logger.info(
                "handshake refused", extra={"reason": self._failure.reason, "class": refused}
            )
            raise ssl.SSLWantReadError
        if self.session_reused:
            self.count_refusal("resumed")
            raise ssl.SSLError("a session is not resumed")
