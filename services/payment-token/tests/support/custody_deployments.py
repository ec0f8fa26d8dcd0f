"""Deployments that keep their keys with one custodian or another: the same folder and commands, another configuration."""

import secrets
from dataclasses import dataclass, field

from payment_token.cli.virtual_terminal import DUKPTTerminal, VirtualTerminal, new_base
from payment_token.domain.custody import CAPABILITIES, Custodian
from payment_token.domain.dukpt import KSN, initial_key
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.custody.local_keystore import KEK_ALGORITHM, LocalKeystore
from payment_token.settings import Environment
from tests.support.aws import KMS
from tests.support.deployment import MERCHANT, Deployment
from tests.support.payment_cryptography_double import PaymentCryptography
from tests.support.softhsm import Token

KSN_PREFIXES = {
    BDKAlgorithm.TDES_2KEY: "FFFFC50001",
    BDKAlgorithm.AES_128: "C5000128",
    BDKAlgorithm.AES_192: "C5000192",
    BDKAlgorithm.AES_256: "C5000256",
    BDKAlgorithm.DEVICE_AEAD: None,
}
_DEFAULTS = [f"default-{algorithm}" for algorithm in BDKAlgorithm]
_NO_KEYSTORE = {"LOCAL_KEYSTORE_FILE": "", "LOCAL_KEYSTORE_KEY_FILE": "", "BDK_KMS_KEY_ID": ""}


@dataclass
class CustodyDeployment:
    """``bdks`` has one BDK of each algorithm that its custodian derives; ``secrets`` what the test knows of them."""

    custodian: Custodian
    deployment: Deployment
    bdks: dict[BDKAlgorithm, BaseDerivationKey] = field(default_factory=dict)
    secrets: dict[BDKAlgorithm, SecretKey] = field(default_factory=dict)

    def register(self, algorithm: BDKAlgorithm, key_uri: str) -> None:
        """`bdk register`, as an operator does it."""
        self._name(algorithm, key_uri, "register")

    def import_components(self, algorithm: BDKAlgorithm, key_uri: str) -> None:
        """`bdk import` from two components in files, as the custodians of components do it."""
        secret = self.secrets[algorithm].reveal()
        one = secrets.token_bytes(len(secret))
        two = bytes(a ^ b for a, b in zip(secret, one, strict=True))
        files = []
        for number, component in enumerate((one, two)):
            file = self.deployment.folder / f"component-{algorithm}-{number}"
            file.write_text(component.hex())
            files += ["--component-file", str(file)]
        self._name(algorithm, key_uri, "import", *files)

    def terminal(self, algorithm: BDKAlgorithm) -> VirtualTerminal:
        """Injected with what the custodian gives; where it gives nothing, elsewhere, under the known BDK."""
        bdk = self.bdks[algorithm]
        if self.custodian is not Custodian.AWS_PAYMENT_CRYPTOGRAPHY:
            terminal = self.deployment.injected(bdk)
        else:
            base = new_base(bdk)
            ksn = KSN.of_any_counter(base.hex(), algorithm.scheme)
            key = initial_key(self.secrets[algorithm], ksn)
            terminal = DUKPTTerminal(f"T-{secrets.token_hex(5)}", bdk, base, key)
        if algorithm is BDKAlgorithm.DEVICE_AEAD:
            self.deployment.run_here(
                *("devices", "register", "--device-id", terminal.device_id),
                *("--merchant", MERCHANT, "--bdk", bdk.bdk_id),
            )
        return terminal

    def _name(self, algorithm: BDKAlgorithm, key_uri: str, verb: str, *more: str) -> None:
        bdk_id, prefix = f"fleet-{algorithm}", KSN_PREFIXES[algorithm]
        arguments = ["--id", bdk_id, "--key", key_uri, "--algorithm", algorithm, *more]
        if prefix is not None:
            arguments += ["--ksn-prefix", prefix]
        done = self.deployment.run_here("bdk", verb, *arguments)
        assert "key check value" in done.stdout
        self.bdks[algorithm] = BaseDerivationKey(bdk_id, key_uri, algorithm, ksn_prefix=prefix)


def _empty(deployment: Deployment, custodian: Custodian, **environment: str) -> CustodyDeployment:
    """One whose default keys, which are in the development keystore, serve nobody any more."""
    for bdk_id in _DEFAULTS:
        deployment.run_here("bdk", "retire", bdk_id)
    deployment.environment |= _NO_KEYSTORE | environment
    made = CustodyDeployment(custodian, deployment)
    for algorithm in CAPABILITIES[custodian].algorithms:
        made.secrets[algorithm] = SecretKey(secrets.token_bytes(algorithm.key_bytes))
    return made


def local_deployment(deployment: Deployment) -> CustodyDeployment:
    """Sealed under a passphrase."""
    passphrase = secrets.token_hex(16)
    file = deployment.folder / "keystore-of-the-test.json"
    keystore = LocalKeystore.create(file, SensitiveText(passphrase), Environment.DEVELOPMENT)
    kek = keystore.import_key("kek-1", KEK_ALGORITHM, SecretKey(secrets.token_bytes(32)))
    environment = {
        "SERVICE_KMS_KEY_ID": kek,
        "LOCAL_KEYSTORE_FILE": str(file),
        "LOCAL_KEYSTORE_PASSPHRASE": passphrase,
    }
    made = _empty(deployment, Custodian.LOCAL, **environment)
    for algorithm in made.secrets:
        made.import_components(algorithm, f"local:fleet-{algorithm}")
    return made


def pkcs11_deployment(deployment: Deployment, token: Token) -> CustodyDeployment:
    kek = token.uri("kek")
    environment = {**token.environment, "SERVICE_KMS_KEY_ID": kek}
    made = _empty(deployment, Custodian.PKCS11, **environment)
    made.deployment.run_here("keys", "make-kek", kek)
    for algorithm in made.secrets:
        made.import_components(algorithm, token.uri(f"fleet-{algorithm}"))
    return made


def kms_deployment(deployment: Deployment, kms: KMS, endpoint: str = "") -> CustodyDeployment:
    environment = {
        "SERVICE_KMS_KEY_ID": kms.kek(),
        "KMS_ENDPOINT_URL": endpoint or kms.endpoint,
    }
    made = _empty(deployment, Custodian.AWS_KMS, **environment)
    for algorithm in made.secrets:
        made.register(algorithm, kms.hmac_key())
    return made


def payment_cryptography_deployment(
    deployment: Deployment, kms: KMS, double: PaymentCryptography
) -> CustodyDeployment:
    """It wraps no keys: the KEK is in AWS KMS."""
    environment = {
        "SERVICE_KMS_KEY_ID": kms.kek(),
        "KMS_ENDPOINT_URL": kms.endpoint,
        "PAYMENT_CRYPTOGRAPHY_ENDPOINT_URL": double.server.url,
    }
    made = _empty(deployment, Custodian.AWS_PAYMENT_CRYPTOGRAPHY, **environment)
    for algorithm, secret in made.secrets.items():
        made.register(algorithm, double.import_bdk(algorithm, secret))
    return made
