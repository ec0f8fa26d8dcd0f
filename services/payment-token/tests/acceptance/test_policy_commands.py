"""The worker policy is asked and tested by commands, as an operator and a pipeline do."""

import json
from pathlib import Path

import pytest

from payment_token.bootstrap.listeners import Role
from payment_token.cli.doctor import _policy_rows
from payment_token.cli.main import main
from payment_token.infrastructure.development_certificates import DevelopmentAuthority
from payment_token.settings import Environment, Settings

SETTLEMENT = "spiffe://example.org/worker/settlement"
POLICY = f"""
[[worker]]
identity = "{SETTLEMENT}"
merchants = ["m_4711"]
purposes = ["capture"]
fields = ["pan", "expiry"]

[[worker]]
identity = "completer.example.org"
merchants = ["*"]
purposes = []
fields = []
operations = ["authorization-complete"]

[[worker]]
identity = "limited.example.org"
merchants = ["m_4711"]
purposes = ["capture"]
fields = ["pan"]
budget = {{ tokens = 10000, window_seconds = 3600 }}
rate = {{ requests = 200, per_seconds = 1 }}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code, and all that was printed, on one line."""
    code = 0
    try:
        main([*map(str, arguments)])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    printed = capsys.readouterr()
    return code, " ".join((printed.out + printed.err).split())


def asked(policy: Path, *more: str, identity: str = SETTLEMENT) -> tuple[str | Path, ...]:
    return "policy", "check", "--file", policy, "--identity", identity, *more


