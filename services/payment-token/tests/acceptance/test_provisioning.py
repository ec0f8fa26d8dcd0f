"""Terminals that we provision: their key leaves as a key block only, once, and what was injected from it works."""

import re
import stat
import warnings
from pathlib import Path

import psycopg
import pytest
from cryptography.utils import CryptographyDeprecationWarning

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import AEADTerminal, DUKPTTerminal, VirtualTerminal
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService

with warnings.catch_warnings():
    # psec takes TDES from where cryptography used to have it.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from psec import tr31

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

KBPK = bytes(range(32))
TDES_KBPK = bytes(range(24))
FLEETS = {
    BDKAlgorithm.TDES_2KEY: "FFFF77",
    BDKAlgorithm.AES_128: "77128",
    BDKAlgorithm.AES_192: "77192",
    BDKAlgorithm.AES_256: "77256",
    BDKAlgorithm.DEVICE_AEAD: None,
}


@pytest.fixture(scope="module")
def fleets(deployment: Deployment, service: RunningService) -> Deployment:
    """A BDK of each algorithm, in a deployment that serves."""
    for number, (algorithm, prefix) in enumerate(FLEETS.items(), 1):
        key = bytes(range(number, number + algorithm.key_bytes)).hex()
        deployment.run_here(
            *("bdk", "import", "--id", f"fleet-{algorithm}", "--algorithm", algorithm),
            *("--component", key),
            *(("--ksn-prefix", prefix) if prefix else ()),
        )
    return deployment


