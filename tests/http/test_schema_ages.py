"""Every age of the registry's schema, contract section 6, and an upgrade from each to the next.

The service detects the age by itself, and leaves out of its answers what is absent.
"""

import threading

import pytest
from harness import fastcgi, routes, rows
from harness.answer import conflict_body
from harness.fastcgi import parameters
from harness.postgres import SERVICE_ROLE, schema_files
from harness.worker import WORK, worker

AGES = range(1, len(schema_files()) + 1)

# Fields of a migration that need a column, and the age that brought it.
SINCE = {
    "error_code": 2, "error": 2, "started_at": 4, "finished_at": 4,
    "total_tuple_count": 5, "progress": 5, "capped": 5, "estimated_seconds_remaining": 5, "sub_batch_size": 6,
}  # fmt: skip
ALWAYS = {
    "id", "name", "status", "job_signature_name", "target_table", "target_column", "batch_size", "min_value",
    "max_value", "batching_strategy", "finished_jobs", "failed_jobs", "created_at", "updated_at",
}  # fmt: skip
COLUMNS = {
    2: {"failure_error_code": 4},
    4: {"started_at": "2026-01-02 03:04:05+00", "finished_at": "2026-01-03 03:04:05+00"},
    5: {"batching_strategy": "NullKeySetBatchingStrategy", "total_tuple_count": 1000},
    6: {"sub_batch_size": 3},
}

# Ids by state: 1 active, 2 finished, 3 failed, 4 running, 5 paused.
ACTIVE, FINISHED, FAILED, RUNNING, PAUSED = range(1, 6)


class Asker:
    def __init__(self, service, token):
        self.address = service.address
        self.token = token

    def get(self, path, query=""):
        return fastcgi.ask(self.address, parameters("GET", path, self.token, QUERY_STRING=query))

    def post(self, path):
        return fastcgi.ask(self.address, parameters("POST", path, self.token))


@pytest.fixture(params=AGES, ids=lambda age: f"age {age}")
def age(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["without history", "with history"])
def database(servers, age, request):
    with servers.database(ages=age, history=request.param) as database:
        set_up(database, age)
        yield database


@pytest.fixture
def service(servers, database):
    with servers.service(database.name) as service:
        yield service


@pytest.fixture
def asker(service, keys):
    return Asker(service, keys.token("*"))


def set_up(database, age):
    """One of each state, with every column that this age has, and jobs."""
    database.execute("CREATE TABLE some_table (id bigint)")
    columns = {name: value for since, more in COLUMNS.items() if since <= age for name, value in more.items()}
    for identity, status in {ACTIVE: 1, FINISHED: 2, FAILED: 3, RUNNING: 4, PAUSED: 0}.items():
        database.add_migration(f"m{identity}", id=identity, status=status, updated_at="2026-01-01 00:00Z", **columns)
        for state, attempts in ((2, 1), (3, 5), (2, 2), (2, 1)):
            moment = f"2026-01-01 00:0{attempts}:00Z"
            database.add_jobs(identity, state, 1, attempts=attempts, created_at=moment, max_value=900)


def assert_reads(database, asker, age):
    """The list and each one as they stand in the database, and no field that has no column."""
    expected = rows.of_database(database)
    for path in routes.LISTS:
        listed = asker.get(routes.ONE_BASE + path).json["migrations"]
        assert len(listed) == len(expected)
        for migration, wanted in zip(listed, expected):
            assert_is(migration, wanted)
            assert asker.get(routes.one(migration["id"])).json == {"migration": migration, "job_in_flight": False}
            absent = {name for name, since in SINCE.items() if since > age}
            if migration["status"] == "finished":  # that is all the progress needs to know
                absent -= {"progress", "capped"}
            assert not absent & set(migration)
            assert ALWAYS <= set(migration)
    assert asker.get(routes.one(77)).status == 404


def assert_is(migration, wanted):
    served = rows.served_migration(migration)
    if "progress" in wanted:
        wanted = {**wanted, "progress": pytest.approx(wanted["progress"])}
    assert served == wanted


