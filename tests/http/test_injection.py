"""Fault injection: each call that can fail is made to fail, one after the other: memory, libpq, OpenSSL, the system.

For each way through the program the first call fails, then the second, and so on until a run is
left alone. Whatever failed, it lives on, loses nothing, answers honestly, and serves the next.
"""

import itertools
import os
import re
import signal

import pytest
from harness import fastcgi, routes, tokens
from harness.failing import Plan
from harness.fastcgi import parameters
from harness.process import SANITIZER_OPTIONS, DidNotStart, wait_until
from harness.resource import ResourceUsage, settled_usage
from harness.timing import longer, milliseconds

# After these there is nobody to answer any more: the web server says 502.
CLOSES = {"epoll_ctl", "FCGX_Accept_r"}
# They set errno.
ALLOCATIONS = {"malloc", "calloc", "realloc", "strdup", "strndup"}
# A look for more of what has been served, which may come after it.
IDLE = {None, "accept4"}
# The library that ends the process where malloc fails, by its assert. There is no answer then.
DEADLY = {"libfcgi.so.0"}
# Release 2.6, of Debian 13, may end the start by a segmentation fault where malloc fails; 2.5 does not.
SECCOMP = "libseccomp.so.2"
ENDS = {-signal.SIGABRT, -signal.SIGSEGV, 99}  # the last under a sanitizer
# Each allocation in turn, and not a sample of them: takes half an hour.
ALL = "BBM_INJECT_ALL" in os.environ
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
# So that a list's text is made again.
TOUCH = "UPDATE batched_background_migrations SET updated_at = clock_timestamp() WHERE id = 1;"
# So many that their list takes megabytes.
FILL_MUCH = """
INSERT INTO batched_background_migrations
    (name, min_value, max_value, batch_size, status, job_signature_name, table_name, column_name, total_tuple_count)
SELECT repeat('x', 150) || n, 1, 900, 10, 1, 'someJob', 'public.some_table', 'id' || n, 90000 FROM generate_series(1, 2000) AS n;
"""
DISCONNECT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
"""


METRICS = "/-/metrics"
PROGRESS = "registry_database_bbm_progress_percent"
FROM_DATABASE = ("bbm_fcgi_migration_", "bbm_fcgi_job_in_flight")
MOMENT = re.compile(rb'"updated_at":"[^"]*"')


def samples(answer):
    """The names in a scrape, each line of which is whole."""
    assert answer.body.endswith(b"\n")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("# ")]
    assert all(re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+', line) for line in lines), lines
    return {re.match("[a-z_]+", line).group() for line in lines}


def assert_samples(answer, usual):
    """Only samples whose value could not be found out are missing: those from the database."""
    missing = {name for name in samples(usual) - samples(answer) if not name.startswith("process_")}
    from_database = {name for name in missing if name == PROGRESS or name.startswith(FROM_DATABASE)}
    assert not missing or (missing == from_database and b"\nbbm_fcgi_database_up 0\n" in answer.body), missing


class Way:
    def __init__(self, method, path, status=200, before="", query="", fresh=""):
        self.method = method
        self.path = path
        self.status = status  # where nothing fails
        self.before = before  # in the database, each time
        self.query = query
        self.fresh = fresh  # with a token not seen before: its key named by "kid" or "x5c", or a "stranger"'s
        self.open = path.startswith("/-/")


WAYS = {
    "list": Way("GET", routes.LIST, fresh="kid"),
    "list, changed": Way("GET", routes.LIST, before=TOUCH),
    "one, by a chain": Way("GET", routes.one(1), fresh="x5c"),
    "list, reconnected": Way("GET", routes.LIST, before=DISCONNECT),
    "list, recounted": Way("GET", routes.LIST, before=LOSE),
    "one": Way("GET", routes.one(3)),
    "none such": Way("GET", routes.one(77), 404),
    "jobs": Way("GET", routes.jobs(3), query="n=2&status=failed"),
    "pause": Way("POST", routes.PAUSE, before=RESET),
    "resume": Way("POST", routes.RESUME, before=RESET),
    "a stranger": Way("POST", routes.PAUSE, 401, fresh="stranger"),
    "conflict": Way("POST", routes.action("pause", 3), 409),
    "restart": Way("POST", routes.action("restart", 3), before=RESET),
    "restart, reconnected": Way("POST", routes.action("restart", 3), before=RESET + DISCONNECT),
    "method": Way("PUT", routes.LIST, 405),
    "metrics": Way("GET", METRICS),
    "ready": Way("GET", "/-/readiness"),
}


@pytest.fixture(scope="module")
def plan(servers):
    return Plan(servers)


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.execute(FILL)
        yield database


@pytest.fixture(scope="module")
def service(servers, plan, database):
    """One worker, so that the order of calls is the same each time."""
    changes = {"fcgi": {"threads": 1}, "log": {"level": "error"}}
    with servers.service(database.name, changes, environment=plan.environment, program=plan.program) as service:
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
        key = self.keys.stranger if self.way.fresh == "stranger" else self.keys.trusted
        chain = {"kid": tokens.ABSENT, "x5c": ["".join(key.certificate.splitlines()[1:-1])]}
        header = chain if self.way.fresh == "x5c" else {}
        token = tokens.sign(key, tokens.claims(("*",), jti=f"fresh {next(numbers)}"), **header)
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

    def told_by(self, answer):
        """All but what changes from time to time."""
        if self.way.before == LOSE:
            return [(row["id"], row["name"], row["status"]) for row in answer.json["migrations"]]
        return MOMENT.sub(b"", answer.body)

    def assert_honest(self, answer, failed):
        """It is what it would have been, or says that it could not be given."""
        assert int(answer.header("Content-Length")) == len(answer.body), (failed, answer)
        if answer.status == self.way.status:
            if self.way.path == METRICS:
                assert_samples(answer, self.usual)
            else:
                assert self.told_by(answer) == self.told_by(self.usual), (failed, answer)
            return
        # The calls of OpenSSL that fail here set no errno: they look as if the token were bad.
        vague = self.way.fresh and not failed.startswith("lib") and failed not in ALLOCATIONS
        assert answer.status in ({401, 500, 503} if vague else {500, 503}), (failed, answer)
        assert answer.status != 503 or answer.header("Retry-After"), (failed, answer)
        error = answer.json["errors"][0]
        if self.states() != self.was:
            assert "detail" in error, (failed, answer)
            unknown = "not known" in str(error["detail"])
            outcome = self.service.entry(answer.header("X-Request-Id"))["outcome"]
            assert outcome == ("unknown" if unknown else "failed"), (failed, answer)


@pytest.mark.parametrize("way,on", [(way, False) for way in WAYS] + [(way, True) for way in WAYS if "reconnected" not in way and "recounted" not in way])
def test_request(service, database, plan, keys, way, on):
    ask = Asker(service, database, keys, WAYS[way])
    held = ResourceUsage(service).descriptors
    seen = set()
    for _ in plan.walk(on=on):
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
    assert settled_usage(service, held).descriptors <= held


class Died(Exception):
    """A library has ended the process."""


def every(few, step):
    """In a usual run each of the first calls fails, and then a sample of them."""
    return lambda number: 1 if ALL or number < few else step


def walk_inside(service, plan, ask, how, first):
    """Goes on from that number; the number to go on from with a new process, or None at the end."""
    for number in plan.walk(first, every(120, 197), inside=True, **how):
        try:
            answer = ask()
        except (AssertionError, OSError):
            answer = None
        failed = plan.disarm()
        if answer is None:
            assert failed in DEADLY, failed
            assert wait_until(lambda: service.server.child.poll() in ENDS), failed
            plan.arm(0)
            return number + 1
        ask.assert_honest(answer, failed)
        again = ask()
        assert again.status == ask.way.status, (failed, again, service.lines()[-1])
    return None


def skip_unless_fit(plan, inside=True):
    """ThreadSanitizer replaces malloc itself (tests/fault/inside.c)."""
    with open(plan.program, "rb") as program:
        unfit = "BBM_TEST_WRAPPER" in os.environ or b"__tsan_init" in program.read()
    if inside and unfit:
        pytest.skip("no allocation inside of a library fails under ThreadSanitizer and valgrind")


def leaking(plan, does):
    """The environment; libjwt, jansson and libcrypto's start lose what they cannot put where it belongs."""
    options = SANITIZER_OPTIONS["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0")
    return {**plan.environment, **({"ASAN_OPTIONS": options} if does else {})}


