"""Each call that can fail made to fail, one after the other: memory, libpq, OpenSSL, the system.

For each way through the program the first call fails, then the second, and so on until a run is
left alone. Whatever failed, it lives on, loses nothing, answers honestly, and serves the next.
"""

import itertools
import signal

import pytest
from harness import fastcgi, routes, tokens
from harness.failing import Plan
from harness.faults import Census, settled_census
from harness.fastcgi import parameters
from harness.process import DidNotStart, wait_until

# After these there is nobody to answer any more: the web server says 502.
CLOSES = {"epoll_ctl", "FCGX_Accept_r"}
numbers = itertools.count()

# A migration of each kind, with jobs.
FILL = """
TRUNCATE batched_background_migrations RESTART IDENTITY CASCADE;
INSERT INTO batched_background_migrations
    (id, name, min_value, max_value, batch_size, status, job_signature_name, table_name, column_name,
     total_tuple_count, failure_error_code)
SELECT id, 'm' || id, 1, 900, 10, status, 'someJob', 'public.some_table', 'id', 90000, code
FROM (VALUES (1, 1, NULL), (2, 0, NULL), (3, 3, 4)) AS v (id, status, code);
INSERT INTO batched_background_migration_jobs
    (batched_background_migration_id, min_value, max_value, status, failure_error_code)
SELECT m, n, n, s, CASE s WHEN 3 THEN 4 END
FROM generate_series(1, 3) AS m, generate_series(1, 4) AS n, LATERAL (SELECT CASE WHEN m = 3 AND n > 2 THEN 3 ELSE 2 END AS s) t;
"""
# As it was filled, for what an action changes.
RESET = """
UPDATE batched_background_migrations AS m SET status = v.status, failure_error_code = v.code
FROM (VALUES (1, 1, NULL), (2, 0, NULL), (3, 3, 4)) AS v (id, status, code) WHERE m.id = v.id;
UPDATE batched_background_migration_jobs SET attempts = 5 WHERE status = 3;
"""
# What no worker does, so that what was counted is of no use.
LOSE = """
DELETE FROM batched_background_migration_jobs
WHERE id = (SELECT max(id) FROM batched_background_migration_jobs);
INSERT INTO batched_background_migration_jobs (batched_background_migration_id, min_value, max_value, status)
VALUES (1, 1, 1, 2);
"""
# So that a list's text is made anew.
TOUCH = "UPDATE batched_background_migrations SET updated_at = clock_timestamp() WHERE id = 1;"
DISCONNECT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
"""


class Way:
    def __init__(self, method, path, status=200, before="", query="", fresh=""):
        self.method = method
        self.path = path
        self.status = status  # where nothing fails
        self.before = before  # in the database, each time
        self.query = query
        self.fresh = fresh  # with a token not seen before: signed with the key named by "kid" or "x5c"
        self.open = path.startswith("/-/")


WAYS = {
    "list": Way("GET", routes.LIST, fresh="kid"),
    "list, changed": Way("GET", routes.LIST, before=TOUCH),
    "one, by a chain": Way("GET", routes.one(1), fresh="x5c"),
    "list, connected anew": Way("GET", routes.LIST, before=DISCONNECT),
    "list, counted anew": Way("GET", routes.LIST, before=LOSE),
    "one": Way("GET", routes.one(3)),
    "none such": Way("GET", routes.one(77), 404),
    "jobs": Way("GET", routes.jobs(3), query="n=2&status=failed"),
    "pause": Way("POST", routes.PAUSE, before=RESET),
    "resume": Way("POST", routes.RESUME, before=RESET),
    "conflict": Way("POST", routes.action("pause", 3), 409),
    "restart": Way("POST", routes.action("restart", 3), before=RESET),
    "restart, connected anew": Way("POST", routes.action("restart", 3), before=RESET + DISCONNECT),
    "method": Way("PUT", routes.LIST, 405),
    "metrics": Way("GET", "/-/metrics"),
    "ready": Way("GET", "/-/readiness"),
}


@pytest.fixture(scope="module")
def plan(house):
    return Plan(house)


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
        database.execute(FILL)
        yield database


@pytest.fixture(scope="module")
def service(house, plan, database):
    """One worker, so that calls come in the same order each time."""
    changes = {"fcgi": {"threads": 1}, "log": {"level": "error"}}
    with house.service(database.name, changes, environment=plan.environment, program=plan.program) as service:
        yield service


class Asker:
    def __init__(self, service, database, keys, way):
        self.service = service
        self.database = database
        self.keys = keys
        self.way = way
        self.usual_token = None if way.open else keys.token("*")
        self.usual = self()
        assert self.usual.status == way.status, self.usual

    def token(self):
        if not self.way.fresh:
            return self.usual_token
        key = self.keys.trusted
        chain = {"kid": tokens.ABSENT, "x5c": ["".join(key.certificate.splitlines()[1:-1])]}
        header = chain if self.way.fresh == "x5c" else {}
        token = tokens.sign(key, tokens.claims(jti=f"fresh {next(numbers)}"), **header)
        tokens.minted.discard(token)  # too many to look for in every log
        return token

    def __call__(self):
        if self.way.before:
            self.database.execute(self.way.before)
        self.was = self.states()
        params = parameters(self.way.method, self.way.path, self.token(), QUERY_STRING=self.way.query)
        return fastcgi.ask(self.service.address, params)

    def states(self):
        return [row["status"] for row in self.database.migrations()]

    def assert_honest(self, answer, failed):
        """It is what it would have been, or says that it could not be given."""
        if answer.status == self.way.status:
            if answer.status == 200 and self.way.before in ("", DISCONNECT) and not self.way.open:
                assert answer.body == self.usual.body, failed
            return
        assert answer.status in ({401, 500, 503} if self.way.fresh else {500, 503}), (failed, answer)
        assert answer.status != 503 or answer.header("Retry-After"), (failed, answer)
        error = answer.json["errors"][0]
        assert self.states() == self.was or "detail" in error, (failed, answer)


@pytest.mark.parametrize("way,on", [(way, False) for way in WAYS] + [(way, True) for way in WAYS if "anew" not in way])
def test_a_request(service, database, plan, keys, way, on):
    ask = Asker(service, database, keys, WAYS[way])
    held = Census(service).descriptors
    seen = set()
    for _ in plan.walk(on):
        try:
            answer = ask()
        except (AssertionError, OSError):
            answer = None
        failed = plan.disarm()
        seen.add(failed)
        if answer:
            ask.assert_honest(answer, failed)
        else:
            assert failed in CLOSES
        again = ask()
        assert again.status == WAYS[way].status, (failed, again)
    assert len(seen) > 2, seen
    assert settled_census(service, held).descriptors <= held


@pytest.mark.parametrize("function", ["pthread_create", "PQgetCancel"])
def test_a_statement_that_cannot_be_cancelled(house, plan, keys, database, function):
    changes = {"fcgi": {"threads": 1, "timeout": "300ms"}}
    token = keys.token("*")
    with (
        house.cluster.connect(database.name) as holder,
        house.service(database.name, changes, environment=plan.environment, program=plan.program) as service,
    ):
        ask = lambda: fastcgi.ask(service.address, parameters("GET", routes.one(1), token)).status
        assert ask() == 200
        holder.autocommit = False
        holder.cursor().execute("LOCK batched_background_migrations")
        plan.arm(1, only=function)
        assert ask() == 503
        assert wait_until(plan.fired)
        plan.disarm()
        holder.rollback()
        assert ask() == 200
    holder.close()


def test_a_new_bundle(house, plan, keys, database):
    """It is taken whole or not at all."""
    changes = {"fcgi": {"threads": 1}}
    with house.service(database.name, changes, environment=plan.environment, program=plan.program) as service:
        params = parameters("GET", routes.LIST, keys.token("*"))
        # It listens before its threads are made: what is to fail is none of those calls.
        assert fastcgi.ask(service.address, params).status == 200
        for number, _ in enumerate(plan.walk(), 1):
            service.server.send(signal.SIGHUP)
            assert wait_until(lambda n=number: service.written().count("trust bundle") == n, pause=0.002)
            failed = plan.disarm()
            assert failed is None or "not reloaded" in service.lines()[-1], failed
            assert fastcgi.ask(service.address, params).status == 200, failed


def test_the_start(house, plan, keys, database):
    """It says in one line why not; or it starts, and then it serves."""
    params = parameters("GET", routes.LIST, keys.token("*"))
    file = house.write_configuration(house.configuration(database.name, listen := house.socket_path(), {"fcgi": {"threads": 1}}))
    refused = 0
    for _ in plan.walk():
        try:
            with house.service_with_file(file, listen, plan.environment, program=plan.program) as service:
                failed = plan.disarm()
                try:
                    assert fastcgi.ask(service.address, params).status == 200, failed
                except OSError:  # it listened already, and went no further
                    code = service.server.child.wait(5)
                    raise DidNotStart(f"exit code {code}\n{service.written()}") from None
        except DidNotStart as fault:
            failed = plan.disarm()
            head, _, text = str(fault).partition("\n")
            assert "exit code 71" in head or "exit code 78" in head, (failed, str(fault))
            lines = [line for line in text.splitlines() if not line.startswith("{")]
            assert len(lines) == 1 and len(lines[0]) > len("bbm-fcgi: "), (failed, text)
            refused += 1
    assert refused > 20
