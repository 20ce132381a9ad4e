"""Lists that are asked for at the same time share a statement: still none is told what was before it
was asked for, each gets its own answer, and nobody is held up by another's connection or reader."""

import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from harness import fastcgi, routes
from harness.faults import Census, settled_census
from harness.fastcgi import Connection, parameters, request_bytes
from harness.process import wait_until
from harness.slowness import longer

THREADS, TIMEOUT, QUEUE = 3, 4, 0.5
SLACK = 1.5  # for a busy machine
LIMITS = {"threads": THREADS, "timeout": "4s", "queuetimeout": "500ms", "readtimeout": "4s"}
MIGRATIONS = 8


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
        for number in range(MIGRATIONS):
            database.add_migration(f"migration_{number}", status=0)
        yield database


@pytest.fixture
def service(house, database, relay):
    changes = {"fcgi": LIMITS, "database": {"port": relay.port}}
    with house.service(database.name, changes=changes) as service:
        yield service


def ask(connection, token, method="GET", path=routes.LIST, **more):
    return connection.request(parameters(method, path, token, **more))


def samples(service):
    return fastcgi.ask(service.address, parameters("GET", "/-/metrics")).samples


def statements(service):
    return int(samples(service)["bbm_fcgi_database_statement_duration_seconds_count"])


class Crowd:
    """Clients that ask for the list all the time."""

    def __init__(self, service, token, clients):
        self.service, self.token = service, token
        self.statuses = []
        self.slowest = 0
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        with Connection(self.service.address) as connection:
            while not self._ending.is_set():
                start = time.monotonic()
                self.statuses.append(ask(connection, self.token).status)
                self.slowest = max(self.slowest, time.monotonic() - start)


def all_sessions(database):
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND usename <> current_user"
    return [row["pid"] for row in database.rows(sql, (database.name,))]


def warm(service, database, token):
    """Has each thread make its connection; a route that shares nothing does it."""

    def one(_):
        return fastcgi.ask(service.address, parameters("GET", routes.one(1), token)).status

    with ThreadPoolExecutor(2 * THREADS) as clients:
        while len(all_sessions(database)) < THREADS:
            assert set(clients.map(one, range(2 * THREADS))) == {200}


def test_a_statement_answers_many(service, relay, token):
    fastcgi.ask(service.address, parameters("GET", routes.LIST, token))
    before = statements(service)
    relay.delay = 0.003
    with Crowd(service, token, 16) as crowd:
        wait_until(lambda: len(crowd.statuses) >= 400)
    assert set(crowd.statuses) == {200}
    sent = statements(service) - before
    assert sent < len(crowd.statuses) / 2, f"{sent} statements for {len(crowd.statuses)} lists"


def test_what_was_committed_before_is_told(service, database, relay, token):
    """Each writes its own migration and asks: any list begun before the commit would give it away."""
    relay.delay = 0.002

    def write_and_ask(number):
        wrong = []
        with Connection(service.address) as connection, closing(database.cluster.connect(database.name)) as writer:
            with writer.cursor() as cursor:
                for value in range(1, 101):
                    sql = "UPDATE batched_background_migrations SET batch_size = %s WHERE name = %s RETURNING id"
                    cursor.execute(sql, (value, f"migration_{number}"))
                    row = cursor.fetchone()[0]
                    told = {m["id"]: m["batch_size"] for m in ask(connection, token).json["migrations"]}
                    if told[row] != value:
                        wrong.append((value, told[row]))
        return wrong

    with Crowd(service, token, 8) as crowd, ThreadPoolExecutor(MIGRATIONS) as writers:
        assert list(writers.map(write_and_ask, range(MIGRATIONS))) == [[]] * MIGRATIONS
    assert set(crowd.statuses) == {200}


def test_each_gets_its_own_answer_and_line(service, relay, token):
    """Head or not, by either route, each under its own id; and who may not read is none of them."""
    relay.delay = 0.003
    kinds = [("GET", routes.LIST), ("HEAD", routes.LIST), ("GET", "/v1/gitlab/bbm/status/")]

    def run(client):
        answers = []
        with Connection(service.address) as connection:
            for turn in range(20):
                method, path = kinds[(client + turn) % len(kinds)]
                name = f"client-{client:02}-{turn:02}"
                bearer = None if client == 0 else token
                answer = ask(connection, bearer, method, path, HTTP_X_REQUEST_ID=name)
                answers.append((client, method, name, answer))
        return answers

    with ThreadPoolExecutor(12) as clients:
        answers = [one for run_of in clients.map(run, range(12)) for one in run_of]
    bodies = {answer.body for client, method, _, answer in answers if client and method == "GET"}
    assert len(bodies) == 1 and len(answers) == 240
    for client, method, name, answer in answers:
        assert answer.header("X-Request-Id") == name
        assert answer.status == (200 if client else 401)
        assert (answer.body == b"") == (method == "HEAD")
        assert len(service.request_lines(name)) == 1
        entry = service.entry(name)
        assert (entry["method"], entry["status"]) == (method, answer.status)