def ask_inside(servers, plan, database, way, **how):
    """Returns how often a new process was needed."""
    skip_unless_fit(plan)
    changes = {"fcgi": {"threads": 1}, "log": {"level": "error"}}
    environment = leaking(plan, bool(way.fresh))
    number, deaths = 1, -1
    while number is not None:
        deaths += 1
        try:
            with servers.service(database.name, changes, environment=environment, program=plan.program) as service:
                ask = Asker(service, database, servers.keys, way)
                ask()
                number = walk_inside(service, plan, ask, how, number)
                if number is not None:
                    raise Died
        except Died:
            pass
    return deaths


@pytest.mark.parametrize("way", WAYS)
def test_allocation_in_a_library(servers, plan, database, way):
    """An allocation of json-c, libpq, libjwt, libcrypto or the C library fails: the answer is whole, or a 503."""
    ask_inside(servers, plan, database, WAYS[way], only="-libfcgi")


@pytest.mark.parametrize("way", [way for way in WAYS if "reconnected" not in way and "recounted" not in way])
def test_all_allocations_in_libraries(servers, plan, database, way):
    ask_inside(servers, plan, database, WAYS[way], only="-libfcgi", on=True)


def test_library_that_ends_the_process(servers, plan, database):
    """Then there is no answer, and not half of one."""
    assert ask_inside(servers, plan, database, WAYS["one"], only="libfcgi") > 10


