"""What gRPC's library writes to standard error: the only place where it tells of a handshake that it refused.

::

    I1128 02:29:21.115077   28798 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL:
    error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self signed certificate

in one line. It says nothing of the peer, and not which listener of the process that was.
"""

import logging
import re
from collections.abc import Callable

logger = logging.getLogger(__name__)

_LINE = re.compile(rb"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.]+:\d+\] (.*)\n", re.DOTALL)
_FAILED = re.compile(
    rb"Handshake failed with error \w+: error:[0-9a-f]+:SSL routines:\w+:([A-Z0-9_]+): (.*)",
    re.DOTALL,
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


class LibraryLog:
    """``count_refusal`` hears of each handshake that failed, by the words of ``refusal_class``."""

    def __init__(self, count_refusal: Callable[[str], None]) -> None:
        self._count_refusal = count_refusal

    def take(self, line: bytes) -> bool:
        """Whether the line was the library's. What else it says goes nowhere: it may hold what peers sent."""
        said = _LINE.fullmatch(line)
        if said is None:
            return False
        failed = _FAILED.fullmatch(said[1])
        if failed is not None:
            reason, refused = failed[1].decode("ascii"), _class_of(failed[1], failed[2])
            self._count_refusal(refused)
            logger.info("handshake refused", extra={"reason": reason, "class": refused})
        return True


def _class_of(reason: bytes, why: bytes) -> str:
    if reason == b"CERTIFICATE_VERIFY_FAILED":
        return _OF_A_CERTIFICATE.get(why, "certificate")
    return "no_certificate" if reason == b"PEER_DID_NOT_RETURN_A_CERTIFICATE" else "protocol"
