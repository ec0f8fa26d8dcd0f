"""The commands by name, and where each is.

One that is called is imported then, with all it needs. So help and mistakes are answered at once, and no command waits
for what another needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Command:
    """``place`` is a function, or the Typer of a group; ``more`` are commands of the group that are elsewhere."""

    place: str
    help: str
    hidden: bool = False
    more: Mapping[str, str] = field(default_factory=dict)


COMMANDS = {
    "serve": Command("serve:serve", "Run the service until SIGTERM or Ctrl-C."),
    "serve-one-of-many": Command(
        "serve_one_of_many:serve_one_of_many",
        "One of the processes of `serve --workers`, which starts it.",
        hidden=True,
    ),
    "maintain": Command(
        "maintain:maintain",
        "Make the partitions of the days ahead, drop what has expired, end overdue SAD.",
    ),
    "doctor": Command(
        "doctor:doctor",
        "Check the configuration, the cryptography, the database and its login, the keys and the certificates.",
    ),
    "quickstart": Command(
        "quickstart:quickstart",
        "Set up a development deployment, run the main job through it, and show each step.",
    ),
    "db": Command("database:app", "The database schema."),
    "dev": Command("development:app", "A deployment for development."),
    "bdk": Command("bdk:app", "Base derivation keys.", more={"import": "bdk_import:import_bdk"}),
    "keys": Command(
        "keys:app",
        "The keys above stored data: rotation and its history.",
        more={
            "init": "first_keys:init",
            "make-kek": "key_rotation:make_kek",
            "rotate": "key_rotation:rotate",
            "reencrypt": "reencrypt:reencrypt",
            "retire": "key_rotation:retire",
            "destroy": "key_rotation:destroy",
            "replace-lost-signing-key": "key_rotation:replace_lost_signing_key",
        },
    ),
    "devices": Command(
        "devices:app",
        "Terminals.",
        more={
            "provision": "devices_provision:provision",
            "events": "devices_events:list_events",
            "import": "devices_import:import_devices",
            "list": "devices_listed:list_devices",
            "show": "devices_listed:show",
            "suspend": "devices_states:suspend",
            "reactivate": "devices_states:reactivate",
            "report-stolen": "devices_states:report_stolen",
            "retire": "devices_states:retire",
            "reset-counter": "devices_states:reset_counter",
            "unbar": "devices_unbar:unbar",
            "profiles": "device_profiles:app",
        },
    ),
    "audit": Command(
        "audit:app",
        "The audit log: read it, check it, keep it.",
        more={
            "search": "audit_search:search",
            "review": "audit_review:review_log",
            "verify": "audit_verify:verify",
            "prove": "audit_prove:prove",
            "witness": "audit_witness:witness",
            "export": "audit_export:export",
            "archive": "audit_archive:archive",
            "hold": "audit_hold:app",
            "keys": "audit_keys:keys",
        },
    ),
    "recover": Command(
        "recover:recover",
        "After a restore from backup: bring back what the audit log has seen since.",
    ),
    "policy": Command(
        "policy:app",
        "The worker policy: ask it, and test it, before a service reads it.",
        more={"test": "policy_cases:run_cases"},
    ),
    "api-keys": Command(
        "api_keys:app", "API keys of POS integrators.", more={"list": "api_keys_listed:list_keys"}
    ),
    "diagnose": Command(
        "diagnose:diagnose",
        "Find out how a payload was encrypted, or why it does not decrypt.",
    ),
    "simulate": Command(
        "simulate:app", "Terminals in software.", more={"fleet": "simulate_fleet:fleet"}
    ),
}


class CommandsByName(TyperGroup):
    """Lists what :func:`announce` says of the commands, and puts the command itself in its place once it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        # There is none while a shell completes a line that has a mistake in it.
        return name, None if name is None else imported(name), rest


def announce(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        app.command(name, help=command.help, hidden=command.hidden)(_announced)


@cache
def imported(name: str) -> Any:
    """The command as Typer runs it."""
    command = COMMANDS[name]
    app = typer.Typer(rich_markup_mode=None)
    target = _at(command.place)
    if isinstance(target, typer.Typer):
        for another, place in command.more.items():
            _add(target, another, _at(place))
        app.add_typer(target, name=name)
    else:
        app.command(name)(target)
    return typer.main.get_group(app).commands[name]


def _add(group: typer.Typer, name: str, command: Any) -> None:
    if isinstance(command, typer.Typer):
        group.add_typer(command, name=name)
    else:
        group.command(name)(command)


def _at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"payment_token.cli.{module}"), name)


def _announced() -> None:
    """Stands for a command that has not been called."""
