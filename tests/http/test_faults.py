"""Each way in which a database can fail: caused for real, under load. What the service holds afterwards is checked.

A fault is a context manager: the database is unavailable inside, and available after it.
"""

import contextlib
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.faults import Load, frozen, signal_all
from harness.relay import Relay
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.postgres import PASSWORD, SERVICE_ROLE, Cluster
from harness.process import wait_until
from harness.resource import ResourceUsage, settled_usage
from harness.slowness import longer, milliseconds

UNAVAILABLE = error_body("UNAVAILABLE", "service unavailable")
THREADS, TIMEOUT, QUEUE = 4, longer(2), longer(0.5)
SLACK = longer(2)  # for a busy machine, and sanitizers
LIMITS = {"threads": THREADS, "timeout": milliseconds(TIMEOUT), "queuetimeout": milliseconds(QUEUE)}
MEMORY = 8 * 1024  # kB that a fault may add: arenas, buffers, once for each thread


# What was committed before a crash is there after it.
KEPT = {"synchronous_commit": "on"}


class Scene:
    """A cluster of its own, a network before it, a service that has been in use."""

    def __init__(self, cluster, database, relay, service, keys):
        self.cluster = cluster
        self.database = database
        self.relay = relay
        self.service = service
        self.keys = keys
        self.token = keys.token("*")

    def ask(self, method="GET", path=routes.LIST):
        began = time.monotonic()
        answer = fastcgi.ask(self.service.address, parameters(method, path, self.token))
        return answer, time.monotonic() - began

    def served(self, method="GET", path=routes.LIST):
        """Fails with the log's reason where the answer is not 200."""
        answer, seconds = self.ask(method, path)
        assert answer.status == 200, self.service.entry(answer.header("X-Request-Id")).get("reason")
        return answer, seconds

    def ask_at_once(self, number=THREADS, method="GET", path=routes.LIST):
        with ThreadPoolExecutor(number) as clients:
            return list(clients.map(lambda _: self.ask(method, path), range(number)))

    def warm(self):
        """Makes each thread connect. (Lists share a statement, so few threads would.)"""
        while self.sessions() < THREADS:
            answers = self.ask_at_once(2 * THREADS, path=routes.one(1))
            assert {answer.status for answer, _ in answers} == {200}

    def sessions(self):
        """The number of the service's sessions; -1 where the database does not answer."""
        try:
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
                return cursor.fetchone()[0]
        except psycopg2.OperationalError:
            return -1

    def end_sessions(self):
        self.cluster.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SERVICE_ROLE}'"
        )


@pytest.fixture(scope="module")
def cluster(house):
    cluster = Cluster(house.workspace, house.unique("postgres"), {"max_connections": "20", **KEPT})
    yield cluster
    cluster.stop()


@contextlib.contextmanager
def scene_on(house, keys, cluster, name=None, changes=None):
    database = cluster.create_database(name or house.unique("registry"))
    database.add_migration("one", status=1)
    database.close()
    relay = Relay(free_port(), ("127.0.0.1", cluster.port))
    relay.open()
    places = {"port": relay.port, "connecttimeout": milliseconds(longer(2))}
    try:
        with house.service(database.name, changes={"fcgi": LIMITS, "database": places, **(changes or {})}) as service:
            yield Scene(cluster, database, relay, service, keys)
    finally:
        relay.close()


@pytest.fixture
def scene(house, keys, cluster):
    with scene_on(house, keys, cluster) as scene:
        yield scene


# The faults


@contextlib.contextmanager
def crash(scene):
    scene.cluster.crash()
    yield
    scene.cluster.start_again()


@contextlib.contextmanager
def restart(scene):
    scene.cluster.stop()
    yield
    scene.cluster.start_again()


@contextlib.contextmanager
def freeze(scene):
    with frozen(scene.cluster.server):
        yield


@contextlib.contextmanager
def unreachable(scene):
    """Nobody listens, and open connections are cut."""
    scene.relay.close()
    yield
    scene.relay.open()


@contextlib.contextmanager
def silence(scene):
    """Packets are lost without an error. Connections of that time never work again."""
    scene.relay.go_silent()
    yield
    scene.relay.speak_again()