@pytest.fixture(scope="module")
def kbpk(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("kbpk") / "kbpk"
    file.write_text(KBPK.hex().upper() + "\n")
    return str(file)


def provision(
    algorithm: BDKAlgorithm | str, device_id: str, kbpk: str, *more: str
) -> tuple[str, ...]:
    epoch = ("--key-epoch", "1") if algorithm == BDKAlgorithm.DEVICE_AEAD else ()
    return (
        *("devices", "provision", "--device-id", device_id, "--merchant", MERCHANT),
        *("--bdk", f"fleet-{algorithm}", "--kbpk-file", kbpk),
        *(() if "--key-epoch" in more else epoch),
        *more,
    )


def shown_block(output: str) -> str:
    found = re.search(r"Key block: ([BD][0-9]{4}\S+)", output)
    assert found is not None
    return found[1]


def terminal_from(
    block: str, kbpk: bytes, algorithm: BDKAlgorithm, device_id: str
) -> VirtualTerminal:
    """Built from nothing but the block, read with another implementation than ours."""
    header, key = tr31.unwrap(kbpk, block)
    blocks = dict(header.blocks)
    if algorithm is BDKAlgorithm.DEVICE_AEAD:
        epoch = int(blocks["LB"].removeprefix("key-epoch="))
        name = AEADKeyName(MerchantId(MERCHANT), DeviceId(device_id), epoch)
        return AEADTerminal(name, SecretKey(key))
    named = blocks["KS"] if header.algorithm == "T" else blocks["IK"] + "00000000"
    ksn = KSN.of_any_counter(named, algorithm.scheme)
    bdk = BaseDerivationKey("unknown to a terminal", "local:none", algorithm)
    return DUKPTTerminal(device_id, bdk, ksn.value, SecretKey(key))


@pytest.mark.parametrize("algorithm", list(FLEETS))
def test_a_terminal_with_nothing_but_its_block_sends_and_a_worker_gets_the_card(
    fleets: Deployment, service: RunningService, kbpk: str, algorithm: BDKAlgorithm
) -> None:
    device = f"P-{algorithm}"
    provisioned = fleets.run_here(*provision(algorithm, device, kbpk))
    block = shown_block(provisioned.stdout)
    card = PUBLISHED_CARDS[0]

    body = terminal_from(block, KBPK, algorithm, device).create_body(
        MERCHANT, card, PartFormat.TRACK2
    )
    with service.public() as pos, service.worker() as worker:
        created = service.create(pos, body)
        assert created.status_code == 201, created.text
        released = service.release(worker, created.json()["payment_token"])

    assert released.json()["payment_data"]["pan"] == card.pan
    assert device in fleets.run_here("devices", "list").stdout


def test_a_device_id_with_brackets_is_shown_as_it_is(fleets: Deployment, kbpk: str) -> None:
    for device in ("[/M-1]", "[red]M-2"):
        assert device in fleets.run_here(*provision("aes-128", device, kbpk)).stdout
    listed = fleets.run_here("devices", "list").stdout
    assert "[/M-1]" in listed
    assert "[red]M-2" in listed


@pytest.mark.parametrize("algorithm", list(FLEETS))
def test_the_key_is_nowhere_in_clear(
    fleets: Deployment, kbpk: str, tmp_path: Path, algorithm: BDKAlgorithm
) -> None:
    device, file = f"C-{algorithm}", tmp_path / "block"

    provisioned = fleets.run_here(*provision(algorithm, device, kbpk, "--output", str(file)))

    block = file.read_text().strip()
    _, key = tr31.unwrap(KBPK, block)
    said = (provisioned.stdout + provisioned.stderr).lower()
    assert key.hex() not in said
    assert KBPK.hex() not in said
    assert block not in provisioned.stdout
    assert str(file) in provisioned.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "registered" in provisioned.stdout


def test_the_check_values_are_those_of_the_key_and_of_the_protection_key(
    fleets: Deployment, kbpk: str
) -> None:
    said = fleets.run_here(*provision("aes-128", "V-1", kbpk)).stdout

    header, _ = tr31.unwrap(KBPK, shown_block(said))
    assert f"Key check value {header.blocks['KC'][2:]}" in said
    assert f"protection key check value {header.blocks['KP'][2:]}" in said
    announced = ("--kbpk-check-value", header.blocks["KP"][2:].lower())
    assert fleets.run_here(*provision("aes-128", "V-2", kbpk, *announced)).returncode == 0
    refused = fleets.run_here(
        *provision("aes-128", "V-3", kbpk, "--kbpk-check-value", "000000"), check=False
    )
    assert refused.returncode == 1
    assert "Nothing was provisioned" in refused.stderr
    assert "V-3" not in fleets.run_here("devices", "list").stdout


def test_a_tdes_fleet_is_provisioned_under_a_tdes_key(fleets: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "kbpk"
    file.write_text(TDES_KBPK.hex())

    said = fleets.run_here(
        *provision("tdes-2key", "T-1", str(file), "--kbpk-algorithm", "tdes"),
        *("--ksn", "FFFF7700000000000000"),
    ).stdout

    block = shown_block(said)
    header, _ = tr31.unwrap(TDES_KBPK, block)
    assert block.startswith("B")
    assert header.blocks["KS"] == "FFFF7700000000000000"
    assert "KSN FFFF7700000000000000" in said


def test_the_protection_key_is_prompted_for_in_components(fleets: Deployment) -> None:
    one = bytes([0x5A] * 32)
    two = bytes(a ^ b for a, b in zip(KBPK, one, strict=True))
    arguments = ("devices", "provision", "--device-id", "Q-1", "--merchant", MERCHANT)

    said = fleets.run(
        *arguments,
        *("--bdk", "fleet-aes-256", "--components", "2"),
        stdin=f"{one.hex()}\n{two.hex()}\n",
    )

    assert "Component 2 has the check value" in said.stdout
    assert one.hex() not in said.stdout + said.stderr
    assert tr31.unwrap(KBPK, shown_block(said.stdout))


@pytest.mark.parametrize(
    ("algorithm", "kbpk_bytes", "kbpk_algorithm"),
    [
        ("aes-128", 24, "tdes"),
        ("aes-256", 16, "aes"),
        ("device-aead", 24, "aes"),
        ("aes-192", 16, "tdes"),
    ],
)
def test_a_weaker_protection_key_is_refused(
    fleets: Deployment, tmp_path: Path, algorithm: str, kbpk_bytes: int, kbpk_algorithm: str
) -> None:
    file = tmp_path / "kbpk"
    file.write_text(bytes(range(kbpk_bytes)).hex())

    refused = fleets.run_here(
        *provision(algorithm, "W-1", str(file), "--kbpk-algorithm", kbpk_algorithm), check=False
    )

    assert refused.returncode == 1
    assert "weaker" in refused.stderr
    assert "W-1" not in fleets.run_here("devices", "list").stdout


def test_a_key_is_given_once_only(fleets: Deployment, kbpk: str) -> None:
    ksn = ("--ksn", "771280000000000100000000")
    fleets.run_here(*provision("aes-128", "O-1", kbpk, *ksn))
    fleets.run_here(*provision("device-aead", "O-2", kbpk))

    for again in (
        provision("aes-128", "O-1", kbpk, *ksn),
        provision("aes-128", "O-3", kbpk, *ksn),
        provision("device-aead", "O-2", kbpk),
    ):
        refused = fleets.run_here(*again, check=False)
        assert refused.returncode == 1
        assert "given once only" in refused.stderr
    assert "O-3" not in fleets.run_here("devices", "list").stdout


@pytest.mark.parametrize("algorithm", [BDKAlgorithm.AES_256, BDKAlgorithm.DEVICE_AEAD])
def test_a_registered_terminal_gets_a_further_key_and_both_work(
    fleets: Deployment, service: RunningService, kbpk: str, algorithm: BDKAlgorithm
) -> None:
    device = f"R-{algorithm}"
    epoch = ("--key-epoch", "2") if algorithm is BDKAlgorithm.DEVICE_AEAD else ()
    blocks = [
        shown_block(fleets.run_here(*provision(algorithm, device, kbpk, *more)).stdout)
        for more in ((), epoch)
    ]

    assert len(set(blocks)) == 2
    with service.public() as pos:
        for block in blocks:
            body = terminal_from(block, KBPK, algorithm, device).create_body(
                MERCHANT, PUBLISHED_CARDS[1], PartFormat.TRACK2
            )
            assert service.create(pos, body).status_code == 201


def test_a_terminal_without_a_list_of_keys_stays_without_one(
    fleets: Deployment, service: RunningService, kbpk: str
) -> None:
    """It was registered to learn its keys; a provisioned one must not lock out those that it has."""
    fleets.run_here(
        *("devices", "register", "--device-id", "L-1", "--merchant", MERCHANT),
        *("--bdk", "fleet-aes-128"),
    )
    block = shown_block(fleets.run_here(*provision("aes-128", "L-1", kbpk)).stdout)

    first = terminal_from(block, KBPK, BDKAlgorithm.AES_128, "L-1")
    with service.public() as pos:
        body = first.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
        assert service.create(pos, body).status_code == 201


def test_the_key_of_one_terminal_does_not_serve_another(
    fleets: Deployment, service: RunningService, kbpk: str
) -> None:
    block = shown_block(fleets.run_here(*provision("aes-128", "X-1", kbpk)).stdout)
    fleets.run_here(*provision("aes-128", "X-2", kbpk))

    stolen = terminal_from(block, KBPK, BDKAlgorithm.AES_128, "X-2")
    with service.public() as pos:
        body = stolen.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
        refused = service.create(pos, body)

    assert refused.json()["code"] == "unknown_device"


@pytest.mark.parametrize(
    ("algorithm", "more", "said"),
    [
        ("aes-128", ("--ksn", "771280000000000100000001"), "counter of a new terminal is zero"),
        ("aes-128", ("--ksn", "DE0001280000000100000000"), "start with 77128"),
        ("aes-128", ("--ksn", "7712800000"), "not a KSN of dukpt-aes"),
        ("aes-128", ("--ksn", "nonsense"), "not a KSN of dukpt-aes"),
        ("aes-128", ("--key-epoch", "1"), "which has KSNs"),
        ("device-aead", ("--ksn", "771280000000000100000000"), "name a --key-epoch"),
        ("aes-512", (), "bdk list"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    fleets: Deployment, kbpk: str, algorithm: str, more: tuple[str, ...], said: str
) -> None:
    refused = fleets.run_here(*provision(algorithm, "B-1", kbpk, *more), check=False)

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "B-1" not in fleets.run_here("devices", "list").stdout


def test_device_aead_needs_an_epoch(fleets: Deployment, kbpk: str) -> None:
    arguments = [
        word for word in provision("device-aead", "E-1", kbpk) if word not in ("--key-epoch", "1")
    ]
    refused = fleets.run_here(*arguments, check=False)
    assert refused.returncode == 1
    assert "name a --key-epoch" in refused.stderr


def test_an_existing_file_is_not_written_over(
    fleets: Deployment, kbpk: str, tmp_path: Path
) -> None:
    (tmp_path / "block").write_text("mine")
    for output in (tmp_path / "block", tmp_path / "no folder" / "block"):
        refused = fleets.run_here(
            *provision("aes-128", "F-1", kbpk, "--output", str(output)), check=False
        )
        assert refused.returncode == 1
        assert "must be a new file" in refused.stderr
    assert (tmp_path / "block").read_text() == "mine"
    assert "F-1" not in fleets.run_here("devices", "list").stdout


def test_a_terminal_of_another_key_or_out_of_use_gets_none(fleets: Deployment, kbpk: str) -> None:
    fleets.run_here(*provision("aes-128", "S-1", kbpk))
    other = fleets.run_here(*provision("aes-256", "S-1", kbpk), check=False)
    assert other.returncode == 1
    assert "registered under fleet-aes-128" in other.stderr

    with psycopg.connect(deployment_url(fleets.settings), autocommit=True) as database:
        database.execute("UPDATE devices SET state = 'stolen' WHERE device_id = 'S-1'")
    stolen = fleets.run_here(*provision("aes-128", "S-1", kbpk), check=False)
    assert stolen.returncode == 1
    assert "is stolen: it gets no new key" in stolen.stderr


def test_a_prefix_without_room_says_so(fleets: Deployment, kbpk: str) -> None:
    fleets.run_here(
        *("bdk", "import", "--id", "fleet-narrow", "--algorithm", "aes-128"),
        *("--component", "AB" * 16, "--ksn-prefix", "7755000000000001"),
    )
    fleets.run_here(*provision("narrow", "N-1", kbpk))
    refused = fleets.run_here(*provision("narrow", "N-2", kbpk), check=False)
    assert refused.returncode == 1
    assert "leaves no room" in refused.stderr


def test_a_custodian_that_keeps_initial_keys_provisions_nobody(
    fleets: Deployment, kbpk: str
) -> None:
    arn = "arn:aws:payment-cryptography:eu-central-1:111122223333:key/abc"
    with psycopg.connect(deployment_url(fleets.settings), autocommit=True) as database:
        database.execute(
            "INSERT INTO base_derivation_keys (bdk_id, key_uri, algorithm, key_check_value, profile,"
            " allow_pin_variant, is_default) VALUES ('fleet-apc', %s, 'aes-128', 'ABCDEF', '{}', false, false)",
            (arn,),
        )
    refused = fleets.run_here(*provision("apc", "A-1", kbpk), check=False)
    assert refused.returncode == 1
    assert "gives no initial keys" in refused.stderr
    assert "ExportDukptInitialKey" in refused.stderr
