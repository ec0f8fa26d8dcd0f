"""The look at the schema that spares most commands Alembic."""

import psycopg

from payment_token.infrastructure.database import migration, schema


def test_it_sees_what_alembic_sees(database_url: str, empty_database_url: str) -> None:
    assert schema.is_newest(database_url)
    assert not schema.is_newest(empty_database_url)
    migration.upgrade(empty_database_url, "0003")
    assert not schema.is_newest(empty_database_url)
    migration.upgrade(empty_database_url)
    assert schema.is_newest(empty_database_url)


def test_a_revision_that_this_code_does_not_know_is_not_the_newest(database_url: str) -> None:
    with psycopg.connect(database_url) as database:
        database.execute("UPDATE alembic_version SET version_num = 'f00d'")
    assert not schema.is_newest(database_url)


def test_a_database_that_does_not_answer_is_left_to_alembic() -> None:
    assert not schema.is_newest("postgresql://postgres@127.0.0.1:1/none")
