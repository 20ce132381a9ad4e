"""Request coalescing: requests for the list, or for one migration, that come at the same time share a
database statement. Still no answer is older than its request, each request gets its own, and none waits
for another's peer."""

import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters, request_bytes
from harness.process import wait_until
from harness.resource import ResourceUsage, settled_usage

THREADS, TIMEOUT, QUEUE = 3, 4, 0.5
SLACK = 1.5  # for a busy machine
LIMITS = {"threads": THREADS, "timeout": "4s", "queuetimeout": "500ms", "readtimeout": "60s"}
MIGRATIONS = 8


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        for number in range(MIGRATIONS):
            database.add_migration(f"migration_{number}", status=0)
        yield database


@pytest.fixture
def service(servers, database, relay):
    changes = {"fcgi": LIMITS, "database": {"port": relay.port}}
    with servers.service(database.name, changes=changes) as service:
        yield service


def ask(connection, token, method="GET", path=routes.LIST, **more):
    return connection.request(parameters(method, path, token, **more))


def samples(service):
    return fastcgi.ask(service.address, parameters("GET", "/-/metrics")).samples


def statements(service):
    return int(samples(service)["bbm_fcgi_database_statement_duration_seconds_count"])


class Clients:
    """They request the list all the time."""

    def __init__(self, service, token, number):
        self.service, self.token = service, token
        self.answers = [[] for _ in range(number)]  # the statuses that each has got
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(answers,)) for answers in self.answers]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, answers):
        with Connection(self.service.address) as connection:
            while not self._ending.is_set():
                answers.append(ask(connection, self.token).status)

    @property
    def statuses(self):
        return [status for answers in self.answers for status in answers]

    def go_on(self, number):
        """Waits until each client has got so many more answers. False where one has not, in time."""
        goals = [len(answers) + number for answers in self.answers]
        return wait_until(lambda: all(len(answers) >= goal for answers, goal in zip(self.answers, goals)), seconds=8)


def all_sessions(database):
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND usename <> current_user"
    return [row["pid"] for row in database.rows(sql, (database.name,))]


def warm(service, database, token):
    """Has each thread make its database connection, by a route that is not coalesced."""

    def one(_):
        return fastcgi.ask(service.address, parameters("GET", routes.jobs(1), token)).status

    with ThreadPoolExecutor(2 * THREADS) as clients:
        while len(all_sessions(database)) < THREADS:
            assert set(clients.map(one, range(2 * THREADS))) == {200}


def test_one_statement_answers_many_requests(service, relay, token):
    fastcgi.ask(service.address, parameters("GET", routes.LIST, token))
    before = statements(service)
    relay.delay = 0.003
    with Clients(service, token, 16) as others:
        wait_until(lambda: len(others.statuses) >= 400)
    assert set(others.statuses) == {200}
    sent = statements(service) - before
    assert sent < len(others.statuses) / 2, f"{sent} statements for {len(others.statuses)} lists"


def test_requests_for_one_migration_share_a_statement(service, relay, token):
    """And each gets the migration that it asked for, or 404."""
    asked = [number % 3 + MIGRATIONS - 1 for number in range(18)]  # two that are there, one that is not
    for number in asked[:3]:
        fastcgi.ask(service.address, parameters("GET", routes.one(number), token))
    before = statements(service)
    for number in asked[:3]:
        fastcgi.ask(service.address, parameters("GET", routes.one(number), token))
    alone = (statements(service) - before) / 3
    before = statements(service)
    relay.delay = 0.001

    def run(number):
        with Connection(service.address) as connection:
            return [ask(connection, token, path=routes.one(number)) for _ in range(30)]

    with ThreadPoolExecutor(len(asked)) as clients:
        for number, answers in zip(asked, clients.map(run, asked)):
            for answer in answers:
                if number > MIGRATIONS:
                    assert answer.status == 404
                    assert answer.json["errors"][0]["detail"] == f"BBM with ID {number} not found"
                else:
                    assert answer.status == 200 and answer.json["migration"]["id"] == number
                    assert answer.header("ETag")
    sent = statements(service) - before
    assert sent < alone * len(asked) * 30 / 2, f"{sent} statements for {len(asked) * 30} requests"


