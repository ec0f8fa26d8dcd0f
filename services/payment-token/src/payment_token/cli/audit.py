"""``payment-token audit``: the group; each command is in a file of its own."""

import typer

app = typer.Typer(help="The audit log: read it, check it, keep it.", no_args_is_help=True)


@app.callback()
def group() -> None:
    # Without this a group of one command would be that command.
    pass
