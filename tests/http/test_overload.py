"""More to do than threads: waiting has a bound, nobody is forgotten, and monitoring is always answered."""

import contextlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import Connection, parameters
from harness.process import wait_until
from harness.slowness import longer, milliseconds

UNAVAILABLE = error_body("UNAVAILABLE", "service unavailable")
LIVENESS, METRICS = "/-/liveness", "/-/metrics"
QUEUE, TIMEOUT = longer(0.5), longer(3)
SLACK = longer(1.5)  # for a busy machine
LOG_QUEUE = 512 * 1024  # LOG_QUEUE_SIZE in fcgi/base/log_queue.h
LIMITS = {"threads": 2, "queuetimeout": milliseconds(QUEUE), "timeout": milliseconds(TIMEOUT)}


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
        database.add_migration("one", status=1)
        yield database


@pytest.fixture
def service(house, database, relay):
    with house.service(database.name, changes={"fcgi": LIMITS, "database": {"port": relay.port}}) as service:
        yield service


def timed(service, method="GET", path=routes.LIST, token=None):
    began = time.monotonic()
    answer = fastcgi.ask(service.address, parameters(method, path, token))
    return answer, time.monotonic() - began


@pytest.fixture
def all_stuck(service, database, token):
    """Every thread waits for a lock that nobody releases until the test is over."""
    assert timed(service, token=token)[0].status == 200
    stuck = ThreadPoolExecutor(LIMITS["threads"])
    with database.locked():
        waiting = [stuck.submit(timed, service, token=token) for _ in range(LIMITS["threads"])]
        assert wait_until(lambda: database.waiting_for_a_lock() == LIMITS["threads"])
        yield waiting
    stuck.shutdown()


def test_monitoring_is_answered_while_all_threads_wait(service, all_stuck, token):
    for path in (LIVENESS, METRICS):
        answer, seconds = timed(service, path=path)
        assert answer.status == 200 and seconds < QUEUE + SLACK, path
    # By now it is known that they are stuck: no more waiting at all.
    for path in (LIVENESS, METRICS):
        answer, seconds = timed(service, path=path)
        assert answer.status == 200 and seconds < QUEUE, path
    samples = answer.samples
    assert samples["bbm_fcgi_database_up"] == "0"
    assert samples["bbm_fcgi_database_connections"] == str(LIMITS["threads"])
    answer, _ = timed(service, path="/-/readiness")
    assert (answer.status, answer.json) == (503, UNAVAILABLE)


@contextlib.contextmanager
def service_with_a_stuck_log(house, database, blocking):
    """Nobody reads what it writes, until read() is called. The pipe is full from the start."""
    pipe = os.path.join(house.workspace.path, house.unique("log"))
    os.mkfifo(pipe)
    os.chmod(pipe, 0o666)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    program = f"{house.program}-{house.unique('logging')}"
    # A second writer that never waits makes the pipe's end non-blocking for all that share it.
    mode = "" if blocking else "import fcntl, os; fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK)"
    start = f"import os; os.dup2(os.open({pipe!r}, os.O_WRONLY), 2); {mode}"
    with open(program, "w", encoding="utf-8") as script:
        script.write(f"#!/usr/bin/python3\n{start}\nimport sys\nos.execv({house.program!r}, sys.argv)\n")
    os.chmod(program, 0o755)

    def read():
        text = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                text += os.read(end, 65536)
        return text

    try:
        with house.service(database.name, {"fcgi": LIMITS}, program=program) as service:
            assert timed(service, path=LIVENESS)[0].status == 200
            assert wait_until(lambda: b"serving" in read())  # what it writes at its start
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(end, b"\n" * 4096)
            yield service, read
    finally:
        os.close(end)


@pytest.mark.parametrize("blocking", [True, False])
def test_no_request_waits_for_the_log(house, database, token, blocking):
    """More lines than the queue takes, and nobody reads them until all are answered."""
    with service_with_a_stuck_log(house, database, blocking) as (service, read):
        wanted = LOG_QUEUE // 300
        with Connection(service.address) as connection:
            refused = parameters("POST", routes.PAUSE, CONTENT_LENGTH="0", HTTP_X_REQUEST_ID="r" * 128)
            for _ in range(wanted):
                assert connection.request(refused).status == 401
            written = connection.request(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="0", HTTP_X_REQUEST_ID="the-write"))
            assert written.status == 200
            samples = connection.request(parameters("GET", METRICS)).samples
        lost = int(samples['bbm_fcgi_log_lines_lost_total{log="request"}'])
        assert lost > 0 and samples['bbm_fcgi_log_lines_lost_total{log="audit"}'] == "0"
        text = b""

        def report():
            nonlocal text
            text += read()
            return re.search(rb'"([0-9]+) lines of this log were lost', text)

        # All is there but what is counted, the write's line too.
        assert wait_until(report)
        assert int(report()[1]) == lost
        assert text.count(b'"status":401') == wanted - lost
        assert text.count(b'"correlation_id":"the-write"') == 1


