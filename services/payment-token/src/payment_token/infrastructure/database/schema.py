"""Whether the schema is the newest, by a look that does without Alembic: most commands find nothing to migrate."""

import re

import psycopg

from payment_token.settings import SERVICE_FOLDER

_CONNECT_SECONDS = 5

_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)
_BEFORE_IT = re.compile(r'^down_revision = "(\w+)"$', re.MULTILINE)


def is_newest(url: str) -> bool:
    """False also where that is not known. What is wrong then, a migration says."""
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except psycopg.Error:
        return False
    return {revision for (revision,) in rows} == _newest()


def _newest() -> set[str]:
    """The revisions that none comes after."""
    texts = [file.read_text() for file in (SERVICE_FOLDER / "alembic" / "versions").glob("*.py")]
    revisions = {found for text in texts for found in _REVISION.findall(text)}
    return revisions - {found for text in texts for found in _BEFORE_IT.findall(text)}