@contextlib.contextmanager
def locked(scene):
    """An administrator's ALTER TABLE that is not committed yet."""
    with contextlib.closing(scene.cluster.connect(scene.database.name)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; ALTER TABLE batched_background_migrations ADD COLUMN later integer")
            yield
            cursor.execute("ROLLBACK")


@contextlib.contextmanager
def no_connection_left(scene):
    """The service is cut off for a moment, and other clients take all connections."""
    scene.relay.close()
    assert wait_until(lambda: scene.sessions() == 0)
    place = {"host": scene.cluster.folder, "port": scene.cluster.port, "dbname": "postgres", "user": SERVICE_ROLE}
    with contextlib.ExitStack() as stack:
        with pytest.raises(psycopg2.OperationalError, match="connection slots|too many"):
            while True:
                stack.callback(psycopg2.connect(**place).close)
        scene.relay.open()
        yield


@contextlib.contextmanager
def another_password(scene):
    scene.cluster.execute(f"ALTER ROLE {SERVICE_ROLE} PASSWORD 'changed'")
    scene.end_sessions()
    yield
    scene.cluster.execute(f"ALTER ROLE {SERVICE_ROLE} PASSWORD '{PASSWORD}'")


FAULTS = (crash, restart, freeze, unreachable, silence, locked, no_connection_left, another_password)
SLOW = (freeze, silence, locked)  # a timeout has to pass


def assert_unavailable(answers):
    for answer, seconds in answers:
        assert (answer.status, answer.json) == (503, UNAVAILABLE)
        assert answer.header("Retry-After")
        assert seconds < TIMEOUT + QUEUE + SLACK


def assert_nothing_leaked(scene, before):
    after = settled_usage(scene.service, before.descriptors)
    assert after.descriptors <= before.descriptors, f"{before}, then {after}"
    # The threads that send cancel requests are gone.
    assert wait_until(lambda: ResourceUsage(scene.service).threads == before.threads), f"{before}, then {after}"
    # (A server behind a network that went silent keeps the sessions, until its own keepalives tell it.)
    if scene.relay is None or not scene.relay.went_silent:
        assert wait_until(lambda: 0 <= scene.sessions() <= THREADS), f"{scene.sessions()} sessions"
    if not after.sanitized:
        assert after.kilobytes < before.kilobytes + MEMORY, f"{before}, then {after}"
    assert scene.service.server.child.poll() is None


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=pytest.mark.slow if fault in SLOW else ()) for fault in FAULTS],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_under_load(house, keys, cluster, fault):
    name = "with_password" if fault is another_password else None  # the one that asks for it
    with scene_on(house, keys, cluster, name) as scene:
        scene.warm()
        before = ResourceUsage(scene.service)
        with Load(scene.service, keys) as load:
            time.sleep(0.3)
            with fault(scene):
                # Answers that were on their way when it happened have come by now.
                time.sleep(0.2)
                assert_unavailable([scene.ask()])
                assert_unavailable([scene.ask("POST", routes.PAUSE)])
                assert_unavailable(scene.ask_at_once())
                for what in ("read", "write"):
                    assert wait_until(lambda what=what: 503 in load.seen(what), TIMEOUT + QUEUE + SLACK), what
            if fault is silence:
                time.sleep(TIMEOUT)  # those that wait for an answer that is lost hold the threads until then
            for _ in range(THREADS):
                scene.served()
                scene.served("POST", routes.RESUME)
            time.sleep(0.2)
        load.assert_right(TIMEOUT + QUEUE + SLACK)
        assert {200, 503} == load.seen("read") == load.seen("write")
        assert_nothing_leaked(scene, before)


@pytest.mark.parametrize("fault", FAULTS[:-1], ids=lambda fault: fault.__name__)  # a password is asked for above
def test_first_requests_after_an_outage_without_requests(scene, fault):
    """Each thread finds out with its first request afterwards, and answers it."""
    scene.warm()
    before = ResourceUsage(scene.service)
    with fault(scene):
        time.sleep(1.2)
    for answer, seconds in (
        scene.ask_at_once(path=routes.one(1)) + scene.ask_at_once() + scene.ask_at_once(method="POST", path=routes.PAUSE)
    ):
        assert answer.status == 200
        assert seconds < TIMEOUT + SLACK
    assert_nothing_leaked(scene, before)