def test_the_end_does_not_wait_for_the_log(house, database):
    with service_with_a_stuck_log(house, database, True) as (service, _):
        assert timed(service, path=routes.LIST)[0].status == 401
        service.terminate()
        assert service.server.child.wait(longer(5)) == 0


def test_beyond_the_bound_503_at_once(service, all_stuck, token):
    answer, seconds = timed(service, token=token)
    assert (answer.status, answer.json) == (503, UNAVAILABLE) and answer.header("Retry-After")
    assert seconds < QUEUE + SLACK
    answer, seconds = timed(service, "POST", routes.PAUSE, token)
    assert answer.status == 503 and seconds < QUEUE
    samples = timed(service, path=METRICS)[0].samples
    assert samples["bbm_fcgi_shed_total"] == "2"


def test_judged_in_the_same_order(service, all_stuck, token):
    for method, path, bearer, status in (
        ("GET", "/nonsense", token, 404),
        ("DELETE", routes.LIST, token, 405),
        ("GET", routes.LIST, None, 401),
        ("GET", routes.one(10**20), token, 400),
        ("GET", routes.one(1), token, 503),
    ):
        assert timed(service, method, path, bearer)[0].status == status


def test_those_that_wait_are_given_up_in_time_too(all_stuck):
    for waiting in all_stuck:
        answer, seconds = waiting.result()
        assert (answer.status, answer.json) == (503, UNAVAILABLE)
        assert seconds < TIMEOUT + SLACK


def test_all_is_well_afterwards(service, database, token):
    with database.locked(), ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(timed, service, token=token) for _ in range(20)]
        assert {answer.result()[0].status for answer in answers} == {503}
        assert max(answer.result()[1] for answer in answers) < QUEUE + TIMEOUT + SLACK
    for _ in range(5):
        answer, seconds = timed(service, token=token)
        assert answer.status == 200 and seconds < QUEUE


@pytest.mark.parametrize("kept", [False, True], ids=["a connection each", "kept connections"])
def test_a_slow_database_and_many_clients(service, relay, token, kept):
    """Ten requests a second is what two threads do here; eighty at once want eight seconds' worth."""
    for _ in range(LIMITS["threads"]):
        assert timed(service, token=token)[0].status == 200
    relay.delay = longer(0.1)
    connections = [Connection(service.address) for _ in range(80)] if kept else [None] * 80
    if kept:
        relay.delay = 0
        for connection in connections:
            assert connection.request(parameters("GET", LIVENESS)).status == 200
        relay.delay = longer(0.1)
    start = threading.Barrier(80)

    def ask(connection):
        start.wait()
        began = time.monotonic()
        params = parameters("GET", routes.LIST, token)
        answer = connection.request(params) if connection else fastcgi.ask(service.address, params)
        return answer.status, time.monotonic() - began

    with ThreadPoolExecutor(80) as clients:
        results = list(clients.map(ask, connections))
    for connection in connections:
        if connection:
            connection.socket.close()
    served = [seconds for status, seconds in results if status == 200]
    refused = [seconds for status, seconds in results if status == 503]
    assert len(served) + len(refused) == 80
    assert len(served) >= 4, "the threads went on working"
    assert len(refused) >= 20
    # None waits for longer than the bound for a thread, and none is refused before it.
    assert max(served) < QUEUE + 1 + SLACK
    assert max(refused) < QUEUE + SLACK
    assert min(refused) > QUEUE * 0.8
    relay.delay = 0
    answer, seconds = timed(service, token=token)
    assert answer.status == 200 and seconds < QUEUE


def test_a_load_that_can_be_borne_is_not_shed(house, database, token):
    """Many clients, but each is soon served: nobody is refused."""
    with house.service(database.name, changes={"fcgi": LIMITS}) as service:
        with ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda _: timed(service, token=token)[0].status, range(600)))
        assert set(answers) == {200}
        assert timed(service, path=METRICS)[0].samples["bbm_fcgi_shed_total"] == "0"


def test_only_one_thread(house, database, token):
    limits = {**LIMITS, "threads": 1, "timeout": milliseconds(longer(1))}
    with house.service(database.name, changes={"fcgi": limits}) as service:
        with database.locked():
            with ThreadPoolExecutor(4) as clients:
                answers = [clients.submit(timed, service, token=token) for _ in range(4)]
                assert {answer.result()[0].status for answer in answers} == {503}
            assert timed(service, path=LIVENESS)[0].status == 200
        # Its last answer is here before the thread itself is back, and until then others get a 503.
        assert wait_until(lambda: timed(service, token=token)[0].status == 200, seconds=1)
