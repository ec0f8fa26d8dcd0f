"""The check of workers' certificates, one for all listeners of a process."""

from payment_token.api.allowed_certificates import AllowedCertificates
from payment_token.api.rest.operations import Readiness
from payment_token.api.revocation_file import RevocationFile
from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.settings import ConfigurationError, Settings


def worker_certificates(settings: Settings) -> WorkerCertificates:
    """Raises ConfigurationError when a list, or the authority that one is checked against, is wrong."""
    return WorkerCertificates(_revocations(settings), _allowed(settings))


def _allowed(settings: Settings) -> AllowedCertificates | None:
    path = settings.client_fingerprints_file
    if path is None:
        return None
    try:
        return AllowedCertificates(path)
    except OSError as error:
        problem = error.strerror or "it cannot be read"
    except ValueError:
        problem = "it must have a SHA-256 of a certificate on each line, 64 hexadecimal digits, and at least one"
    raise ConfigurationError(f"CLIENT_FINGERPRINTS_FILE: {problem}")


def _revocations(settings: Settings) -> RevocationFile | None:
    if settings.client_crl_file is None or settings.client_ca_file is None:
        return None
    try:
        return RevocationFile(settings.client_crl_file, settings.client_ca_file)
    except OSError as error:
        problem = error.strerror or "it cannot be read"
        name = "CLIENT_CA_FILE, CLIENT_CRL_FILE"
    except ValueError:
        problem = (
            "it must be in PEM, signed by an authority of CLIENT_CA_FILE, and have a next update"
        )
        name = "CLIENT_CRL_FILE"
    raise ConfigurationError(f"{name}: {problem}")


def readiness_with(workers: WorkerCertificates, readiness: Readiness) -> Readiness:
    """Not ready as well where the revocation list is stale, because every worker is refused then."""

    async def combined() -> dict[str, str]:
        failing = await readiness()
        return failing | {"client_crl": "stale"} if workers.list_is_stale else failing

    return combined