def test_a_frozen_session_holds_up_its_own_round_alone(service, database, token):
    warm(service, database, token)
    frozen = int(all_sessions(database)[0])
    os.kill(frozen, signal.SIGSTOP)
    try:
        begun, answers = time.monotonic(), []

        def run(_):
            with Connection(service.address) as connection:
                for _ in range(50):
                    start = time.monotonic()
                    answers.append((ask(connection, token).status, time.monotonic() - start))

        with ThreadPoolExecutor(8) as clients:
            list(clients.map(run, range(8)))
        late = [status for status, seconds in answers if seconds > 1]
        assert {status for status, seconds in answers if seconds <= 1} == {200}
        # One round, of those who waited when that thread began it.
        assert len(late) <= 8 and set(late) <= {200, 503}
        assert time.monotonic() - begun < TIMEOUT + SLACK + 5
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_those_that_wait_for_what_hangs_are_taken_up(service, database, token):
    """By a thread that is free, though nobody asks after them: here all but one have a frozen session."""
    warm(service, database, token)
    whole = request_bytes(parameters("GET", routes.LIST, token))
    for _ in range(20):
        frozen = all_sessions(database)[: THREADS - 1]
        connections = [Connection(service.address) for _ in range(THREADS)]
        sockets = [connection.socket for connection in connections]
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            for connection in connections:
                connection.send(whole)
            assert select.select(sockets, [], [], TIMEOUT / 2)[0]
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        assert {connection.answer().status for connection in connections} == {200}
        for connection in connections:
            connection.socket.close()


def test_who_waits_is_taken_up_when_a_round_ends(service, relay, token):
    """And not only when somebody looks, every tenth of a second."""
    fastcgi.ask(service.address, parameters("GET", routes.LIST, token))
    relay.delay = 0.002
    whole = request_bytes(parameters("GET", routes.LIST, token))
    took = []
    for _ in range(30):
        connections = [Connection(service.address) for _ in range(THREADS)]
        start = time.monotonic()
        for connection in connections:
            connection.send(whole)
        assert {connection.answer().status for connection in connections} == {200}
        took.append(time.monotonic() - start)
        for connection in connections:
            connection.socket.close()
    assert sorted(took)[len(took) // 2] < 0.09


def test_when_the_database_hangs_all_are_told_in_time(service, database, token):
    warm(service, database, token)
    with database.locked(), ThreadPoolExecutor(20) as clients:

        def run(_):
            start = time.monotonic()
            answer = fastcgi.ask(service.address, parameters("GET", routes.LIST, token))
            return answer, time.monotonic() - start

        for answer, seconds in clients.map(run, range(20)):
            assert answer.status == 503 and answer.header("Retry-After")
            assert answer.json["errors"][0]["code"] == "UNAVAILABLE"
            assert seconds < TIMEOUT + QUEUE + SLACK
    assert wait_until(lambda: database.waiting_for_a_lock() == 0)
    assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


def test_those_that_wait_while_all_threads_are_stuck_are_shed(service, database, token):
    """Two begin rounds and hang, a third thread lets some wait and then hangs in something else."""
    warm(service, database, token)
    whole = request_bytes(parameters("GET", routes.LIST, token))
    other = request_bytes(parameters("GET", routes.one(1), token))
    for _ in range(20):
        shed = int(samples(service)["bbm_fcgi_shed_total"])
        connections = [Connection(service.address) for _ in range(9)]
        try:
            with database.locked():
                for connection in connections[:8]:
                    connection.send(whole)
                connections[8].send(other)
                start = time.monotonic()
                statuses = {connection.answer().status for connection in connections[2:8]}
                quick = time.monotonic() - start < QUEUE + SLACK
                assert statuses == {503}
        finally:
            for connection in connections:
                connection.socket.close()
        if quick and int(samples(service)["bbm_fcgi_shed_total"]) >= shed + 4:
            return
    pytest.fail("never were all threads stuck while some waited")


def test_a_stop_answers_those_that_wait(service, database, token):
    warm(service, database, token)
    connections = [Connection(service.address) for _ in range(10)]
    with database.locked():
        for connection in connections:
            connection.send(request_bytes(parameters("GET", routes.LIST, token)))
        assert wait_until(lambda: database.waiting_for_a_lock() >= 2)
        service.terminate()
        time.sleep(0.2)
    assert {connection.answer().status for connection in connections} == {200}
    for connection in connections:
        connection.socket.close()
    assert wait_until(lambda: service.server.child.poll() == 0)


def test_those_that_hang_up_leave_nothing(service, relay, database, token):
    warm(service, database, token)
    before = Census(service)
    relay.delay = 0.005
    whole = request_bytes(parameters("GET", routes.LIST, token))
    with Crowd(service, token, 4) as crowd:
        for _ in range(50):
            gone = [Connection(service.address) for _ in range(8)]
            for connection in gone:
                connection.send(whole)
                connection.socket.close()
    assert set(crowd.statuses) == {200}
    assert settled_census(service, before.descriptors).descriptors <= before.descriptors


def test_several_at_once_on_one_connection(service, token):
    with Connection(service.address) as connection, Crowd(service, token, 4):
        for _ in range(20):
            connection.send(request_bytes(parameters("GET", routes.LIST, token)) * 5)
            assert [connection.answer().status for _ in range(5)] == [200] * 5


def test_who_does_not_read_holds_up_nobody(house, relay, token):
    """A list as long as a registry's; more of it asked for than any socket holds."""
    whole = request_bytes(parameters("GET", routes.LIST, token))
    with house.database() as database:
        for number in range(193):
            database.add_migration(f"migration_{number}", status=0)
        changes = {"fcgi": LIMITS, "database": {"port": relay.port}}
        with house.service(database.name, changes=changes) as service:
            relay.delay = 0.003
            with Crowd(service, token, 6) as crowd:
                for _ in range(4):
                    deaf = [Connection(service.address) for _ in range(THREADS - 1)]
                    for _ in range(4):
                        for connection in deaf:
                            connection.send(whole)
                        time.sleep(0.06)
                    time.sleep(longer(0.7))
                    for connection in deaf:
                        connection.socket.close()
            assert set(crowd.statuses) == {200} and crowd.slowest < longer(0.6)
