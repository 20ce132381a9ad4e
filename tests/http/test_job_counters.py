"""The job counters, which follow the jobs instead of counting them at every request: equal to a fresh count
after each of many random steps, in two processes at once."""

import os
import random
import time

import pytest
from harness import fastcgi, routes
from harness.rows import expected_progress

STEPS = 400
RECOUNT = 0.5

FRESH = """
SELECT m.*,
       (SELECT count(*) FROM batched_background_migration_jobs AS j
         WHERE j.batched_background_migration_id = m.id AND j.status = 2) AS finished,
       (SELECT count(*) FROM batched_background_migration_jobs AS j
         WHERE j.batched_background_migration_id = m.id AND j.status = 3) AS failed
  FROM batched_background_migrations AS m
 ORDER BY m.id
"""


@pytest.fixture(scope="module")
def services(servers, database):
    """Two processes on one database, each with counters of its own."""
    changes = {"fcgi": {"recount": f"{int(RECOUNT * 1000)}ms"}}
    with servers.service(database.name) as first, servers.service(database.name, changes) as second:
        yield first, second


def ask(service, token, path=routes.LIST, method="GET"):
    answer = fastcgi.ask(service.address, fastcgi.parameters(method, path, token))
    assert answer.status == 200, answer.body
    return answer.json


def fresh(database):
    return {row["id"]: row for row in database.rows(FRESH)}


def served(migration):
    progress = migration.get("progress")
    return (
        migration["finished_jobs"],
        migration["failed_jobs"],
        None if progress is None else float(progress),
        migration.get("capped"),
    )


def counted(row):
    return (row["finished"], row["failed"], *expected_progress(row, row["finished"]))


def assert_right(service, database, token, one):
    rows = fresh(database)
    listed = {m["id"]: served(m) for m in ask(service, token)["migrations"]}
    assert listed == {identity: counted(row) for identity, row in rows.items()}
    migration = ask(service, token, f"{routes.LIST}{one}/")["migration"]
    assert served(migration) == counted(rows[one])


class Work:
    """What workers and restarts do to jobs (contract, section 7); each step is one transaction."""

    def __init__(self, database, chance):
        self.database = database
        self.chance = chance
        self.migrations = [
            database.add_migration(f"m{n}", status=4, batch_size=10, total_tuple_count=900)
            for n in range(6)
        ]

    def any(self):
        return self.chance.choice(self.migrations)

    def add(self):
        for _ in range(self.chance.choice((1, 1, 1, 2, 30))):
            self.database.add_jobs(self.any(), self.chance.choice((2, 2, 2, 3)), 1, attempts=1)

    def retry(self):
        """A worker retries the failed job of lowest id, several times between two requests."""
        migration = self.any()
        for _ in range(self.chance.choice((1, 2, 12))):
            self.database.execute(
                "UPDATE batched_background_migration_jobs SET attempts = attempts + 1, status = %s"
                " WHERE id = (SELECT min(id) FROM batched_background_migration_jobs"
                " WHERE batched_background_migration_id = %s AND status = 3)",
                (self.chance.choice((2, 2, 3)), migration),
            )

    def finish_and_go_on(self):
        for status in (2, 4):
            self.database.execute(
                "UPDATE batched_background_migrations SET status = %s WHERE id = %s", (status, self.any())
            )

    def fail_many(self):
        """More failed jobs than the counters keep one by one."""
        self.database.execute(
            "INSERT INTO batched_background_migration_jobs"
            " (batched_background_migration_id, min_value, max_value, status)"
            " SELECT %s, 1, 2, 3 FROM generate_series(1, 300)",
            (self.any(),),
        )

    def new_migration(self):
        self.migrations.append(
            self.database.add_migration(f"m{len(self.migrations)}", status=1, batch_size=10)
        )

    def step(self):
        kinds = (self.add, self.retry, self.finish_and_go_on, self.fail_many, self.new_migration)
        self.chance.choices(kinds, weights=(60, 30, 6, 1, 1))[0]()


def test_counts_equal_a_fresh_count_at_every_step(services, database, token):
    seed = int(os.environ.get("BBM_SEED") or random.randrange(10**9))
    print(f"BBM_SEED={seed}")
    chance = random.Random(seed)
    database.clear()
    work = Work(database, chance)
    for _ in range(STEPS):
        for _ in range(chance.randrange(4)):
            work.step()
        assert_right(chance.choice(services), database, token, work.any())


def assert_right_in_time(service, database, token):
    """Right again within the bound that the manual page states: with the first request after it."""
    time.sleep(RECOUNT + 0.1)
    ask(service, token)
    assert_right(service, database, token, fresh(database).popitem()[0])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM batched_background_migration_jobs WHERE id % 3 = 0",
        "UPDATE batched_background_migration_jobs SET status = 3 WHERE status = 2 AND id % 2 = 0",
        "UPDATE batched_background_migration_jobs SET status = 2 WHERE status = 3",
        "DELETE FROM batched_background_migrations WHERE id = (SELECT min(id) FROM batched_background_migrations)",
        "TRUNCATE batched_background_migration_jobs RESTART IDENTITY",
        "UPDATE batched_background_migration_jobs SET id = id + 5000",
    ],
)
def test_changes_with_psql_show_within_the_bound(services, database, token, statement):
    database.clear()
    work = Work(database, random.Random(7))
    for _ in range(20):
        work.add()
    service = services[1]
    assert_right(service, database, token, work.any())
    database.execute(statement)
    assert_right_in_time(service, database, token)


def test_migration_removed_and_its_id_used_again(services, database, token):
    database.clear()
    work = Work(database, random.Random(8))
    for _ in range(20):
        work.add()
    service = services[1]
    identity = work.migrations[0]
    assert_right(service, database, token, identity)
    database.execute("DELETE FROM batched_background_migrations WHERE id = %s", (identity,))
    database.add_migration("again", id=identity, status=1)
    database.add_jobs(identity, 2, 3)
    assert_right_in_time(service, database, token)


def test_pause_does_not_wait_for_a_full_count(servers, database, keys):
    """A lock on the jobs table stops the count; the pause needs no job."""
    database.clear()
    database.add_migration("m", status=1)
    token = keys.token("*")
    with servers.service(database.name) as service, database.cluster.connect(database.name) as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE batched_background_migration_jobs IN ACCESS EXCLUSIVE MODE")
        with fastcgi.Connection(service.address) as lister:
            lister.send(fastcgi.request_bytes(fastcgi.parameters("GET", routes.LIST, token)))
            assert database.someone_waits_for_a_lock()
            paused = ask(service, token, routes.PAUSE, "POST")
            assert [m["id"] for m in paused["migrations"]] == [1]
            holder.rollback()
            assert lister.answer().json["migrations"][0]["status"] == "paused"
    holder.close()