def test_reads_survive_sessions_that_are_ended_again_and_again(scene, keys):
    """A read is sent again once, so it succeeds unless its session is ended twice."""
    with Load(scene.service, keys) as load:
        for _ in range(10):
            load.go_on()
            scene.end_sessions()
        load.go_on()
    load.assert_right(TIMEOUT + SLACK)
    assert load.seen("read") == {200}
    scene.served("POST", routes.PAUSE)


# Timeouts


def working(scene):
    """The number of the service's statements that the server executes."""
    with contextlib.closing(scene.cluster.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active'", (SERVICE_ROLE,))
        return cursor.fetchone()[0]


@pytest.mark.parametrize("method, path", [("GET", routes.LIST), ("POST", routes.PAUSE)])
def test_a_statement_that_times_out_is_cancelled_on_the_server(scene, method, path):
    with locked(scene):
        with ThreadPoolExecutor(1) as client:
            waiting = client.submit(scene.ask, method, path)
            assert wait_until(lambda: working(scene) >= 1)
            answer, seconds = waiting.result()
        assert answer.status == 503 and TIMEOUT * 0.8 < seconds < TIMEOUT + SLACK
        assert wait_until(lambda: working(scene) == 0, seconds=3), "the server still works on it"
    scene.served(method, path)


@pytest.mark.parametrize("method, path", [("GET", routes.LIST), ("POST", routes.PAUSE)])
def test_the_log_has_no_statement_when_a_session_ends_while_it_waits(scene, method, path):
    with locked(scene), ThreadPoolExecutor(1) as client:
        waiting = client.submit(scene.ask, method, path)
        assert wait_until(lambda: working(scene) >= 1)
        while not waiting.done():  # a read is sent once more
            scene.end_sessions()
            time.sleep(0.1)
        answer, _ = waiting.result()
    reason = scene.service.entry(answer.header("X-Request-Id"))["reason"]
    assert "LINE" not in reason and "batched_background" not in reason


@pytest.mark.parametrize("answered", [True, False])
def test_the_program_waits_for_cancel_requests_before_it_exits(scene, answered):
    """The request's thread uses what exit() frees. One that gets no answer is waited for in bounded time."""
    with locked(scene), ThreadPoolExecutor(1) as client:
        waiting = client.submit(scene.ask)
        assert wait_until(lambda: working(scene) >= 1)
        scene.service.terminate()
        with frozen(scene.cluster.server):
            assert waiting.result()[0].status == 503
            time.sleep(0.3)
            assert scene.service.server.child.poll() is None, "it has not waited"
            if not answered:
                assert scene.service.server.child.wait(1 + SLACK) == 0
        assert scene.service.server.child.wait(1 + SLACK) == 0
        assert wait_until(lambda: working(scene) == 0)
    assert ("cancel requests still under way" in scene.service.written()) is not answered


# Writes without an answer


def test_a_write_without_an_answer_is_sent_once_and_its_outcome_is_unknown(scene):
    scene.cluster.psql(
        scene.database.name,
        "-c", "CREATE TABLE seen (id bigint)",
        "-c", "GRANT INSERT ON seen TO PUBLIC",
        "-c", "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
              " $$ BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END $$",
        "-c", "CREATE TRIGGER see AFTER UPDATE ON batched_background_migrations FOR EACH ROW EXECUTE FUNCTION see()",
    )  # fmt: skip
    scene.served()
    scene.relay.swallow = b"SET status"
    answer, seconds = scene.ask("POST", routes.PAUSE)
    scene.relay.swallow = None
    assert answer.status == 503 and seconds < TIMEOUT + SLACK
    assert "not known" in answer.json["errors"][0]["detail"]
    entry = scene.service.entry(answer.header("X-Request-Id"))
    assert (entry["msg"], entry["outcome"], entry["status"]) == ("write", "unknown", 503)
    with contextlib.closing(scene.cluster.connect(scene.database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM seen")
        assert cursor.fetchone()[0] == 1
        cursor.execute("SELECT status FROM batched_background_migrations")
        assert cursor.fetchone()[0] == 0
    assert scene.ask("POST", routes.PAUSE)[0].json["migrations"] == []


def test_a_restart_without_an_answer(scene):
    """It is one statement for the migration and its jobs. It is sent once, and its outcome is unknown."""
    with contextlib.closing(scene.cluster.connect(scene.database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE batched_background_migrations SET status = 3, failure_error_code = 4")
    scene.served()
    scene.relay.swallow = b"SET status"
    answer, _ = scene.ask("POST", "/v1/gitlab/restart/1/")
    scene.relay.swallow = None
    assert answer.status == 503
    assert "not known" in str(answer.json["errors"][0]["detail"])
    assert scene.service.entry(answer.header("X-Request-Id"))["outcome"] == "unknown"
    assert wait_until(lambda: working(scene) == 0)
    answer, _ = scene.served("POST", "/v1/gitlab/restart/1/")
    assert answer.json["migrations"] == []


def set_status(scene, status):
    with contextlib.closing(scene.cluster.connect(scene.database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE batched_background_migrations SET status = %s, failure_error_code = 4", (status,))


def status_in(scene):
    with contextlib.closing(scene.cluster.connect(scene.database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM batched_background_migrations")
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    "path, before, after",
    [(routes.PAUSE, 1, 0), (routes.action("pause", 1), 1, 0), (routes.RESUME, 0, 1), (routes.action("restart", 1), 3, 1)],
)
@pytest.mark.parametrize("lost", ["before it is sent", "before it is committed", "on the way back"])
def test_a_change_is_never_sent_twice(scene, lost, path, before, after):
    """The connection is cut, and a new one is possible."""
    set_status(scene, before)
    scene.served()
    scene.relay.cut_before = {"before it is sent": b"pg_locks", "before it is committed": b"SKIP LOCKED"}.get(lost)
    scene.relay.swallow = b"SKIP LOCKED" if lost == "on the way back" else None
    answer, _ = scene.ask("POST", path)
    scene.relay.cut_before = scene.relay.swallow = None
    assert answer.status == 503
    is_known = lost == "before it is sent"  # the look at the worker failed, and nothing else was sent
    assert ("not known" in str(answer.json["errors"][0].get("detail"))) is not is_known
    outcome = scene.service.entry(answer.header("X-Request-Id"))["outcome"]
    assert outcome == ("failed" if is_known else "unknown")
    assert wait_until(lambda: working(scene) == 0)
    assert status_in(scene) == (after if lost == "on the way back" else before)
    assert len(scene.served("POST", path)[0].json["migrations"]) == (0 if lost == "on the way back" else 1)


def test_the_outcome_of_a_write_that_was_never_sent_is_known(scene):
    with unreachable(scene):
        answer, _ = scene.ask("POST", routes.PAUSE)
        assert (answer.status, answer.json) == (503, UNAVAILABLE)
        assert scene.service.entry(answer.header("X-Request-Id"))["outcome"] == "failed"


# Another host


@pytest.fixture
def pair(house):
    """A primary on one address and its standby on another, on one port."""
    primary = Cluster(house.workspace, house.unique("primary"), {"wal_level": "replica"})
    name = house.unique("registry")
    database = primary.create_database(name)
    database.add_migration("one", id=1, status=1)
    database.close()
    standby = Cluster(house.workspace, house.unique("standby"), {"listen_addresses": "127.0.0.2"}, copy_of=primary)
    yield primary, standby, database
    for cluster in (primary, standby):
        if cluster.server.child.poll() is None:
            cluster.stop()


@contextlib.contextmanager
def two_hosts(house, keys, pair, hosts="127.0.0.1,127.0.0.2"):
    primary, _, database = pair
    changes = {"fcgi": LIMITS, "database": {"host": hosts, "port": primary.port, "connecttimeout": milliseconds(longer(1))}}
    with house.service(database.name, changes=changes) as service:
        yield Scene(primary, database, None, service, keys)


def status_of(cluster, name):
    with contextlib.closing(cluster.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM batched_background_migrations WHERE id = 1")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("silently", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["killed", "frozen"])
def test_failover(house, keys, pair, silently):
    """A frozen server still accepts connections, as a host does that hangs. The other one is tried all the same."""
    primary, standby, database = pair
    with two_hosts(house, keys, pair) as scene, contextlib.ExitStack() as stack:
        scene.warm()
        before = ResourceUsage(scene.service)
        with Load(scene.service, keys, clients=2) as load:
            if silently:
                stack.enter_context(frozen(primary.server))
            else:
                primary.crash()
            assert_unavailable([scene.ask(), scene.ask("POST", routes.PAUSE)])
            standby.promote()
            time.sleep(TIMEOUT)  # for those that were on their way
            for _ in range(THREADS):
                scene.served()
            scene.served("POST", routes.PAUSE)
        load.assert_right(TIMEOUT + QUEUE + SLACK)
        scene.cluster = standby
        scene.served("POST", routes.PAUSE)
        assert status_of(standby, database.name) == 0
        if silently:
            # Cancel requests that it has taken and not answered hold a thread each, a few at most.
            assert ResourceUsage(scene.service).threads <= before.threads + 16
            signal_all(primary.server, signal.SIGKILL)
        assert_nothing_leaked(scene, before)


def test_a_primary_that_becomes_read_only_is_left_immediately(house, keys, pair):
    """The connections stay open; the server reports its new state, and no client gets a 503."""
    primary, standby, database = pair
    with two_hosts(house, keys, pair) as scene:
        scene.warm()
        standby.promote()
        primary.execute("ALTER SYSTEM SET default_transaction_read_only TO on")
        primary.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        for _ in range(2 * THREADS):
            scene.served("POST", routes.PAUSE)
        assert (status_of(primary, database.name), status_of(standby, database.name)) == (1, 0)
    with two_hosts(house, keys, pair) as fresh:
        fresh.served("POST", routes.RESUME)
        assert status_of(standby, database.name) == 1


@pytest.mark.slow
def test_standbys_alone_are_no_database(house, keys, pair):
    with two_hosts(house, keys, pair, "127.0.0.2") as scene:
        assert_unavailable([scene.ask(), scene.ask("POST", routes.PAUSE)])


# A full disk


@pytest.fixture
def small_disk(house):
    folder = house.workspace.folder(house.unique("disk"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own takes the right to mount one")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(house, keys, small_disk):
    cluster = Cluster(house.workspace, house.unique("postgres"))
    try:
        with scene_on(house, keys, cluster) as scene:
            place = os.path.join(small_disk, "tables")
            os.mkdir(place)
            os.chmod(place, 0o700)
            os.chown(place, *[os.stat(cluster.data).st_uid, os.stat(cluster.data).st_gid])
            cluster.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            cluster.psql(
                scene.database.name,
                "-c", "ALTER TABLE batched_background_migrations SET TABLESPACE small",
                "-c", "INSERT INTO batched_background_migrations (name, max_value, batch_size, status,"
                      " job_signature_name, table_name, column_name)"
                      " SELECT repeat('x', 1000) || n, 1, 1, 1, 'j', 't', 'c' FROM generate_series(1, 100) AS n",
            )  # fmt: skip
            filler = os.path.join(small_disk, "filler")
            with open(filler, "wb", buffering=0) as out, contextlib.suppress(OSError):
                while out.write(bytes(4096)):
                    pass
            answer, _ = scene.ask("POST", routes.PAUSE)
            assert (answer.status, answer.json) == (503, UNAVAILABLE)
            scene.served()
            entry = scene.service.entry(answer.header("X-Request-Id"))
            assert entry["outcome"] == "failed" and "53100" in entry["reason"]
            os.unlink(filler)
            assert len(scene.ask("POST", routes.PAUSE)[0].json["migrations"]) == 101
    finally:
        cluster.stop()


@pytest.mark.slow
def test_sigterm_during_an_outage(scene):
    """All threads wait, and the program still stops in time."""
    with silence(scene), Load(scene.service, scene.keys, clients=6) as load:
        time.sleep(0.5)
        began = time.monotonic()
        scene.service.server.send(signal.SIGTERM)
        assert scene.service.server.child.wait(TIMEOUT + QUEUE + SLACK) == 0
        assert time.monotonic() - began < TIMEOUT + QUEUE + SLACK
    assert load.seen("read") <= {200, 503}
