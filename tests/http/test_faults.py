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
from harness import routes
from harness.faults import Load, frozen
from harness.postgres import PASSWORD, SERVICE_ROLE, Cluster
from harness.process import wait_until
from harness.resource import ResourceUsage
from harness.scene import (
    KEPT,
    QUEUE,
    SLACK,
    THREADS,
    TIMEOUT,
    UNAVAILABLE,
    assert_nothing_leaked,
    assert_unavailable,
    scene_on,
)


@pytest.fixture(scope="module")
def cluster(servers):
    cluster = Cluster(servers.workspace, servers.unique("postgres"), {"max_connections": "20", **KEPT})
    yield cluster
    cluster.stop()


@pytest.fixture
def scene(servers, keys, cluster):
    with scene_on(servers, keys, cluster) as scene:
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


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=pytest.mark.slow if fault in SLOW else ()) for fault in FAULTS],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_under_load(servers, keys, cluster, fault):
    name = "with_password" if fault is another_password else None  # the one that asks for it
    with scene_on(servers, keys, cluster, name) as scene:
        scene.warm()
        before = ResourceUsage(scene.service)
        with Load(scene.service, keys) as load:
            load.go_on()
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
            load.go_on()
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
        scene.ask_at_once(path=routes.jobs(1)) + scene.ask_at_once() + scene.ask_at_once(method="POST", path=routes.PAUSE)
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


# A full disk


@pytest.fixture
def small_disk(servers):
    folder = servers.workspace.folder(servers.unique("disk"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own takes the right to mount one")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(servers, keys, small_disk):
    cluster = Cluster(servers.workspace, servers.unique("postgres"))
    try:
        with scene_on(servers, keys, cluster) as scene:
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
