"""Partitions come and go while requests go on, whatever is interrupted, and whoever else is at work."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from payment_token.domain.errors import AuditUnavailableError, DatabaseUnavailableError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.maintain import AUDIT_MONTHS_AHEAD, SPARE_DAYS, MaintenanceError
from payment_token.infrastructure.database import lock_patience, maintaining_connection, migration
from payment_token.infrastructure.database.audit_months import PostgresAuditMonths
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.partitions import partition_name
from tests.support.maintained import LONGEST, MaintainedDatabase, maintained_database

MERCHANT = MerchantId("m_1")


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[MaintainedDatabase]:
    async with maintained_database(database_url) as kept:
        yield kept


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_patience, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(maintaining_connection, "_SESSION", "-c lock_timeout=50ms")


async def test_what_expired_yesterday_goes_and_what_expires_today_stays(
    kept: MaintainedDatabase,
) -> None:
    gone = await kept.create_expired()
    stays = await kept.create()
    assert (gone.purge_day, stays.purge_day) == (kept.today, kept.tomorrow)

    done = await kept.maintain()

    assert done is not None
    assert done.complete
    assert await kept.store.get(MERCHANT, gone) is None
    assert await kept.store.get(MERCHANT, stays) is not None
    assert not kept.has_table(kept.today)
    assert min(kept.partitions()) == partition_name(kept.tomorrow)


async def test_a_second_run_finds_nothing_to_do(kept: MaintainedDatabase) -> None:
    first, second = await kept.maintain(), await kept.maintain()

    assert first is not None
    assert second is not None
    assert first.made > 0
    assert (second.made, second.dropped, second.keys, second.complete) == (0, 0, 0, True)


async def test_partitions_are_made_for_the_longest_life_and_two_weeks_more(
    kept: MaintainedDatabase,
) -> None:
    longest = timedelta(days=400)
    assert len(await kept.missing(longest)) > 300

    await kept.maintain(longest)

    assert await kept.missing(longest) == []
    assert await kept.missing(longest + timedelta(days=SPARE_DAYS)) == []
    assert len(await kept.missing(longest + timedelta(days=SPARE_DAYS + 1))) == 1
    for life in (timedelta(days=200), longest):
        token = await kept.create(life)
        assert await kept.store.get(MERCHANT, token) is not None


async def test_a_partition_that_was_made_is_like_those_of_the_migration(
    kept: MaintainedDatabase,
) -> None:
    shape = """
        SELECT relowner, reloptions, relpersistence, relacl,
               (SELECT array_agg((attname, atttypid, attnotnull)::text ORDER BY attnum)
                  FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0),
               (SELECT array_agg((regexp_replace(conname, '_\\d{4}_\\d\\d_\\d\\d', ''), contype, conislocal, coninhcount,
                                  pg_get_constraintdef(oid))::text ORDER BY conname)
                  FROM pg_constraint WHERE conrelid = pg_class.oid AND contype <> 'n')
          FROM pg_class WHERE oid = %s::regclass
        """
    theirs, ours = kept.tomorrow, kept.today + timedelta(days=10)
    assert not kept.has_table(ours)

    await kept.maintain()

    (expected,) = kept.database.execute(shape, (partition_name(theirs),)).fetchall()
    (made,) = kept.database.execute(shape, (partition_name(ours),)).fetchall()
    # The one of the migration has the checks from its table only; LIKE gives the new one its own as well.
    assert [str(column).replace("t,1", "f,1") for column in made] == [
        str(column).replace("t,1", "f,1") for column in expected
    ]


async def test_no_partition_is_an_outage_and_known_beforehand(kept: MaintainedDatabase) -> None:
    assert kept.tomorrow + timedelta(days=9) in await kept.missing(timedelta(days=9))

    with pytest.raises(DatabaseUnavailableError):
        await kept.create(timedelta(days=9))

    # Nothing of the create is left.
    assert kept.database.execute("SELECT count(*) FROM token_idempotency_keys").fetchone() == (0,)


@pytest.mark.parametrize(
    "reading",
    ["SELECT count(*) FROM payment_tokens", "SELECT count(*) FROM {partition}"],
    ids=["a dump", "a reader of the partition"],
)
@pytest.mark.usefixtures("impatient")
async def test_a_long_reader_puts_off_the_drop_and_holds_up_no_request(
    kept: MaintainedDatabase, reading: str
) -> None:
    gone = await kept.create_expired()
    with psycopg.connect(kept.url) as reader:
        reader.execute(reading.format(partition=partition_name(kept.today)))
        run = asyncio.create_task(kept.maintain())
        slowest = 0.0
        while not run.done():
            started = asyncio.get_running_loop().time()
            token = await kept.create()
            assert await kept.store.get(MERCHANT, token) is not None
            slowest = max(slowest, asyncio.get_running_loop().time() - started)
        done = await run
        assert done is not None
        assert kept.today in done.kept
        assert slowest < 1.0
        # What was waited for in vain did not keep the rest from being done.
        assert await kept.missing() == []

    finished = await kept.maintain()

    assert finished is not None
    assert finished.complete
    assert await kept.store.get(MERCHANT, gone) is None
    assert not kept.has_table(kept.today)


async def test_partitions_are_made_beside_open_transactions(kept: MaintainedDatabase) -> None:
    with psycopg.connect(kept.url) as writer, psycopg.connect(kept.url) as reader:
        writer.execute("LOCK TABLE payment_tokens IN ROW EXCLUSIVE MODE")
        reader.execute("SELECT count(*) FROM payment_tokens")
        async with kept.maintenance.alone() as tables:
            assert tables is not None
            await tables.make_partition(kept.today + timedelta(days=10))

    assert partition_name(kept.today + timedelta(days=10)) in kept.partitions()


@pytest.mark.usefixtures("impatient")
async def test_partitions_that_cannot_be_made_are_named(kept: MaintainedDatabase) -> None:
    with psycopg.connect(kept.url) as somebody:
        somebody.execute("LOCK TABLE payment_tokens IN SHARE UPDATE EXCLUSIVE MODE")
        done = await kept.maintain()

    assert done is not None
    assert not done.complete
    assert kept.today + timedelta(days=10) in done.missing
    assert (await kept.maintain() or done).complete


async def test_an_interrupted_detach_is_finished(kept: MaintainedDatabase) -> None:
    await kept.create_expired()
    await kept.maintain(LONGEST)
    late = await _another_day_is_due(kept)
    with psycopg.connect(kept.url) as reader:
        reader.execute("SELECT count(*) FROM payment_tokens")
        run = asyncio.create_task(kept.maintain())
        await _until_detaching(kept, late)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert kept.partitions()[late] is True

    done = await kept.maintain()

    assert done is not None
    assert (done.dropped, done.complete) == (1, True)
    assert late not in kept.partitions()


async def test_what_was_detached_and_not_dropped_is_dropped(kept: MaintainedDatabase) -> None:
    name = partition_name(kept.today)
    kept.database.execute(f"ALTER TABLE payment_tokens DETACH PARTITION {name} CONCURRENTLY")

    await kept.maintain()

    assert not kept.has_table(kept.today)


async def test_a_table_in_the_place_of_a_partition_is_named(kept: MaintainedDatabase) -> None:
    name = partition_name(kept.today + timedelta(days=10))
    kept.database.execute(f"CREATE TABLE {name} (a int)")

    with pytest.raises(MaintenanceError, match=name):
        await kept.maintain()


async def test_of_two_maintainers_one_does_nothing(kept: MaintainedDatabase) -> None:
    async with kept.maintenance.alone():
        assert await kept.maintain() is None
        assert kept.has_table(kept.today)

    assert await kept.maintain() is not None


async def test_a_maintainer_that_died_holds_up_nobody(kept: MaintainedDatabase) -> None:
    async def die() -> None:
        async with kept.maintenance.alone() as tables:
            assert tables is not None
            kept.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'payment-token maintenance' AND datname = current_database()"
            )
            await tables.today()

    with pytest.raises(DatabaseUnavailableError):
        await die()

    assert await kept.maintain() is not None


async def test_the_login_must_belong_to_the_owner_of_the_tables(kept: MaintainedDatabase) -> None:
    name = kept.database.info.dbname
    member, stranger = f"member_{name}", f"stranger_{name}"
    owner = f"owner_{name}"
    kept.database.execute(f"CREATE ROLE {owner}")
    for login in (member, stranger):
        kept.database.execute(f"CREATE ROLE {login} LOGIN")
    try:
        kept.database.execute(f"GRANT {owner} TO {member}")
        kept.database.execute(f"GRANT CREATE ON SCHEMA public TO {owner}")
        _give_tables_to(kept, owner)
        options = psycopg.conninfo.conninfo_to_dict(kept.url)

        refused = PostgresMaintenance(
            psycopg.conninfo.make_conninfo(**options | {"user": stranger})
        )
        with pytest.raises(MaintenanceError, match="member of the role that owns"):
            async with refused.alone():
                pass

        allowed = PostgresMaintenance(psycopg.conninfo.make_conninfo(**options | {"user": member}))
        async with allowed.alone() as tables:
            assert tables is not None
            await tables.drop_partition(kept.today)
            await tables.make_partition(kept.today + timedelta(days=10))
        owners = kept.database.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname ~ '^payment_tokens'"
        )
        assert owners.fetchall() == [(owner,)]
    finally:
        kept.database.execute(f"DROP OWNED BY {owner}, {member}, {stranger} CASCADE")
        kept.database.execute(f"DROP ROLE {owner}, {member}, {stranger}")


async def test_an_older_schema_is_named(empty_database_url: str) -> None:
    migration.upgrade(empty_database_url, "0002")

    with pytest.raises(MaintenanceError, match="db upgrade"):
        async with PostgresMaintenance(empty_database_url).alone():
            pass


async def test_a_database_that_is_away_is_an_outage() -> None:
    nowhere = PostgresMaintenance("postgresql://postgres@127.0.0.1:1/none")

    with pytest.raises(DatabaseUnavailableError):
        async with nowhere.alone():
            pass


async def _until_detaching(kept: MaintainedDatabase, partition: str) -> None:
    for _ in range(1000):
        if kept.partitions()[partition]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing is detached")


async def _another_day_is_due(kept: MaintainedDatabase) -> str:
    """A partition of today, as if the last run had been yesterday."""
    name = partition_name(kept.today)
    kept.database.execute(
        f"CREATE TABLE {name} PARTITION OF payment_tokens"
        f" FOR VALUES FROM ('{kept.today}') TO ('{kept.tomorrow}')"
    )
    kept.database.execute(f"ALTER TABLE {name} OWNER TO pt_maintainer")
    await kept.create_expired()
    return name


def _give_tables_to(kept: MaintainedDatabase, owner: str) -> None:
    tables = kept.database.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    ).fetchall()
    for (table,) in tables:
        kept.database.execute(f"ALTER TABLE {table} OWNER TO {owner}")


async def test_a_purge_is_on_record_before_it_happens(kept: MaintainedDatabase) -> None:
    await kept.create_expired()

    await kept.maintain()
    await kept.maintain()

    purged = kept.database.execute(
        "SELECT details ->> 'purge_day' FROM audit_records WHERE event = 'tokens_purged' ORDER BY recorded_at"
    ).fetchall()
    assert purged.count((str(kept.today),)) == 1


async def test_what_cannot_be_put_on_record_is_not_purged(kept: MaintainedDatabase) -> None:
    gone = await kept.create_expired()
    kept.database.execute("ALTER TABLE decrypt_audit_log ADD CONSTRAINT full_up CHECK (false)")

    with pytest.raises(AuditUnavailableError):
        await kept.maintain()

    assert await kept.store.get(MERCHANT, gone) is not None


async def test_months_of_the_audit_log_are_made_for_a_year(kept: MaintainedDatabase) -> None:
    months = PostgresAuditMonths(kept.pool)
    whole = await months.ahead()
    kept.database.execute(
        "DO $$ DECLARE part text; BEGIN FOR part IN SELECT inhrelid::regclass FROM pg_inherits"
        " WHERE inhparent = 'decrypt_audit_log'::regclass ORDER BY 1 DESC LIMIT 12"
        " LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$"
    )
    assert await months.ahead() == 1

    done = await kept.maintain()

    assert done is not None
    assert (done.audit_months, done.complete) == (12, True)
    assert await months.ahead() == whole == AUDIT_MONTHS_AHEAD


async def test_months_after_a_gap_do_not_count(kept: MaintainedDatabase) -> None:
    (second,) = kept.database.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'decrypt_audit_log'::regclass ORDER BY 1 OFFSET 1 LIMIT 1"
    ).fetchone() or ("",)
    kept.database.execute(f"DROP TABLE {second}")

    assert await PostgresAuditMonths(kept.pool).ahead() == 0
