"""Why a handshake failed, in few words: they are labels of a counter, and a stranger must not be able to make new ones."""

import ssl

# The numbers are OpenSSL's (x509_vfy.h).
_OF_A_CERTIFICATE = {
    3: "list_missing",
    9: "not_yet_valid",
    10: "expired",
    12: "list_stale",
    18: "unknown_authority",
    19: "unknown_authority",
    20: "unknown_authority",
    21: "unknown_authority",
    23: "revoked",
    26: "wrong_usage",
}


def refusal_class(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_A_CERTIFICATE.get(error.verify_code, "certificate")
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no_certificate"
    return "protocol"
