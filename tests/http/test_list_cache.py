"""The cached list: whatever changes in the rows, or in the counts of their jobs, is in the next answer."""

import pytest
from harness import fastcgi, routes
from harness.rows import TIMES, of_database, served_migration

MIGRATIONS = "batched_background_migrations"

OTHER = {
    "name": "another name",
    "status": 4,
    "job_signature_name": "another signature",
    "table_name": "public.another",
    "column_name": "another",
    "batch_size": 77,
    "sub_batch_size": 7,
    "min_value": -5,
    "max_value": 5,
    "batching_strategy": "NullKeySetBatchingStrategy",
    "total_tuple_count": 123456,
    "failure_error_code": 4,
    **{time: "2026-02-03 04:05:06.789" for time in TIMES},
}


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
        for name in ("a", "b", "c"):
            database.add_migration(name, total_tuple_count=1000)
        yield database


@pytest.fixture(scope="module")
def service(house, database):
    with house.service(database.name) as service:
        yield service


def assert_true_list(service, database, token):
    """Twice: the second answer is the cached one."""
    for _ in range(2):
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, token))
        assert answer.status == 200
        assert [served_migration(m) for m in answer.json["migrations"]] == of_database(database)


def test_every_column_is_altered(database):
    (row, *_) = database.migrations()
    assert {"id", *OTHER} == set(row)


@pytest.mark.parametrize("column", OTHER)
@pytest.mark.parametrize("which", ["min", "max"])
def test_a_column_that_changes(service, database, token, column, which):
    """To another value, to NULL where it may be, and back."""
    row = database.rows(f"SELECT * FROM {MIGRATIONS} WHERE id = (SELECT {which}(id) FROM {MIGRATIONS})")[0]
    for value in (OTHER[column], *([None] if is_nullable(database, column) else []), row[column]):
        assert_true_list(service, database, token)
        database.execute(f"UPDATE {MIGRATIONS} SET {column} = %s WHERE id = %s", (value, row["id"]))
        assert_true_list(service, database, token)


def test_an_id_that_changes(service, database, token):
    assert_true_list(service, database, token)
    database.execute(f"UPDATE {MIGRATIONS} SET id = id + 100 WHERE id = (SELECT max(id) FROM {MIGRATIONS})")
    assert_true_list(service, database, token)


def is_nullable(database, column):
    statement = "SELECT is_nullable FROM information_schema.columns WHERE table_name = %s AND column_name = %s"
    return database.rows(statement, (MIGRATIONS, column))[0]["is_nullable"] == "YES"


@pytest.mark.parametrize("status", [2, 3])
def test_jobs_that_come(service, database, token, status):
    identity = database.rows(f"SELECT max(id) AS id FROM {MIGRATIONS}")[0]["id"]
    for _ in range(3):
        assert_true_list(service, database, token)
        database.add_jobs(identity, status, 1)
    assert_true_list(service, database, token)


def test_migrations_that_come_and_go(service, database, token):
    assert_true_list(service, database, token)
    identity = database.add_migration("d")
    assert_true_list(service, database, token)
    database.execute(f"DELETE FROM {MIGRATIONS} WHERE id = %s", (identity,))
    assert_true_list(service, database, token)
    database.execute(f"DELETE FROM {MIGRATIONS} WHERE id = (SELECT min(id) FROM {MIGRATIONS})")
    database.add_migration("e")
    assert_true_list(service, database, token)


def test_a_change_of_the_schema(house, token):
    """A column that the registry renames, and one that it gives another value to without touching a row."""
    with house.database(ages=5) as database, house.service(database.name) as service:
        database.add_migration("a")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} ADD COLUMN sub_batch_size integer DEFAULT 9")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} DROP COLUMN sub_batch_size, ADD COLUMN sub_batch_size integer DEFAULT 8")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} RENAME COLUMN sub_batch_size TO something_else")
        assert_true_list(service, database, token)


def test_a_list_without_migrations(house, token):
    with house.database() as database, house.service(database.name) as service:
        assert_true_list(service, database, token)
        identity = database.add_migration("only")
        assert_true_list(service, database, token)
        database.execute(f"DELETE FROM {MIGRATIONS} WHERE id = %s", (identity,))
        assert_true_list(service, database, token)