@pytest.mark.parametrize("function", ["pthread_create", "PQgetCancel"])
def test_statement_that_cannot_be_cancelled(servers, plan, keys, database, function):
    changes = {"fcgi": {"threads": 1, "timeout": milliseconds(longer(0.3))}}
    token = keys.token("*")
    with (
        servers.cluster.connect(database.name) as holder,
        servers.service(database.name, changes, environment=plan.environment, program=plan.program) as service,
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


def writable(service):
    """The writable memory of the process in kB."""
    with open(f"/proc/{service.server.child.pid}/status", encoding="ascii") as status:
        return int(re.search(r"^VmData:\s+(\d+) kB", status.read(), re.MULTILINE).group(1))


def test_memory_limit(servers, keys):
    """Nothing is injected: the kernel refuses memory at some point of a long list."""
    seen = []
    token = keys.token("read")
    changes = {"fcgi": {"threads": 1}}
    ask = lambda path: fastcgi.ask(service.address, parameters("GET", path, token))
    with servers.database() as database:
        database.execute(FILL_MUCH)
        with servers.service(database.name, changes) as service:
            if ResourceUsage(service).sanitized or "BBM_TEST_WRAPPER" in os.environ:
                pytest.skip("what looks after the memory needs some of it")
            assert ask(routes.one(1)).status == 200
            least = writable(service)
            usual = ask(routes.LIST)
            most = writable(service)
        for limit in range(least + 256, most + 4096, 256 if ALL else 1280):
            script = servers.workspace.file(servers.unique("limited"), f'#!/bin/sh\nulimit -d {limit}\nexec {servers.program} "$@"\n', 0o755)
            with servers.service(database.name, changes, program=script) as service:
                assert ask(routes.one(1)).status == 200
                answer = ask(routes.LIST)
                assert int(answer.header("Content-Length")) == len(answer.body)
                assert answer.body == usual.body or (answer.status == 503 and answer.json["errors"]), (limit, answer)
                assert ask(routes.one(2)).status == 200
                seen.append(answer.status)
    assert seen[0] == 503 and seen[-1] == 200, seen


@pytest.mark.parametrize("inside", [False, True])
def test_new_bundle(servers, plan, keys, database, inside):
    """It is used as a whole or not at all."""
    skip_unless_fit(plan, inside)
    reports = lambda service: [line for line in service.lines() if "trust bundle" in line]
    changes = {"fcgi": {"threads": 1}}
    with servers.service(database.name, changes, environment=leaking(plan, inside), program=plan.program) as service:
        params = parameters("GET", routes.LIST, keys.token("*"))
        # It listens before its threads are made: what is to fail is none of those calls.
        assert fastcgi.ask(service.address, params).status == 200
        sample = lambda number: 1 if number < 10 else 29 if ALL else 397
        step = sample if inside else lambda number: 1
        for number, _ in enumerate(plan.walk(step=step, inside=inside), 1):
            service.server.send(signal.SIGHUP)
            assert wait_until(lambda n=number: len(reports(service)) >= n, pause=0.002), (number, service.lines()[-2:])
            failed = plan.disarm()
            last = reports(service)[-1]
            assert "not reloaded" in last or ("reloaded: 4 keys" in last and (inside or failed in IDLE)), (failed, last)
            assert fastcgi.ask(service.address, params).status == 200, failed


@pytest.mark.parametrize("inside", [False, True])
def test_start(servers, plan, keys, database, inside):
    """It says in one line why it cannot start; or it starts, and serves."""
    skip_unless_fit(plan, inside)
    params = parameters("GET", routes.LIST, keys.token("*"))
    file = servers.write_configuration(servers.configuration(database.name, listen := servers.socket_path(), {"fcgi": {"threads": 1}}))
    refused = 0
    # libcrypto alone allocates 19,000 times, of which all but a few are to set up what is not needed.
    sample = lambda number: 53 if ALL or number < 300 else 1499
    for _ in plan.walk(step=sample if inside else lambda number: 1, most=40000, inside=inside):
        try:
            with servers.service_with_file(file, listen, leaking(plan, inside), program=plan.program) as service:
                failed = plan.disarm()
                try:
                    assert fastcgi.ask(service.address, params).status == 200, failed
                except OSError:  # it listened already, and went no further
                    code = service.server.child.wait(5)
                    raise DidNotStart(f"exit code {code}\n{service.written()}") from None
        except DidNotStart as fault:
            failed = plan.disarm()
            head, _, text = str(fault).partition("\n")
            if failed == SECCOMP and f"exit code {-signal.SIGSEGV}" in head:
                continue
            assert "exit code 71" in head or "exit code 78" in head, (failed, str(fault))
            lines = [line for line in text.splitlines() if not line.startswith("{")]
            assert len(lines) == 1 and len(lines[0]) > len("bbm-fcgi: "), (failed, text)
            refused += 1
    assert refused > (3 if inside else 20)
