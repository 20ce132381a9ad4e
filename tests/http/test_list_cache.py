"""The cached list: whatever changes in the rows, or in the counts of their jobs, is in the next answer."""

import contextlib
import select

import pytest
from harness import fastcgi, routes
from harness.ports import free_port
from harness.proxy import Proxy
from harness.rows import TIMES, expected_migration, served_migration

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


# A short list is read each time; of a long one the database first says whether its rows have changed.
@pytest.fixture(scope="module", params=[3, 120], ids=["short", "long"])
def database(servers, request):
    with servers.database() as database:
        for number in range(request.param):
            database.add_migration(f"m{number}", total_tuple_count=1000)
        yield database


def expected(database):
    jobs = {
        row["id"]: (row["finished"], row["failed"])
        for row in database.rows(
            "SELECT batched_background_migration_id AS id, count(*) FILTER (WHERE status = 2) AS finished,"
            " count(*) FILTER (WHERE status = 3) AS failed FROM batched_background_migration_jobs GROUP BY 1"
        )
    }
    return [expected_migration(row, *jobs.get(row["id"], (0, 0))) for row in database.migrations()]


def assert_true_list(service, database, token):
    """Several times: read from the database, from the cache, and with its rows compared."""
    for _ in range(4):
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, token))
        assert answer.status == 200
        assert [served_migration(m) for m in answer.json["migrations"]] == expected(database)


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


@pytest.mark.parametrize("number", [1, 120])
def test_a_change_of_the_schema(servers, token, number):
    """A column that the registry renames, and one that it gives another value to without touching a row."""
    with servers.database(ages=5) as database, servers.service(database.name) as service:
        for name in range(number):
            database.add_migration(f"m{name}")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} ADD COLUMN sub_batch_size integer DEFAULT 9")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} DROP COLUMN sub_batch_size, ADD COLUMN sub_batch_size integer DEFAULT 8")
        assert_true_list(service, database, token)
        database.execute(f"ALTER TABLE {MIGRATIONS} RENAME COLUMN sub_batch_size TO something_else")
        assert_true_list(service, database, token)


def test_a_list_without_migrations(servers, token):
    with servers.database() as database, servers.service(database.name) as service:
        assert_true_list(service, database, token)
        identity = database.add_migration("only")
        assert_true_list(service, database, token)
        database.execute(f"DELETE FROM {MIGRATIONS} WHERE id = %s", (identity,))
        assert_true_list(service, database, token)


def test_a_long_list_that_becomes_short(servers, token):
    with servers.database() as database, servers.service(database.name) as service:
        for number in range(120):
            database.add_migration(f"m{number}")
        for left in (119, 100, 99, 1, 0):
            assert_true_list(service, database, token)
            database.execute(f"DELETE FROM {MIGRATIONS} WHERE id > {left}")
        assert_true_list(service, database, token)


def test_changes_that_are_not_committed_do_not_show(service, database, token):
    """Neither before they are, nor when they are taken back; and not for long after they are."""
    assert_true_list(service, database, token)
    with contextlib.closing(database.cluster.connect(database.name)) as writer:
        writer.autocommit = False
        for end in (writer.rollback, writer.commit):
            writer.cursor().execute(f"UPDATE {MIGRATIONS} SET batch_size = batch_size + 1")
            writer.cursor().execute(f"SAVEPOINT a; UPDATE {MIGRATIONS} SET min_value = min_value - 1")
            assert_true_list(service, database, token)
            end()
            assert_true_list(service, database, token)


def test_rows_that_move_stay_the_same(service, database, token):
    """VACUUM FULL writes each row elsewhere, FREEZE marks it as old; a lock leaves its mark on it."""
    assert_true_list(service, database, token)
    database.execute(f"VACUUM (FULL, FREEZE) {MIGRATIONS}")
    assert_true_list(service, database, token)
    database.execute(f"SELECT FROM {MIGRATIONS} FOR NO KEY UPDATE")
    assert_true_list(service, database, token)


@pytest.mark.parametrize("failed", [0, 1])
def test_a_worker_that_begins_and_ends_a_run(service, database, token, failed):
    """Nothing of the rows changes; whether a job is in flight does. What is asked depends on failed jobs."""
    database.execute("DELETE FROM batched_background_migration_jobs")
    database.add_jobs(database.migrations()[0]["id"], 3, failed)
    assert_true_list(service, database, token)

    def in_flight():
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, token))
        assert [served_migration(m) for m in answer.json["migrations"]] == expected(database)
        return answer.json["job_in_flight"]

    with contextlib.closing(database.cluster.connect(database.name)) as worker:
        worker.autocommit = False
        for _ in range(2):
            assert [in_flight() for _ in range(4)] == [False] * 4
            worker.cursor().execute("SELECT pg_try_advisory_xact_lock(1)")
            assert [in_flight() for _ in range(4)] == [True] * 4
            worker.rollback()
        assert not in_flight()


class CountingProxy(Proxy):
    """Counts what the database sends."""

    received = 0

    def _relay(self, near, far):
        with near, far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    try:
                        part = source.recv(65536)
                        (far if source is near else near).sendall(part)
                    except OSError:
                        return
                    self.received += len(part) if source is far else 0
                    if not part:
                        return


def test_an_unchanged_long_list_is_not_sent_again(servers, database, token):
    """By the database: only a line that says so."""
    proxy = CountingProxy(free_port(), ("127.0.0.1", servers.cluster.port))
    proxy.open()
    try:
        with servers.service(database.name, changes={"database": {"port": proxy.port}}) as service:
            assert_true_list(service, database, token)
            before = proxy.received
            assert_true_list(service, database, token)
            sent = (proxy.received - before) / 4
            number = len(database.migrations())
            assert sent < 2000 if number >= 100 else sent > 100 * number
    finally:
        proxy.close()
