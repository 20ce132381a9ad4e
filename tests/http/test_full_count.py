"""A full count of the jobs: when it fails, and when the two tables do not fit together."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.postgres import SERVICE_ROLE
from harness.resource import ResourceUsage

JOBS = "batched_background_migration_jobs"
MIGRATIONS = "batched_background_migrations"
FAILED, FINISHED = 3, 2

# A row that nobody may read while the table `broken` has one. A sequence keeps the number of tries, as
# the rollback of a failed statement does not reach it.
BREAKABLE = f"""
CREATE TABLE broken ();
CREATE SEQUENCE tries;
GRANT SELECT ON broken TO {SERVICE_ROLE};
GRANT USAGE ON tries TO {SERVICE_ROLE};
CREATE FUNCTION readable(id bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF id = 1 AND EXISTS (SELECT FROM public.broken) THEN
        PERFORM nextval('public.tries');
        RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
    END IF;
    RETURN true;
END $$;
ALTER TABLE {JOBS} ENABLE ROW LEVEL SECURITY;
CREATE POLICY breakable ON {JOBS} USING (readable(id));
"""


@pytest.fixture
def database(servers):
    with servers.database() as database:
        yield database


def list_of(service, token):
    answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, token))
    assert answer.status == 200, answer.body
    return {m["id"]: (m["finished_jobs"], m["failed_jobs"]) for m in answer.json["migrations"]}


def statements(service):
    """How many statements the service has sent so far."""
    answer = fastcgi.ask(service.address, fastcgi.parameters("GET", "/-/liveness"))
    assert answer.status == 200
    text = fastcgi.ask(service.address, fastcgi.parameters("GET", "/-/metrics")).body.decode()
    name = "bbm_fcgi_database_statement_duration_seconds_count "
    return int(next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name))


def tries(database):
    return database.rows("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM tries")[0]["n"]


def warnings(service, about):
    return [line for line in service.lines() if about in line]


def test_a_due_count_that_fails_is_served_from_the_counts_that_are_good(servers, database, token):
    """Exact all the while: a full count only finds out what no worker does."""
    migration = database.add_migration("m", status=4)
    database.add_jobs(migration, FINISHED, 20)
    database.add_jobs(migration, FAILED, 3)
    database.execute(BREAKABLE)
    with servers.service(database.name, changes={"fcgi": {"recount": "100ms"}}) as service:
        assert list_of(service, token) == {migration: (20, 3)}
        database.execute("INSERT INTO broken DEFAULT VALUES")
        for finished in range(21, 200):
            database.add_jobs(migration, FINISHED, 1)
            assert list_of(service, token) == {migration: (finished, 3)}
            if tries(database) >= 2:
                break
            time.sleep(0.05)
        assert tries(database) >= 2, "it is tried again"
        assert len(warnings(service, "counting all jobs failed")) == 1
        database.execute("DELETE FROM broken")
        database.execute(f"DELETE FROM {JOBS} WHERE id = 2")  # what only a full count finds
        for _ in range(100):
            if list_of(service, token) == {migration: (finished - 1, 3)}:
                break
            time.sleep(0.05)
        assert list_of(service, token) == {migration: (finished - 1, 3)}
        assert len(warnings(service, "counting all jobs failed")) == 1


def test_a_full_count_that_hangs_leaves_time_for_the_list(servers, database, token):
    migration = database.add_migration("m", status=4)
    database.add_jobs(migration, FINISHED, 20)
    database.execute(BREAKABLE.replace("RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'", "PERFORM pg_sleep(60)"))
    changes = {"fcgi": {"recount": "100ms", "timeout": "2s"}}
    with servers.service(database.name, changes=changes) as service:
        assert list_of(service, token) == {migration: (20, 0)}
        database.execute("INSERT INTO broken DEFAULT VALUES")
        time.sleep(0.3)
        assert list_of(service, token) == {migration: (20, 0)}
        assert len(warnings(service, "counting all jobs failed")) == 1


@contextlib.contextmanager
def without_foreign_key(database):
    (key,) = database.rows(
        f"SELECT conname FROM pg_constraint WHERE conrelid = '{JOBS}'::regclass AND contype = 'f'"
    )
    database.execute(f"ALTER TABLE {JOBS} DROP CONSTRAINT {key['conname']}")
    yield


def assert_few_statements(service, database, token, expected, most=4):
    before = statements(service)
    assert list_of(service, token) == expected
    assert statements(service) - before <= most + 3, "the scrape itself sends up to three"
    one = next(iter(expected))
    answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.one(one), token))
    migration = answer.json["migration"]
    assert (migration["finished_jobs"], migration["failed_jobs"]) == expected[one]


@pytest.mark.parametrize("number", [1, 400])
@pytest.mark.parametrize("status", [FINISHED, FAILED])
@pytest.mark.parametrize("place", ["first", "last"])
def test_jobs_of_unknown_migrations_do_not_count(servers, database, token, number, status, place):
    with without_foreign_key(database):
        migration = database.add_migration("m", status=4)
        if place == "last":
            database.add_jobs(migration, FINISHED, 5)
        database.add_jobs(999, status, number)
        if place == "first":
            database.add_jobs(migration, FINISHED, 5)
        with servers.service(database.name) as service:
            assert_few_statements(service, database, token, {migration: (5, 0)})
            database.add_jobs(999, status, number)
            database.add_jobs(migration, FAILED, 1)
            assert_few_statements(service, database, token, {migration: (5, 1)})
            database.execute(f"UPDATE {JOBS} SET status = 2 WHERE batched_background_migration_id = {migration}")
            assert_few_statements(service, database, token, {migration: (6, 0)})


@pytest.mark.parametrize("id_", [0, -1, 2**63 - 1])
def test_jobs_with_ids_that_no_sequence_gives(servers, database, token, id_):
    migration = database.add_migration("m", status=4)
    database.insert(JOBS, {"id": id_, "batched_background_migration_id": migration, "min_value": 1, "max_value": 2,
                           "status": FAILED})  # fmt: skip
    with servers.service(database.name) as service:
        assert_few_statements(service, database, token, {migration: (0, 1)})
        database.execute(f"UPDATE {JOBS} SET status = 2")
        assert_few_statements(service, database, token, {migration: (1, 0)})


def test_migrations_that_row_security_hides(servers, database, token):
    seen = database.add_migration("seen", status=4)
    hidden = database.add_migration("hidden", status=4)
    database.add_jobs(hidden, FAILED, 3)
    database.add_jobs(seen, FINISHED, 2)
    database.add_jobs(hidden, FINISHED, 1)
    database.execute(
        f"ALTER TABLE {MIGRATIONS} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY visible ON {MIGRATIONS} USING (id <> {hidden})"
    )
    with servers.service(database.name) as service:
        assert_few_statements(service, database, token, {seen: (2, 0)})


def test_two_full_counts_at_most_for_one_request(servers, database, token):
    """Other jobs for every statement: no state that was counted is ever found again."""
    migration = database.add_migration("m", status=4)
    database.add_jobs(migration, FAILED, 200)
    database.execute(
        f"ALTER TABLE {JOBS} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY dice ON {JOBS} USING (random() < 0.5)"
    )
    with servers.service(database.name) as service:
        before = statements(service)
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, token))
        assert answer.status == 200, answer.body
        assert 50 < answer.json["migrations"][0]["failed_jobs"] < 150
        assert statements(service) - before <= 2 * (2 * 2 + 4)


class TestManyFailedJobs:
    """What is kept of them is bounded, and counts stay exact."""

    MIGRATIONS, EACH = 10, 1500

    @pytest.fixture(scope="class")
    def many(self, servers):
        with servers.database() as database:
            for number in range(1, self.MIGRATIONS + 1):
                database.add_migration(f"m{number}", status=4)
            database.execute(
                f"INSERT INTO {JOBS} (batched_background_migration_id, min_value, max_value, status, attempts)"
                f" SELECT n % {self.MIGRATIONS} + 1, n, n, 2 + n / {self.MIGRATIONS} % 2, 1"
                f" FROM generate_series(0, {2 * self.MIGRATIONS * self.EACH - 1}) AS n"
            )
            yield database

    def expected(self, database):
        rows = database.rows(
            "SELECT batched_background_migration_id AS id, count(*) FILTER (WHERE status = 2) AS finished,"
            f" count(*) FILTER (WHERE status = 3) AS failed FROM {JOBS} GROUP BY 1"
        )
        return {row["id"]: (row["finished"], row["failed"]) for row in rows}

    def test_memory_does_not_grow_with_their_number(self, servers, many, token):
        with servers.database() as few:
            for number in range(1, self.MIGRATIONS + 1):
                few.add_migration(f"m{number}", status=4)
            grown = [self.memory_after_lists(servers, database, token) for database in (few, many)]
        assert None in grown or abs(grown[1] - grown[0]) < 512, f"KiB without and with failed jobs: {grown}"

    def memory_after_lists(self, servers, database, token):
        with servers.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
            for _ in range(100):
                list_of(service, token)
            usage = ResourceUsage(service)
            return None if usage.sanitized else usage.kilobytes

    def test_eight_threads_stay_below_twelve_mebibytes(self, servers, many, token):
        """Under a load that keeps all of them busy, and after it."""
        with servers.service(many.name, changes={"fcgi": {"threads": 8}}) as service, ThreadPoolExecutor(16) as clients:
            list(clients.map(lambda _: [list_of(service, token) for _ in range(50)], range(16)))
            usage = ResourceUsage(service)
            assert usage.sanitized or usage.kilobytes < 12 * 1024

    def test_counts_follow_a_worker_that_retries(self, servers, many, token):
        with servers.service(many.name) as service:
            assert list_of(service, token) == self.expected(many)
            for step in range(80):
                many.execute(
                    f"UPDATE {JOBS} SET status = 2 WHERE id IN (SELECT id FROM {JOBS} WHERE status = 3"
                    f" AND batched_background_migration_id = %s ORDER BY id LIMIT %s)",
                    (1 + step % 2, 1 + step % 11),
                )
                many.add_jobs(1 + step % 3, 2 + step % 2, 1)
                assert list_of(service, token) == self.expected(many)