def assert_jobs(database, asker):
    for row in database.migrations():
        stored = database.rows(
            "SELECT id, status FROM batched_background_migration_jobs"
            " WHERE batched_background_migration_id = %s ORDER BY id DESC",
            (row["id"],),
        )
        path = routes.jobs(row["id"])
        assert [job["id"] for job in asker.get(path).json["jobs"]] == [job["id"] for job in stored]
        page = asker.get(path, "n=2")
        assert page.header("Link") == f'<{path}?n=2&last={stored[1]["id"]}>; rel="next"'
        failed = asker.get(path, "status=failed").json["jobs"]
        assert [job["id"] for job in failed] == [job["id"] for job in stored if job["status"] == 3]
    assert asker.get(routes.jobs(77)).status == 404
    assert asker.get(routes.jobs(1), "n=x").status == 400


def states(database):
    return {row["id"]: row["status"] for row in database.migrations()}


def changed(answer):
    assert answer.status == 200, answer
    return {migration["id"] for migration in answer.json["migrations"]}


def assert_actions(database, asker, age):
    """Each transition of section 3, and a conflict. The rows are in the end as they were."""
    before = states(database)
    assert changed(asker.post(routes.action("pause"))) == {ACTIVE, RUNNING}
    assert changed(asker.post(routes.action("pause"))) == set()
    assert changed(asker.post(routes.action("resume", ACTIVE))) == {ACTIVE}
    assert changed(asker.post(routes.action("pause", ACTIVE))) == {ACTIVE}
    assert changed(asker.post(routes.action("resume"))) == {ACTIVE, RUNNING, PAUSED}
    assert {states(database)[identity] for identity in (ACTIVE, RUNNING, PAUSED)} == {1}

    for action, identity in (("pause", FINISHED), ("resume", FAILED), ("restart", FINISHED)):
        state = rows.STATUS[before[identity]]
        conflict = conflict_body(identity, state)
        answer = asker.post(routes.action(action, identity))
        assert (answer.status, answer.json) == (409, conflict)

    for path in (routes.action("restart", FAILED), f"{routes.ONE_BASE}/restart/{FAILED}/"):
        database.execute("UPDATE batched_background_migrations SET status = 3 WHERE id = %s", (FAILED,))
        database.execute("UPDATE batched_background_migration_jobs SET attempts = 5 WHERE status = 3")
        assert changed(asker.post(path)) == {FAILED}
        assert changed(asker.post(path)) == set()
        row = database.migrations()[FAILED - 1]
        assert (row["status"], row.get("failure_error_code")) == (1, None)
        attempts = "SELECT attempts, count(*) AS n FROM batched_background_migration_jobs WHERE status = 3 GROUP BY 1"
        assert {job["attempts"]: job["n"] for job in database.rows(attempts)} == {0: 1, 5: 4}

    for identity, status in before.items():
        database.execute("UPDATE batched_background_migrations SET status = %s WHERE id = %s", (status, identity))
    if age >= 2:
        database.execute("UPDATE batched_background_migrations SET failure_error_code = 4")


def assert_a_pause_holds(database, asker):
    """Against a worker that has chosen its migration."""
    with worker(database) as played:
        played.until(WORK)
        assert asker.post(routes.action("pause")).json["job_in_flight"] is True
        played.finish()
        assert played.run() == "nothing to do"
    assert states(database)[RUNNING] == 0
    database.execute("DELETE FROM batched_background_migration_jobs WHERE id = (SELECT max(id) FROM batched_background_migration_jobs)")
    database.execute("UPDATE batched_background_migrations SET status = 4 WHERE id = %s", (RUNNING,))
    database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id = %s", (ACTIVE,))


def test_reading(database, asker, age):
    assert_reads(database, asker, age)
    assert_jobs(database, asker)


