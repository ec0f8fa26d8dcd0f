"""The ceremony with custodians that are not ours: BDKs into a PKCS#11 token, terminals provisioned from AWS KMS."""

import os
import re
import subprocess
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.utils import CryptographyDeprecationWarning
from moto.server import ThreadedMotoServer

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import DUKPTTerminal
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.key_block import KeyBlockHeader, KeyBlockVersion, wrap
from payment_token.domain.sensitive import SecretKey
from tests.support.deployment import MERCHANT, Deployment

with warnings.catch_warnings():
    # psec takes TDES from where cryptography used to have it.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from psec import tr31

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
KBPK = bytes(range(32))
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def deployment(new_deployment: Callable[[], Deployment]) -> Deployment:
    """One of its own: it names keys of custodians that are gone after these tests."""
    return new_deployment()


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a command needs to use a new token named ``ceremony``."""
    if not SOFTHSM.exists():
        pytest.skip("SoftHSM2 is not here")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "pin").write_text("7412589630\n")
    (folder / "pin").chmod(0o600)
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "ceremony"),
            *("--pin", "7412589630", "--so-pin", "0369852147"),
        ],
        env=os.environ | {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")},
        check=True,
        capture_output=True,
    )
    return {
        "SOFTHSM2_CONF": str(folder / "softhsm2.conf"),
        "PKCS11_MODULE": str(SOFTHSM),
        "PKCS11_PIN_FILE": str(folder / "pin"),
    }


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The protection key in two components, as options."""
    one = bytes([0x5A] * 32)
    two = bytes(a ^ b for a, b in zip(KBPK, one, strict=True))
    folder = tmp_path_factory.mktemp("shares")
    for name, share in (("one", one), ("two", two)):
        (folder / name).write_text(share.hex())
    return ("--kbpk-file", str(folder / "one"), "--kbpk-file", str(folder / "two"))


@pytest.mark.parametrize(
    ("algorithm", "letter"),
    [("tdes-2key", "T"), ("aes-256", "A")],
)
def test_a_key_block_goes_into_a_token_that_gives_it_to_nobody(
    deployment: Deployment,
    token: dict[str, str],
    shares: tuple[str, ...],
    tmp_path: Path,
    algorithm: str,
    letter: str,
) -> None:
    key = os.urandom(BDKAlgorithm(algorithm).key_bytes)
    header = KeyBlockHeader(KeyBlockVersion.AES, "B0", letter, "X", "E")
    (tmp_path / "block").write_text(wrap(SecretKey(KBPK), header, SecretKey(key)))
    name = f"in-token-{algorithm}"
    arguments = (
        *("bdk", "import", "--id", name, "--algorithm", algorithm),
        *("--key", f"pkcs11:token=ceremony;object={name}"),
        *("--key-block", str(tmp_path / "block")),
        *shares,
    )

    # In a process of its own: a library that this one has loaded keeps to the configuration that it began with.
    imported = deployment.run(*arguments, **token)

    value = re.search(rf"Imported {name} .* key check value ([0-9A-F]{{6}})", imported.stdout)
    assert value is not None
    shown = deployment.run("bdk", "show", name, **token).stdout
    assert value[1] in shown
    assert "has it" in shown


def test_a_terminal_is_provisioned_from_a_token(
    deployment: Deployment, token: dict[str, str], shares: tuple[str, ...], tmp_path: Path
) -> None:
    for number in (1, 2):
        (tmp_path / f"component-{number}").write_text(os.urandom(16).hex())
    name = "token-fleet"
    deployment.run(
        *("bdk", "import", "--id", name, "--algorithm", "aes-128"),
        *("--key", f"pkcs11:token=ceremony;object={name}"),
        *("--component-file", str(tmp_path / "component-1")),
        *("--component-file", str(tmp_path / "component-2")),
        **token,
    )
    arguments = ("devices", "provision", "--device-id", "HSM-1", "--merchant", MERCHANT)

    said = deployment.run(*arguments, "--bdk", name, *shares, **token).stdout

    check_it_works(deployment, said, token)


@pytest.fixture(scope="module")
def kms() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {"KMS_ENDPOINT_URL": f"http://{host}:{port}", **CREDENTIALS}
    server.stop()


def test_a_terminal_is_provisioned_from_aws_kms(
    deployment: Deployment, kms: dict[str, str], shares: tuple[str, ...], tmp_path: Path
) -> None:
    client = boto3.client(
        "kms",
        region_name="eu-central-1",
        endpoint_url=kms["KMS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    made = client.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    deployment.run_here(
        *("bdk", "register", "--id", "kms-fleet", "--algorithm", "aes-128"),
        *("--key", made["KeyMetadata"]["Arn"]),
        **kms,
    )
    client.close()
    arguments = (
        *("devices", "provision", "--device-id", "KMS-1", "--merchant", MERCHANT),
        *("--bdk", "kms-fleet"),
    )

    said = deployment.run_here(*arguments, *shares, **kms).stdout
    one_piece = deployment.run_here(*arguments, *shares[:2], check=False, **kms)

    check_it_works(deployment, said, kms)
    assert one_piece.returncode == 1
    assert "nobody may know a whole key" in one_piece.stderr


def check_it_works(deployment: Deployment, said: str, environment: dict[str, str]) -> None:
    """A terminal built from nothing but the block, read with psec, sends to a service with that custodian."""
    found = re.search(r"Key block: (D[0-9]{4}\S+)", said)
    device = re.search(r"Provisioned (\S+) of", said)
    assert found is not None
    assert device is not None
    header, key = tr31.unwrap(KBPK, found[1])
    bdk = BaseDerivationKey("unknown to a terminal", "local:none", BDKAlgorithm.AES_128)
    ksn = KSN.of_any_counter(header.blocks["IK"] + "00000000", bdk.algorithm.scheme)
    terminal = DUKPTTerminal(device[1], bdk, ksn.value, SecretKey(key))
    body = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)

    with deployment.serving("--only", "public", **environment) as service, service.public() as pos:
        created = service.create(pos, body, uuid.uuid4().hex)

    assert created.status_code == 201, created.text
