"""``payment-token policy test``: a policy against the cases that it must decide rightly."""

from pathlib import Path

import typer
from rich.markup import escape

from payment_token.cli.policy import DENIED, FILE_HELP, explained, not_answered, read_policy
from payment_token.cli.terminal import console
from payment_token.domain.worker_policy import WorkerPolicy
from payment_token.infrastructure.policy_cases_file import PolicyCase, read_policy_cases


def run_cases(
    cases: Path = typer.Argument(..., help="The cases (TOML): see docs/policy.md."),
    file: Path | None = typer.Option(None, "--file", help=FILE_HELP),
) -> None:
    """Run cases through a policy. Exit 0 when it decides all of them as expected, 1 when not, 2 not answered."""
    with not_answered():
        found = read_policy_cases(cases)
        policy = read_policy(file)
    wrong = [case for case in found if policy.allows(case.identity, case.asked) is not case.allowed]
    for case in wrong:
        console.print(f"[red]Case {case.number}:[/] {escape(_what_is_wrong(policy, case))}")
    if wrong:
        console.print(f"{len(wrong)} of {len(found)} cases are not decided as expected.")
        raise typer.Exit(DENIED)
    console.print(f"[green]All {len(found)} cases are decided as expected.[/]")


def _what_is_wrong(policy: WorkerPolicy, case: PolicyCase) -> str:
    what = f"{case.identity}, {case.asked.operation} for {case.asked.merchant_id}"
    if not case.allowed:
        return f"{what} is allowed, and should be denied"
    grant = policy.grants.get(case.identity)
    reasons = (
        ["the policy does not name it"]
        if grant is None
        else [explained(part, grant) for part in grant.lacking(case.asked)]
    )
    return f"{what} is denied, and should be allowed: {'; '.join(reasons)}"