def test_without_a_row(servers, age, keys):
    with servers.database(ages=age) as database, servers.service(database.name) as service:
        asker = Asker(service, keys.token("*"))
        assert asker.get(routes.LIST).json == {"migrations": [], "job_in_flight": False}
        for action in ("pause", "resume"):
            assert asker.post(routes.action(action)).json["migrations"] == []
            assert asker.post(routes.action(action, 1)).status == 404
        assert asker.post(routes.action("restart", 1)).status == 404
        assert asker.get(routes.jobs(1)).status == 404


def test_actions(database, asker, age):
    assert_actions(database, asker, age)
    assert_a_pause_holds(database, asker)


def test_the_role_has_these_rights_and_no_others(database, age):
    """The other tests of this file pass with exactly these."""
    tables = ("batched_background_migrations", "batched_background_migration_jobs")
    may = {}
    for table in tables:
        for kind in ("INSERT", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
            right = database.rows("SELECT has_table_privilege(%s, %s, %s) AS it", (SERVICE_ROLE, table, kind))
            assert not right[0]["it"], (table, kind)
        columns = database.rows(
            "SELECT attname, has_column_privilege(%s, attrelid, attnum, 'UPDATE') AS may FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0",
            (SERVICE_ROLE, table),
        )
        may[table] = {column["attname"] for column in columns if column["may"]}
    error = {"failure_error_code"} if age >= 2 else set()
    assert may == {tables[0]: {"status", "updated_at"} | error, tables[1]: {"attempts"}}


# An upgrade under the running service


class Clients:
    """Sends requests without a pause, and keeps the wrong answers."""

    def __init__(self, service, token):
        self.asker = Asker(service, token)
        self.wrong = []
        self.answered = 0
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number):
        while not self._ending.is_set():
            for answer in self._round(number):
                self.answered += 1
                if answer.status != 200:
                    self.wrong.append(answer)

    def _round(self, number):
        yield self.asker.get(routes.LIST)
        yield self.asker.get(routes.one(FAILED))
        yield self.asker.get(routes.jobs(FINISHED), "status=failed&n=1")
        if number == 0:
            yield self.asker.post(routes.action("pause", 9))
            yield self.asker.post(routes.action("resume", 9))


def test_the_registry_is_upgraded_under_it(servers, keys):
    """From the first age to the last. As operators do, role.sql is run again only at the end."""
    with servers.database(ages=1) as database, servers.service(database.name) as service:
        set_up(database, 1)
        database.add_migration("the clients'", id=9, status=0)
        with Clients(service, keys.token("*")) as clients:
            for age, file in enumerate(schema_files()[1:], 2):
                since = clients.answered
                servers.cluster.psql(database.name, "-f", file)
                for name, value in COLUMNS.get(age, {}).items():
                    database.execute(f"UPDATE batched_background_migrations SET {name} = %s", (value,))
                answer = clients.asker.post(routes.action("restart", FAILED))
                assert answer.status == 200, answer
                database.execute("UPDATE batched_background_migrations SET status = 3 WHERE id = %s", (FAILED,))
                while clients.answered < since + 20 and not clients.wrong:
                    clients.asker.get(routes.LIST)
        assert clients.wrong == []
        database.execute("DELETE FROM batched_background_migrations WHERE id = 9")
        servers.cluster.psql(database.name, "-f", role_file())
        asker = clients.asker
        assert_reads(database, asker, AGES[-1])
        assert_jobs(database, asker)
        assert_actions(database, asker, AGES[-1])


@pytest.mark.parametrize("age", AGES[:-1], ids=lambda age: f"age {age}")
def test_one_step_of_an_upgrade(servers, keys, database, service, age):
    """A service that has served the older age serves the next one in full."""
    asker = Asker(service, keys.token("*"))
    assert_reads(database, asker, age)
    servers.cluster.psql(database.name, "-f", schema_files()[age])
    for name, value in COLUMNS.get(age + 1, {}).items():
        database.execute(f"UPDATE batched_background_migrations SET {name} = %s", (value,))
    servers.cluster.psql(database.name, "-f", role_file())
    assert_reads(database, asker, age + 1)
    assert_actions(database, asker, age + 1)


def role_file():
    return schema_files()[0].replace("schema/01-2024-06-tables.sql", "role.sql")
