"""``payment-token keys``, as an operator gives its commands, right and wrong."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import own_database
from tests.support.deployment import Deployment

TOKENS = 3
SLOWLY = ("keys", "reencrypt", "--batch-size", "1", "--rate", "0.05")


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, server_url: str, template: str
) -> Iterator[Deployment]:
    """One deployment for all tests here: each leaves it with more versions, and nothing due."""
    with own_database(server_url, template) as url:
        made = Deployment.made_in(tmp_path_factory.mktemp("keys"), DATABASE_URL=url)
        # No process has run yet, so there are no keys yet either.
        assert "No process" in made.run_here("keys", "status").stdout
        refused = made.run_here("keys", "rotate", check=False)
        assert "payment-token keys init" in refused.stderr
        with made.serving() as service, service.public() as pos:
            for _ in range(TOKENS):
                assert service.create(pos, made.body()).status_code == 201
            yield made


@pytest.fixture
def serving(deployed: Deployment) -> Iterator[Deployment]:
    yield deployed
    for purpose in ("service", "index"):
        age(deployed, 0, purpose)


def database_of(deployment: Deployment) -> psycopg.Connection:
    return psycopg.connect(deployment.environment["DATABASE_URL"], autocommit=True)


def age(deployment: Deployment, days: int, purpose: str = "service") -> None:
    with database_of(deployment) as database:
        database.execute(
            "UPDATE encryption_keys SET activated_at = clock_timestamp() - make_interval(days => %s)"
            " WHERE purpose = %s AND state = 'active'",
            (days, purpose),
        )


def active(deployment: Deployment, purpose: str = "service") -> str:
    with database_of(deployment) as database:
        row = database.execute(
            "SELECT version FROM encryption_keys WHERE purpose = %s AND state = 'active'",
            (purpose,),
        ).fetchone()
    assert row is not None
    return str(row[0])


def rotated(deployment: Deployment) -> tuple[str, str]:
    """The version that was active, and the one that is."""
    old = active(deployment)
    deployment.run_here("keys", "rotate")
    return old, active(deployment)


def under(deployment: Deployment, version: str) -> int:
    with database_of(deployment) as database:
        row = database.execute(
            "SELECT count(*) FROM payment_tokens WHERE service_key = %s", (version,)
        ).fetchone()
    return row[0] if row else 0


def test_the_whole_life_of_a_version(serving: Deployment) -> None:
    old, new = rotated(serving)

    early = serving.run_here("keys", "retire", old, check=False)
    assert early.returncode == 1
    assert f"{TOKENS} records are still under {old}" in early.stderr
    not_retired = serving.run_here("keys", "destroy", old, "--confirm", old, check=False)
    assert "retire it first" in not_retired.stderr

    assert f"{TOKENS} records came under {new}" in serving.run_here("keys", "reencrypt").stdout
    serving.run_here("keys", "retire", old)
    destroyed = serving.run_here("keys", "destroy", old, "--confirm", old).stdout
    assert '"event": "destroyed"' in destroyed

    assert "destroyed" in serving.run_here("keys", "list").stdout
    history = json.loads(serving.run_here("keys", "history", "--json").stdout)
    assert all(entry["verifies"] for entry in history)
    last = json.loads(history[-1]["statement"])
    assert (last["event"], last["version"], last["details"]["rows"]) == ("destroyed", old, 0)
    assert "verified" in serving.run_here("keys", "history").stdout


def test_status_names_versions_records_epochs_and_processes(serving: Deployment) -> None:
    status = json.loads(serving.run_here("keys", "status", "--json").stdout)

    counts = {(key["purpose"], key["version"]): key["records"] for key in status["keys"]}
    assert sum(count for (purpose, _), count in counts.items() if purpose == "service") == TOKENS
    assert counts["audit-signing", "v1"] == 0
    assert len(status["sad_epoch_keys"]) >= 1
    (process,) = status["processes"]
    assert f"service:{active(serving)}" in process["keys"]
    assert "has all keys" in serving.run_here("keys", "status").stdout


@pytest.mark.parametrize(
    ("days", "standing", "code"),
    [(75, "current", 0), (77, "due soon", 0), (90, "due", 1), (104, "closed", 1)],
)
def test_status_tells_when_a_rotation_is_due(
    serving: Deployment, days: int, standing: str, code: int
) -> None:
    age(serving, days)

    answer = serving.run_here("keys", "status", "--json", check=False)

    found = {
        key["standing"]
        for key in json.loads(answer.stdout)["keys"]
        if key["purpose"] == "service" and key["state"] == "active"
    }
    assert found == {standing}
    assert answer.returncode == code


def test_cron_rotates_what_is_due_and_nothing_else(serving: Deployment) -> None:
    assert "No key is due" in serving.run_here("keys", "rotate", "--if-due").stdout
    index, service = active(serving, "index"), active(serving)
    age(serving, 91, "index")
    age(serving, 89)

    said = serving.run_here("keys", "rotate", "--if-due").stdout

    assert f"The index key {active(serving, 'index')} is active" in said
    assert active(serving, "index") != index
    assert active(serving) == service


def test_an_overdue_key_stops_creates_with_its_own_error_and_nothing_else(
    serving: Deployment,
) -> None:
    age(serving, 104)
    with database_of(serving) as database:
        (token,) = database.execute("SELECT min(token_id) FROM payment_tokens").fetchone() or ("",)
    with serving.serving() as late, late.public() as pos, late.worker() as worker:
        refused = late.create(pos, serving.body())
        assert (refused.status_code, refused.json()["code"]) == (503, "encryption_key_overdue")
        assert refused.headers["Retry-After"]
        assert late.release(worker, token).status_code == 200
        assert "encryption_key_overdue" in pos.get("/readyz").text

        serving.run_here("keys", "rotate")
        made = late.create(pos, serving.body())
        assert made.status_code == 201
    assert any("due for rotation" in line for line in late.log_lines)
    with database_of(serving) as database:
        database.execute(
            "DELETE FROM payment_tokens WHERE token_id = %s", (made.json()["payment_token"],)
        )


WRONG = {
    "a version that is not there": (("retire", "v99"), "here is no service key v99"),
    "the active version": (("retire", "ACTIVE"), "is active: rotate first"),
    "destruction of the active one": (
        ("destroy", "ACTIVE", "--confirm", "ACTIVE"),
        "retire it first",
    ),
    "a confirmation of another version": (("destroy", "v1", "--confirm", "v2"), "say v1 once more"),
    "no kek of that name": (("rotate", "--kek", "local:nowhere"), "no key nowhere"),
    "a kek in no known form": (("rotate", "--kek", "nowhere"), "one of these forms"),
    "a kek that wraps nothing": (
        (
            "rotate",
            "--kek",
            "arn:aws:payment-cryptography:eu-west-1:111122223333:key/kwapwa6qaifllw2h",
        ),
        "does not wrap keys",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_command_says_what_to_do(
    serving: Deployment, arguments: tuple[str, ...], said: str
) -> None:
    words = [word.replace("ACTIVE", active(serving)) for word in arguments]

    refused = serving.run_here("keys", *words, check=False)

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_kek_is_made_and_a_rotation_goes_under_it(serving: Deployment) -> None:
    made = serving.run_here("keys", "make-kek", "local:kek-of-2027").stdout
    assert "Made local:kek-of-2027" in made
    again = serving.run_here("keys", "make-kek", "local:kek-of-2027", check=False)
    assert "already" in again.stderr
    by_itself = serving.run_here(
        "keys", "make-kek", "arn:aws:kms:eu-west-1:111122223333:key/k", check=False
    )
    assert "make a symmetric key with its own tools" in by_itself.stderr

    said = serving.run_here("keys", "rotate", "--kek", "local:kek-of-2027").stdout

    assert "under local:kek-of-2027" in said


def test_payload_needs_something_under_an_older_version(serving: Deployment) -> None:
    """Else an operator would believe that a compromised key protects nothing any more."""
    serving.run_here("keys", "reencrypt")

    refused = serving.run_here("keys", "reencrypt", "--payload", check=False)

    assert refused.returncode == 1
    assert "keys rotate` first" in refused.stderr


@pytest.mark.parametrize("answers", ["n\n", "y\nv99\n", "y\nOLD\n"])
def test_destruction_asks_twice(serving: Deployment, answers: str) -> None:
    old, _ = rotated(serving)
    serving.run_here("keys", "reencrypt")
    serving.run_here("keys", "retire", old)

    asked = serving.run("keys", "destroy", old, stdin=answers.replace("OLD", old), check=False)

    agreed = "OLD" in answers
    assert (asked.returncode == 0) is agreed
    history = json.loads(serving.run_here("keys", "history", "--json").stdout)
    last = json.loads(history[-1]["statement"])
    assert (last["event"], last["version"]) == ("destroyed" if agreed else "retired", old)


def test_a_changed_statement_is_found_out(serving: Deployment) -> None:
    with database_of(serving) as database:
        database.execute("ALTER TABLE key_events DISABLE TRIGGER ALL")
        database.execute(
            "UPDATE key_events SET statement = replace(statement, 'service', 'serviss')"
        )

        checked = serving.run_here("keys", "history", check=False)

        database.execute(
            "UPDATE key_events SET statement = replace(statement, 'serviss', 'service')"
        )
        database.execute("ALTER TABLE key_events ENABLE TRIGGER ALL")
    assert checked.returncode == 1
    assert "does not verify" in checked.stdout
    assert "does not verify" not in serving.run_here("keys", "history").stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_reencryption_ends_without_noise_and_is_taken_up_again(
    serving: Deployment, ending: signal.Signals
) -> None:
    _, new = rotated(serving)
    slow = subprocess.Popen(
        [sys.executable, "-m", "payment_token", *SLOWLY, "--env-file", serving.folder / ".env"],
        env=serving._environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while under(serving, new) == 0:
        assert slow.poll() is None
    slow.send_signal(ending)
    _, errors = slow.communicate(timeout=30)

    assert slow.returncode != 0
    assert "Traceback" not in errors
    assert 1 <= under(serving, new) < TOKENS
    serving.run_here("keys", "reencrypt")
    assert under(serving, new) == TOKENS