def test_list_is_not_older_than_its_request(service, database, relay, token):
    """Each client writes its own migration and requests the list; a list from before the commit shows."""
    relay.delay = 0.002

    def write_and_ask(number):
        wrong = []
        with Connection(service.address) as connection, closing(database.cluster.connect(database.name)) as writer:
            with writer.cursor() as cursor:
                for value in range(1, 101):
                    sql = "UPDATE batched_background_migrations SET batch_size = %s WHERE name = %s RETURNING id"
                    cursor.execute(sql, (value, f"migration_{number}"))
                    row = cursor.fetchone()[0]
                    seen = {m["id"]: m["batch_size"] for m in ask(connection, token).json["migrations"]}
                    if seen[row] != value:
                        wrong.append((value, seen[row]))
        return wrong

    with Clients(service, token, 8) as others, ThreadPoolExecutor(MIGRATIONS) as writers:
        assert list(writers.map(write_and_ask, range(MIGRATIONS))) == [[]] * MIGRATIONS
    assert set(others.statuses) == {200}


def test_each_request_has_its_own_answer_and_log_line(service, relay, token):
    """HEAD or GET, by either route, with a filter or without, each with its own id; and one client without a token."""
    relay.delay = 0.003
    status = "/v1/gitlab/bbm/status/"
    kinds = [("GET", routes.LIST, ""), ("HEAD", routes.LIST, ""), ("GET", status, ""), ("GET", status, "status=finished")]

    def run(client):
        answers = []
        with Connection(service.address) as connection:
            for turn in range(20):
                method, path, query = kinds[(client + turn) % len(kinds)]
                name = f"client-{client:02}-{turn:02}"
                bearer = None if client == 0 else token
                answer = ask(connection, bearer, method, path, QUERY_STRING=query, HTTP_X_REQUEST_ID=name)
                answers.append((client, method, query, name, answer))
        return answers

    with ThreadPoolExecutor(12) as clients:
        answers = [one for run_of in clients.map(run, range(12)) for one in run_of]
    bodies = {(query, answer.body) for client, method, query, _, answer in answers if client and method == "GET"}
    assert len(bodies) == 2 and len(answers) == 240
    assert ("status=finished", b'{"migrations":[],"job_in_flight":false}') in bodies
    for client, method, _, name, answer in answers:
        assert answer.header("X-Request-Id") == name
        assert answer.status == (200 if client else 401)
        assert (answer.body == b"") == (method == "HEAD")
        assert len(service.request_lines(name)) == 1
        entry = service.entry(name)
        assert (entry["method"], entry["status"]) == (method, answer.status)


def test_frozen_session_blocks_only_its_own_batch(service, database, token):
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
        # One batch, of the requests that waited when that thread started it.
        assert len(late) <= 8 and set(late) <= {200, 503}
        assert time.monotonic() - begun < TIMEOUT + SLACK + 5
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_free_thread_answers_request_that_waits_for_hanging_batch(service, database, token):
    """No further request has to come for that. One of the threads has a frozen session here. (Both requests
    are in one batch, now and then, where the batch before had not ended yet.)"""
    warm(service, database, token)
    whole = request_bytes(parameters("GET", routes.LIST, token))
    unanswered = 0
    for number in range(20):
        frozen = all_sessions(database)[number % THREADS]
        connections = [Connection(service.address) for _ in range(2)]
        sockets = [connection.socket for connection in connections]
        try:
            os.kill(frozen, signal.SIGSTOP)
            for connection in connections:
                connection.send(whole)
            unanswered += not select.select(sockets, [], [], TIMEOUT / 2)[0]
            assert unanswered < 4
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert {connection.answer().status for connection in connections} == {200}
        for connection in connections:
            connection.socket.close()