def test_what_is_granted_is_allowed(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = asked(policy, "--merchant", "m_4711", "--purpose", "capture")

    assert answered(capsys, *question) == (
        0,
        f"Allowed by the grant of {SETTLEMENT}. rate: no limit budget: no limit",
    )
    code, printed = answered(capsys, *question, "--json")
    assert code == 0
    assert json.loads(printed) == {
        "allowed": True,
        "identity": SETTLEMENT,
        "known": True,
        "lacking": [],
        "budget": None,
        "rate": None,
    }


def test_limits_are_told_with_what_is_allowed(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = asked(
        policy,
        *("--merchant", "m_4711", "--purpose", "capture", "--fields", "pan"),
        identity="limited.example.org",
    )

    code, printed = answered(capsys, *question)
    assert code == 0
    assert "rate: 200 requests in 1 second" in printed
    assert "budget: 10,000 different tokens in 3,600 seconds" in printed
    _, printed = answered(capsys, *question, "--json")
    found = json.loads(printed)
    assert found["budget"] == {"tokens": 10000, "window_seconds": 3600}
    assert found["rate"] == {"requests": 200, "per_seconds": 1}


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("budget = { tokens = 0, window_seconds = 60 }", "worker.0.budget.tokens"),
        ("budget = { tokens = 5 }", "worker.0.budget.window_seconds: Field required"),
        ("budget = { tokens = 5, window_seconds = 86401 }", "less than or equal to 86400"),
        ("budget = { tokens = 5, window_seconds = 0 }", "greater than or equal to 1"),
        ("budget = { tokens = 5, window_hours = 1 }", "worker.0.budget.window_hours"),
        ("budget = 5", "worker.0.budget"),
        ("budget = { tokens = true, window_seconds = 60 }", "worker.0.budget.tokens"),
        ('budget = { tokens = "5", window_seconds = 60 }', "worker.0.budget.tokens"),
        ("rate = { requests = 1.5, per_seconds = 1 }", "worker.0.rate.requests"),
        ("rate = { requests = 0, per_seconds = 1 }", "worker.0.rate.requests"),
        ("rate = { requests = 5, per_seconds = 3601 }", "less than or equal to 3600"),
        ("rate = { requests = 5 }", "worker.0.rate.per_seconds: Field required"),
        ("rates = { requests = 5, per_seconds = 1 }", "worker.0.rates"),
    ],
)
def test_a_limit_that_is_none_is_named(
    tmp_path: Path, limit: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And never taken for no limit."""
    path = tmp_path / "p.toml"
    path.write_text(
        f'[[worker]]\nidentity = "w"\nmerchants = []\npurposes = []\nfields = []\n{limit}\n'
    )

    code, printed = answered(capsys, *asked(path, "--merchant", "m_1", "--purpose", "a"))

    assert code == 2
    assert said in printed


def test_a_completion_is_asked_without_a_purpose(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    completion = ("--merchant", "m_1", "--operation", "authorization-complete")

    assert answered(capsys, *asked(policy, *completion, identity="completer.example.org"))[0] == 0
    code, printed = answered(capsys, *asked(policy, *completion))
    assert code == 1
    assert "operations: its grant has decrypt" in printed
    assert "merchants: its grant has m_4711" in printed


def test_each_part_that_is_lacking_is_named(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = asked(policy, "--merchant", "m_4712", "--purpose", "refund", "--fields", "pan,sad")

    code, printed = answered(capsys, *question)

    assert code == 1
    assert "merchants: its grant has m_4711" in printed
    assert "purposes: its grant has capture" in printed
    assert "fields: its grant has expiry, pan" in printed
    code, printed = answered(capsys, *question, "--json")
    assert code == 1
    assert json.loads(printed)["lacking"] == ["merchants", "purposes", "fields"]


def test_whoever_is_not_named_is_denied(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = asked(policy, "--merchant", "m_4711", "--purpose", "capture", identity="[red]nobody")

    code, printed = answered(capsys, *question)

    assert (code, printed) == (1, "Denied: the policy does not name [red]nobody.")


def test_the_identity_of_a_certificate(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker, nobody = tmp_path / "worker.pem", tmp_path / "nobody.pem"
    authority = DevelopmentAuthority()
    worker.write_text(authority.issue_worker(SETTLEMENT).certificate_pem)
    nobody.write_text(authority.issue_server("*.example.org").certificate_pem)
    question = ("policy", "check", "--file", policy, "--merchant", "m_4711", "--purpose", "capture")

    assert answered(capsys, *question, "--certificate", worker)[0] == 0
    code, printed = answered(capsys, *question, "--certificate", nobody)
    assert code == 2
    assert "names no worker now" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--merchant", "m_1"), "--purpose: a decrypt has one"),
        (("--merchant", "m_1", "--purpose", "No"), "--purpose: a decrypt has one"),
        (("--merchant", "*", "--purpose", "a"), "--merchant: that cannot be"),
        (("--merchant", "m_1", "--purpose", "a", "--fields", "cvv"), "--fields: of pan, expiry"),
        (("--merchant", "m_1", "--purpose", "a", "--fields", ""), "--fields: of pan, expiry"),
        (("--merchant", "m_1", "--purpose", "a", "--operation", "x"), "Invalid value"),
        (("--merchant", "m_1", "--purpose", "a", "--certificate", "c"), "either --identity or"),
    ],
)
def test_a_question_that_cannot_be_asked_is_no_answer(
    policy: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = answered(capsys, *asked(policy, *arguments))

    assert code == 2
    assert said in printed


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("[[worker", "not valid TOML"), ("[[workers]]", "workers")],
)
def test_a_policy_that_cannot_be_read_is_no_answer(
    tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.toml"
    if content is not None:
        path.write_text(content)

    code, printed = answered(capsys, *asked(path, "--merchant", "m_1", "--purpose", "a"))

    assert code == 2
    assert said in printed


def case(expect: str, **changed: str) -> str:
    members = {"identity": SETTLEMENT, "merchant": "m_4711", "purpose": "capture"} | changed
    return "[[case]]\n" + "".join(
        f'{name} = "{value}"\n' for name, value in {**members, "expect": expect}.items()
    )


def test_cases_that_are_decided_as_expected(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text(
        case("allow") + case("deny", merchant="m_4712") + case("deny", identity="nobody")
    )

    assert answered(capsys, "policy", "test", cases, "--file", policy) == (
        0,
        "All 3 cases are decided as expected.",
    )


def test_cases_that_are_not_are_named_with_the_reason(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text(
        case("allow") + case("deny") + case("allow", purpose="refund") + case("allow", identity="x")
    )

    code, printed = answered(capsys, "policy", "test", cases, "--file", policy)

    assert code == 1
    assert "Case 1" not in printed
    assert f"Case 2: {SETTLEMENT}, decrypt for m_4711 is allowed, and should be denied" in printed
    assert "Case 3" in printed
    assert "purposes: its grant has capture" in printed
    assert "Case 4: x, decrypt for m_4711 is denied, and should be allowed: the policy" in printed
    assert "3 of 4 cases" in printed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "case"),
        ("[[case", "not valid TOML"),
        (case("maybe"), "expect"),
        (case("allow").replace('purpose = "capture"\n', ""), "a decrypt has a purpose"),
        (case("allow", note="x"), "note"),
        (case("allow", merchant="*"), "merchant"),
    ],
)
def test_cases_that_cannot_be_read_are_no_answer(
    policy: Path, tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.toml"
    if content is not None:
        cases.write_text(content)

    code, printed = answered(capsys, "policy", "test", cases, "--file", policy)

    assert code == 2
    assert said in printed


@pytest.mark.parametrize(
    ("environment", "roles", "named"),
    [
        (Environment.PRODUCTION, [Role.INTERNAL], True),
        (Environment.PRODUCTION, [Role.PUBLIC], False),
        (Environment.DEVELOPMENT, [Role.PUBLIC, Role.INTERNAL], False),
    ],
)
def test_doctor_names_the_workers_that_have_no_budget(
    policy: Path, environment: Environment, roles: list[Role], *, named: bool
) -> None:
    settings = Settings(environment=environment, worker_policy_file=policy)

    rows = _policy_rows(settings, roles)

    assert [(severity, SETTLEMENT in advice) for severity, _, advice in rows] == (
        [("unwise", True)] if named else []
    )
    for _, _, advice in rows:
        assert "limited.example.org" not in advice
        # It releases nothing.
        assert "completer.example.org" not in advice
