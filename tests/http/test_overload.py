"""More requests than threads: each is answered within a bound, and monitoring always."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import Connection, parameters
from harness.process import wait_until
from harness.timing import longer, milliseconds

UNAVAILABLE = error_body("UNAVAILABLE", "service unavailable")
LIVENESS, METRICS = "/-/liveness", "/-/metrics"
JOBS = routes.jobs(1)  # not coalesced: each request takes a thread
QUEUE, TIMEOUT = longer(0.5), longer(3)
SLACK = longer(1.5)  # for a busy machine
LIMITS = {"threads": 2, "queuetimeout": milliseconds(QUEUE), "timeout": milliseconds(TIMEOUT)}


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("one", status=1)
        yield database


@pytest.fixture
def service(servers, database, relay):
    with servers.service(database.name, changes={"fcgi": LIMITS, "database": {"port": relay.port}}) as service:
        yield service


def timed(service, method="GET", path=routes.LIST, token=None):
    began = time.monotonic()
    answer = fastcgi.ask(service.address, parameters(method, path, token))
    return answer, time.monotonic() - began


@pytest.fixture
def all_stuck(service, database, token):
    """All threads wait for a lock, until the test is over."""
    assert timed(service, token=token)[0].status == 200
    stuck = ThreadPoolExecutor(LIMITS["threads"])
    with database.locked():
        waiting = [stuck.submit(timed, service, path=JOBS, token=token) for _ in range(LIMITS["threads"])]
        assert wait_until(lambda: database.waiting_for_a_lock() == LIMITS["threads"])
        yield waiting
    stuck.shutdown()


def test_monitoring_is_answered_while_all_threads_wait(service, all_stuck, token):
    for path in (LIVENESS, METRICS):
        answer, seconds = timed(service, path=path)
        assert answer.status == 200 and seconds < QUEUE + SLACK, path
    # The overload thread knows by now that they are stuck, and answers at once.
    for path in (LIVENESS, METRICS):
        answer, seconds = timed(service, path=path)
        assert answer.status == 200 and seconds < QUEUE, path
    samples = answer.samples
    assert samples["bbm_fcgi_database_up"] == "0"
    assert samples["bbm_fcgi_database_connections"] == str(LIMITS["threads"])
    answer, _ = timed(service, path="/-/readiness")
    assert (answer.status, answer.json) == (503, UNAVAILABLE)


def test_stuck_threads_are_answered_503_at_once(service, all_stuck, token):
    answer, seconds = timed(service, token=token)
    assert (answer.status, answer.json) == (503, UNAVAILABLE) and answer.header("Retry-After")
    assert seconds < QUEUE + SLACK
    answer, seconds = timed(service, "POST", routes.PAUSE, token)
    assert answer.status == 503 and seconds < QUEUE
    samples = timed(service, path=METRICS)[0].samples
    assert samples["bbm_fcgi_shed_total"] == "2"


def test_overload_keeps_the_order_of_judgement(service, all_stuck, token):
    for method, path, bearer, status in (
        ("GET", "/nonsense", token, 404),
        ("DELETE", routes.LIST, token, 405),
        ("GET", routes.LIST, None, 401),
        ("GET", routes.one(10**20), token, 400),
        ("GET", routes.one(1), token, 503),
    ):
        assert timed(service, method, path, bearer)[0].status == status


def test_waiting_statements_end_in_time(all_stuck):
    for waiting in all_stuck:
        answer, seconds = waiting.result()
        assert (answer.status, answer.json) == (503, UNAVAILABLE)
        assert seconds < TIMEOUT + SLACK


def test_recovery_after_overload(service, database, token):
    with database.locked(), ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(timed, service, token=token) for _ in range(20)]
        assert {answer.result()[0].status for answer in answers} == {503}
        assert max(answer.result()[1] for answer in answers) < QUEUE + TIMEOUT + SLACK
    for _ in range(5):
        answer, seconds = timed(service, token=token)
        assert answer.status == 200 and seconds < QUEUE


@pytest.mark.parametrize("kept", [False, True], ids=["a connection each", "kept connections"])
def test_slow_database_and_many_clients(service, relay, token, kept):
    """Two threads answer about ten requests a second here; eighty come at once."""
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
        params = parameters("GET", JOBS, token)
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
    # None waits longer than the bound for a thread, and none is rejected before.
    assert max(served) < QUEUE + 1 + SLACK
    assert max(refused) < QUEUE + SLACK
    assert min(refused) > QUEUE * 0.8
    relay.delay = 0
    answer, seconds = timed(service, token=token)
    assert answer.status == 200 and seconds < QUEUE


def test_bearable_load_is_not_rejected(servers, database, token):
    """Many clients, each of which is served soon: none is rejected."""
    with servers.service(database.name, changes={"fcgi": LIMITS}) as service:
        with ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda _: timed(service, token=token)[0].status, range(600)))
        assert set(answers) == {200}
        assert timed(service, path=METRICS)[0].samples["bbm_fcgi_shed_total"] == "0"


def test_single_thread(servers, database, token):
    limits = {**LIMITS, "threads": 1, "timeout": milliseconds(longer(1))}
    with servers.service(database.name, changes={"fcgi": limits}) as service:
        with database.locked():
            with ThreadPoolExecutor(4) as clients:
                answers = [clients.submit(timed, service, token=token) for _ in range(4)]
                assert {answer.result()[0].status for answer in answers} == {503}
            assert timed(service, path=LIVENESS)[0].status == 200
        # The thread becomes free just after its last answer; until then others get a 503.
        assert wait_until(lambda: timed(service, token=token)[0].status == 200, seconds=1)