def test_waiting_requests_are_answered_when_a_batch_ends(service, relay, token):
    """At once, and not when the overload thread looks, every tenth of a second."""
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


def test_hanging_database_is_answered_503_in_time(service, database, token):
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


def test_waiting_requests_are_rejected_while_all_threads_are_stuck(service, database, token):
    """One thread starts a batch and hangs; the others let requests wait, and then hang in other requests."""
    warm(service, database, token)
    whole = request_bytes(parameters("GET", routes.LIST, token))
    other = request_bytes(parameters("GET", routes.jobs(1), token))
    for _ in range(20):
        rejected = int(samples(service)["bbm_fcgi_shed_total"])
        connections = [Connection(service.address) for _ in range(6 + THREADS)]
        try:
            with database.locked():
                for connection in connections[:7]:
                    connection.send(whole)
                for connection in connections[7:]:
                    connection.send(other)
                start = time.monotonic()
                statuses = {connection.answer().status for connection in connections[1:7]}
                quick = time.monotonic() - start < QUEUE + SLACK
                assert statuses == {503}
        finally:
            for connection in connections:
                connection.socket.close()
        if quick and int(samples(service)["bbm_fcgi_shed_total"]) >= rejected + 4:
            return
    pytest.fail("never were all threads stuck while some waited")


def test_stop_answers_waiting_requests(service, database, token):
    warm(service, database, token)
    connections = [Connection(service.address) for _ in range(10)]
    with database.locked():
        for connection in connections:
            connection.send(request_bytes(parameters("GET", routes.LIST, token)))
        assert wait_until(lambda: database.waiting_for_a_lock() >= 2)
        service.terminate()
        assert wait_until(lambda: "stopping" in service.written())
    assert {connection.answer().status for connection in connections} == {200}
    for connection in connections:
        connection.socket.close()
    assert wait_until(lambda: service.server.child.poll() == 0)


def test_clients_that_disconnect_leave_nothing(service, relay, database, token):
    warm(service, database, token)
    before = ResourceUsage(service)
    relay.delay = 0.005
    whole = request_bytes(parameters("GET", routes.LIST, token))
    with Clients(service, token, 4) as others:
        for _ in range(50):
            gone = [Connection(service.address) for _ in range(8)]
            for connection in gone:
                connection.send(whole)
                connection.socket.close()
    assert set(others.statuses) == {200}
    assert settled_usage(service, before.descriptors).descriptors <= before.descriptors


def test_several_requests_at_once_on_one_connection(service, token):
    with Connection(service.address) as connection, Clients(service, token, 4):
        for _ in range(20):
            connection.send(request_bytes(parameters("GET", routes.LIST, token)) * 5)
            assert [connection.answer().status for _ in range(5)] == [200] * 5


def fill(connection, service, token, name):
    """Requests lists, each alone, and reads none of them, until an answer is not taken any more."""
    for number in range(20):
        correlation = f"{name}-{number}"
        connection.send(request_bytes(parameters("GET", routes.LIST, token, HTTP_X_REQUEST_ID=correlation)))
        if not wait_until(lambda c=correlation: c in service.written(), seconds=0.3):
            return
    raise AssertionError("the socket takes all answers")


@pytest.mark.parametrize("migrations", [193, 700])
def test_slow_reader_does_not_block_others(servers, relay, token, migrations):
    """A peer that does not read blocks a thread for longer than a client waits. Its lists are as long as a
    registry's, or longer than a socket takes, and requested while others request theirs."""
    with servers.database() as database:
        for number in range(migrations):
            database.add_migration(f"migration_{number}", status=0)
        changes = {"fcgi": LIMITS, "database": {"port": relay.port}}
        with servers.service(database.name, changes=changes) as service:
            relay.delay = 0.003
            with Clients(service, token, 6) as others:
                # Several times: a batch that blocks is noticed only by those that come after the slow reader in it.
                for number in range(8):
                    with Connection(service.address) as slow:
                        fill(slow, service, token, f"slow-{number}")
                        assert others.go_on(5)
            assert set(others.statuses) == {200}
