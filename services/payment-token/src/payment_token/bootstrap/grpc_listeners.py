"""The gRPC listeners, beside those of REST: the same use cases, certificates and readiness."""

from google.protobuf.descriptor import ServiceDescriptor

from payment_token.api.batch import Batches
from payment_token.api.rest.batch_models import CREATE_LIMIT_BYTES, DECRYPT_LIMIT_BYTES
from payment_token.api.rest.internal import InternalUseCases
from payment_token.api.rest.observation import Observation, RequestMetrics
from payment_token.api.rest.operations import Readiness
from payment_token.api.rest.public import PublicUseCases
from payment_token.api.rpc import decryption, tokens
from payment_token.api.rpc.bounds import Bounds
from payment_token.api.rpc.credentials import CertificateFiles, Credentials
from payment_token.api.rpc.listener import RPCListener
from payment_token.api.rpc.methods import Methods, Operations
from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.settings import ConfigurationError, Settings

PUBLIC_GRPC = "public_grpc"
INTERNAL_GRPC = "internal_grpc"


def public_grpc(
    settings: Settings,
    metrics: RequestMetrics,
    use_cases: PublicUseCases,
    batches: Batches,
    readiness: Readiness,
) -> RPCListener:
    """Raises ConfigurationError when a certificate cannot be read."""
    certificate, key = settings.public_tls_cert_file, settings.public_tls_key_file
    files = CertificateFiles(certificate, key) if certificate and key else None
    return _listener(
        settings,
        metrics,
        (PUBLIC_GRPC, settings.public_grpc_address),
        tokens.SERVICE,
        tokens.token_operations(use_cases, batches, hints=settings.in_development),
        readiness,
        files,
        CREATE_LIMIT_BYTES,
    )


def internal_grpc(
    settings: Settings,
    metrics: RequestMetrics,
    use_cases: InternalUseCases,
    workers: WorkerCertificates,
    batches: Batches,
    readiness: Readiness,
) -> RPCListener:
    """Raises ConfigurationError likewise, and where mutual TLS is not configured."""
    certificate, key = settings.internal_tls_cert_file, settings.internal_tls_key_file
    client_ca = settings.client_ca_file
    if certificate is None or key is None or client_ca is None:
        raise ConfigurationError(
            "INTERNAL_TLS_CERT_FILE, INTERNAL_TLS_KEY_FILE and CLIENT_CA_FILE are required."
        )
    return _listener(
        settings,
        metrics,
        (INTERNAL_GRPC, settings.internal_grpc_address),
        decryption.SERVICE,
        decryption.decryption_operations(use_cases, workers.worker_with, batches),
        readiness,
        CertificateFiles(certificate, key, client_ca),
        DECRYPT_LIMIT_BYTES,
    )


def _listener(
    settings: Settings,
    metrics: RequestMetrics,
    where: tuple[str, str],
    service: ServiceDescriptor,
    operations: Operations,
    readiness: Readiness,
    files: CertificateFiles | None,
    largest_message: int,
) -> RPCListener:
    name, address = where
    bounds = Bounds()
    hints = settings.in_development and name == PUBLIC_GRPC
    return RPCListener(
        name,
        address,
        service.full_name,
        Methods(service, operations, Observation(name, metrics), bounds, hints=hints),
        bounds,
        readiness,
        _credentials(files),
        reflected=not settings.in_production,
        largest_message=largest_message,
    )


def _credentials(files: CertificateFiles | None) -> Credentials | None:
    try:
        return None if files is None else Credentials(files)
    except OSError as error:
        raise ConfigurationError(f"A certificate of gRPC: {error.strerror or error}") from None
