"""What gRPC's library writes to standard error: the only place where it tells of a handshake that it refused.

::

    I1128 02:29:21.115077   28798 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL:
    error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self signed certificate

in one line. It says nothing of the peer, and not which listener of the process that was. Other messages of it hold what peers
sent, line ends and all.
"""

import logging
import re
from collections.abc import Callable

logger = logging.getLogger(__name__)

_MESSAGE = re.compile(rb"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.]+:\d+\] (.*)\n", re.DOTALL)
_FAILED = re.compile(
    rb"Handshake failed with error \w+: error:[0-9a-f]+:SSL routines:\w+:([A-Z0-9_]+): (.*)"
)

# BoringSSL's words (X509_verify_cert_error_string), in the classes that REST has.
_OF_A_CERTIFICATE = {
    b"certificate is not yet valid": "not_yet_valid",
    b"certificate has expired": "expired",
    b"self signed certificate": "unknown_authority",
    b"self signed certificate in certificate chain": "unknown_authority",
    b"unable to get local issuer certificate": "unknown_authority",
    b"unable to verify the first certificate": "unknown_authority",
    b"unsupported certificate purpose": "wrong_usage",
}
_PROTOCOL = "protocol"


class LibraryLog:
    """``count_refusal`` hears of each handshake that failed, by the words of ``refusal_class``; ``None``: nobody counts them.

    Unless ``alone``, the process has another listener with TLS, one that asks for no certificate: of a handshake that failed
    for anything else it is not known whose it was, and nobody hears of it.
    """

    def __init__(self, count_refusal: Callable[[str], None] | None, *, alone: bool) -> None:
        self._count_refusal = count_refusal
        self._alone = alone

    def take(self, message: bytes) -> bool:
        """Whether it was the library's. But for failed handshakes it goes nowhere: it may hold what peers sent."""
        said = _MESSAGE.fullmatch(message)
        if said is None:
            return False
        failed = _FAILED.fullmatch(said[1])
        if failed is not None and self._count_refusal is not None:
            refused = _class_of(failed[1], failed[2])
            if self._alone or refused != _PROTOCOL:
                reason = failed[1].decode("ascii")
                logger.info("handshake refused", extra={"reason": reason, "class": refused})
                self._count_refusal(refused)
        return True


def _class_of(reason: bytes, why: bytes) -> str:
    if reason == b"CERTIFICATE_VERIFY_FAILED":
        return _OF_A_CERTIFICATE.get(why, "certificate")
    return "no_certificate" if reason == b"PEER_DID_NOT_RETURN_A_CERTIFICATE" else _PROTOCOL
