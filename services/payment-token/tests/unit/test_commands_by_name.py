"""What one command needs, no other loads; and what is said of a command without loading it is what it says itself."""

import subprocess
import sys

import pytest

from payment_token.cli.commands import COMMANDS, imported

_WIDE = 200

# Each takes a command longer to load than its work.
_HEAVY = {
    "alembic",
    "boto3",
    "fastapi",
    "grpc",
    "httpx",
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "uvicorn",
}


def _loaded(statement: str) -> set[str]:
    """Which of the heavy libraries a new process has loaded after a statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return _HEAVY & set(run.stdout.split())


def _import_of(name: str) -> str:
    return f"from payment_token.cli.commands import imported; imported({name!r})"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listing_says_what_the_command_says(name: str) -> None:
    assert imported(name).get_short_help_str(_WIDE) == COMMANDS[name].help


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.more])
def test_a_group_has_its_commands_from_elsewhere(name: str) -> None:
    assert set(COMMANDS[name].more) <= set(imported(name).commands)


def test_help_and_mistakes_load_no_library() -> None:
    assert _loaded("import payment_token.cli.main") == set()


@pytest.mark.parametrize("name", ["keys", "bdk", "devices", "api-keys", "dev", "maintain"])
def test_a_command_loads_no_server_no_migrations_and_no_boto3(name: str) -> None:
    assert _loaded(_import_of(name)) == {"psycopg", "pydantic"}


def test_what_serves_loads_no_migrations_and_no_boto3() -> None:
    assert _loaded(_import_of("serve")) == {"fastapi", "grpc", "psycopg", "pydantic", "uvicorn"}
