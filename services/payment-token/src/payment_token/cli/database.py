"""``payment-token db``: the schema."""

import typer

from payment_token.cli.confirmation import confirm
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.development import restore_registrations
from payment_token.cli.terminal import console
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.reset import reset_db

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command()
def upgrade(revision: str = typer.Argument("head", help="The revision to come to.")) -> None:
    """Bring the schema to the newest version."""
    settings = load_settings()
    url = deployment_url(settings, for_migration=True)
    before = migration.current_revision(url)
    migration.upgrade(url, revision)
    after = migration.current_revision(url)
    console.print(
        f"The schema is at {after}."
        if before == after
        else f"The schema went from {before or 'nothing'} to {after}."
    )


@app.command()
def current() -> None:
    """Show the version of the schema, and the newest one."""
    settings = load_settings()
    url = database_url(settings) if settings.in_development else deployment_url(settings)
    console.print(
        f"database: {migration.current_revision(url) or 'empty'}\nnewest:   {migration.head_revision()}"
    )


@app.command()
def reset(yes: bool = typer.Option(False, "--yes", help="Do not ask.")) -> None:
    """Delete all data and make the schema anew. Refused in production."""
    settings = load_settings()
    confirm("Delete all data in the database of this deployment?", yes=yes)
    reset_db(settings)
    if settings.in_development and settings.local_keystore_file is not None:
        restore_registrations(settings)
    console.print("The database is empty, and its schema is new.")
