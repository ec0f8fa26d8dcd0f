"""Asks before what cannot be taken back."""

import sys

import typer


def confirm(question: str, *, yes: bool) -> None:
    """Returns when the answer is yes. Ends the command with 1 when it is no, with 2 when nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        typer.echo(f"{question} Without a terminal to ask at, say --yes.", err=True)
        raise typer.Exit(2)
    typer.confirm(question, abort=True)
