"""``payment-token dev``: a deployment for development, complete after one command."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import typer

from payment_token.cli.api_keys import changes_of
from payment_token.cli.deployment import with_audit_log, with_custody
from payment_token.cli.terminal import console
from payment_token.domain.api_key import APIKey, PresentedKey, new_api_key
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.local_keystore import KEK_ALGORITHM, SCHEME, LocalKeystore
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.embedded import EMBEDDED_FOLDER
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.development_certificates import DevelopmentAuthority
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import DEVELOPMENT_FOLDER, ConfigurationError, Environment, Settings

app = typer.Typer(help="A deployment for development.", no_args_is_help=True)

DEMO_MERCHANT = MerchantId("m_demo")
WORKER_IDENTITY = "spiffe://payment-token.example/worker/demo"

# One BDK of each kind. A KSN of these prefixes finds its key without registration; for any other KSN, the first of
# each scheme is the default.
_BDKS = {
    BDKAlgorithm.TDES_2KEY: ("FFFFDE0002", True),
    BDKAlgorithm.AES_128: ("DE000128", True),
    BDKAlgorithm.AES_192: ("DE000192", False),
    BDKAlgorithm.AES_256: ("DE000256", False),
    BDKAlgorithm.DEVICE_AEAD: (None, True),
}

_ENV = """\
# A deployment for development. The process environment overrides what stands here; relative paths are relative to this
# file. Without DATABASE_URL the service runs on its embedded PostgreSQL, whose data is in the folder beside this file.
ENVIRONMENT=development
#DATABASE_URL=postgresql://user:password@localhost:5432/payment_tokens

LOCAL_KEYSTORE_FILE=keystore.json
LOCAL_KEYSTORE_KEY_FILE=keystore.key
BDK_KMS_KEY_ID=local:default-aes-128
SERVICE_KMS_KEY_ID=local:kek

INTERNAL_TLS_CERT_FILE=server.pem
INTERNAL_TLS_KEY_FILE=server-key.pem
CLIENT_CA_FILE=ca.pem
WORKER_POLICY_FILE=policy.toml
"""

_POLICY = f"""\
# Which worker may have what. Whatever is not granted here is denied. A running service sees a change within two seconds.

[[worker]]
identity   = "{WORKER_IDENTITY}"  # URI SAN of its certificate, else its DNS SAN
merchants  = ["{DEMO_MERCHANT}"]                                  # exact names, or ["*"] for all
purposes   = ["*"]                                       # such as "authorization", "capture", "refund"
fields     = ["pan", "expiry", "cardholder_name", "sad"]
operations = ["decrypt", "authorization-complete"]       # without this line: decrypt alone
#budget    = {{ tokens = 10000, window_seconds = 3600 }}   # different tokens in an hour; without it no limit
#rate      = {{ requests = 200, per_seconds = 1 }}         # requests in a second; without it no limit
"""


@app.command()
def init(
    folder: Path = typer.Option(
        DEVELOPMENT_FOLDER, "--dir", help="Where to; it may exist, and must be empty."
    ),
) -> None:
    """Make keys, certificates, a policy, a database and an API key for the merchant m_demo."""
    init_deployment(folder)
    console.print(f"A development deployment is in {folder}.")
    console.print(f"Next: payment-token serve --env-file {folder / '.env'}")


def init_deployment(folder: Path) -> None:
    """Raises ConfigurationError when the folder is not empty, or when this is meant to be production."""
    if os.environ.get("ENVIRONMENT", Environment.DEVELOPMENT) != Environment.DEVELOPMENT:
        raise ConfigurationError("`dev init` is for ENVIRONMENT=development only.")
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
    # A migration may have started the embedded database here already; that is no deployment yet.
    if not folder.is_dir() or any(path.name != EMBEDDED_FOLDER for path in folder.iterdir()):
        raise ConfigurationError(f"{folder} is not an empty folder. Choose another with --dir.")
    with _removed_on_failure(folder):
        keystore = LocalKeystore.create(
            folder / "keystore.json", folder / "keystore.key", Environment.DEVELOPMENT
        )
        keystore.import_key("kek", KEK_ALGORITHM, SecretKey(secrets.token_bytes(32)))
        _write_certificates(folder)
        (folder / "policy.toml").write_text(_POLICY)
        write_private_file(folder / ".env", _ENV)
        settings = Settings.load(folder / ".env")
        _fill_database(settings, folder)


def _write_certificates(folder: Path) -> None:
    authority = DevelopmentAuthority()
    server = authority.issue_server("localhost", "127.0.0.1", "::1")
    worker = authority.issue_worker(WORKER_IDENTITY)
    (folder / "ca.pem").write_text(authority.certificate_pem)
    for name, issued in (("server", server), ("worker", worker)):
        (folder / f"{name}.pem").write_text(issued.certificate_pem)
        write_private_file(folder / f"{name}-key.pem", issued.private_key_pem)


def _fill_database(settings: Settings, folder: Path) -> None:
    keystore = Custodians(settings).local_keystore
    for algorithm in _BDKS:
        key = SecretKey(secrets.token_bytes(algorithm.key_bytes))
        keystore.import_key(f"default-{algorithm}", algorithm, key)
    _, secret = new_api_key("made by dev init", (DEMO_MERCHANT,), os.urandom)
    write_private_file(folder / "api-key", secret.reveal() + "\n")
    restore_registrations(settings)


def restore_registrations(settings: Settings) -> None:
    """Registers the deployment's own keys with its database, where they are not: the default BDKs and the API key.

    A reset empties the database, and leaves the keystore and the file of the API key as they were. Raises
    ConfigurationError when the database serves another deployment.
    """
    presented = PresentedKey.parse(SensitiveText((settings.folder / "api-key").read_text().strip()))

    async def restore(pool: Pool, custodians: Custodians) -> None:
        directory = PostgresDeviceDirectory(pool)
        known = {
            registered.bdk.bdk_id: registered.key_check_value
            for registered in await directory.list_bdks()
        }
        for bdk in (_default_bdk(algorithm) for algorithm in _BDKS):
            value = await custodians.check_value(bdk)
            if known.get(bdk.bdk_id, value) != value:
                raise ConfigurationError(
                    "The database of DATABASE_URL serves another deployment, whose keys this one does not have."
                )
            if bdk.bdk_id not in known:
                await directory.register_bdk(bdk, value)

    with_custody(settings, restore)

    async def add(pool: Pool, log: PostgresAuditLog) -> None:
        if await PostgresAPIKeyStore(pool).find(presented.key_id) is None:
            await changes_of(pool, log).add(
                APIKey(
                    presented.key_id, "made by dev init", (DEMO_MERCHANT,), presented.secret_sha256
                )
            )

    with_audit_log(settings, add)


def _default_bdk(algorithm: BDKAlgorithm) -> BaseDerivationKey:
    name = f"default-{algorithm}"
    prefix, is_default = _BDKS[algorithm]
    return BaseDerivationKey(
        name, f"{SCHEME}{name}", algorithm, ksn_prefix=prefix, is_default=is_default
    )


@contextlib.contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            for path in folder.iterdir():
                if path.is_file():
                    path.unlink()
