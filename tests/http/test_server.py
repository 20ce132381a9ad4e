"""FastCGI's management records, what the server counts, and the process as a supervisor sees it."""

import os
import re
import struct

import pytest
from harness import fastcgi, routes
from harness.fastcgi import HEADER, PARAMS, STDIN, Connection, begin, pairs, parameters, record, stream
from harness.failing import Plan
from harness.process import Server, wait_until
from harness.resource import ResourceUsage
from harness.service import listening_socket
from harness.timing import longer, milliseconds

GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
SOON = milliseconds(longer(0.5))


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module")
def service(servers, database):
    with servers.service(database.name, changes={"fcgi": {"threads": 2, "connections": 77}}) as service:
        yield service


# Management records


def management(kind, content=b"", padding=0):
    return record(kind, content, 0, padding)


def result(connection):
    """The next record, which is a management record."""
    version, kind, request, length, padding = HEADER.unpack(connection._exactly(HEADER.size))
    content = connection._exactly(length)
    connection._exactly(padding)
    assert (version, request) == (1, 0)
    return kind, content


ASKED = management(GET_VALUES, pairs({"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "", "OTHER": ""}), 3)
VALUES = pairs({"FCGI_MAX_CONNS": "77", "FCGI_MAX_REQS": "77", "FCGI_MPXS_CONNS": "0"})


def test_values_are_told_and_the_connection_is_kept(service, token):
    with Connection(service.address) as connection:
        for _ in range(3):
            connection.send(ASKED)
            assert result(connection) == (GET_VALUES_RESULT, VALUES)
            assert connection.request(parameters("GET", routes.LIST, token)).status == 200
        connection.send(management(77, b"what"))
        assert result(connection) == (UNKNOWN_TYPE, struct.pack(">B7x", 77))
        assert connection.request(parameters("GET", routes.LIST, token)).status == 200


def test_values_are_told_amid_a_request(service, token):
    params = pairs(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="2"))
    parts = [begin(), record(PARAMS, params[:50]), record(PARAMS, params[50:]) + record(PARAMS), record(STDIN, b"{")]
    with Connection(service.address) as connection:
        for part in parts:
            connection.send(part + ASKED)
            assert result(connection) == (GET_VALUES_RESULT, VALUES)
        connection.send(record(STDIN, b"}") + record(STDIN))
        assert connection.answer().status == 200


# What is counted


def dropped(service):
    samples = fastcgi.ask(service.address, parameters("GET", "/-/metrics")).samples
    start = "bbm_fcgi_connections_dropped_total{reason="
    return {name[len(start) + 1 : -2]: int(value) for name, value in samples.items() if name.startswith(start)}


WHOLE = fastcgi.request_bytes(parameters("GET", routes.LIST))
DROPS = {
    "silence": (b"", "read_timeout", "without a whole request"),
    "half a header": (WHOLE[:5], "read_timeout", "without a whole request"),
    "half the parameters": (WHOLE[:60], "read_timeout", "without a whole request"),
    "an idle connection": (WHOLE, "idle_timeout", "without a request within fcgi.idletimeout"),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "not_fastcgi", "does not speak FastCGI"),
    "an abort": (begin() + record(fastcgi.ABORT_REQUEST), "aborted", "aborted a request"),
    "large parameters": (begin() + stream(PARAMS, pairs({"LONG": "x" * 200_000})), "parameters_too_large", "parameters pass"),
    "a peer that does not close": (fastcgi.request_bytes(parameters("GET", routes.LIST), keep=False)[:-8], "linger_timeout", "did not close"),
}  # fmt: skip


@pytest.fixture(scope="module")
def impatient(servers, database):
    changes = {"fcgi": {"threads": 2, "readtimeout": SOON, "idletimeout": SOON}, "log": {"level": "debug"}}
    with servers.service(database.name, changes=changes) as service:
        yield service


@pytest.mark.parametrize("what", DROPS)
def test_a_dropped_connection_is_counted_and_logged(impatient, what):
    sent, reason, words = DROPS[what]
    before = dropped(impatient)
    lines = impatient.written().count(words)
    with Connection(impatient.address) as connection:
        connection.send(sent)
        assert wait_until(lambda: dropped(impatient)[reason] > before[reason])
        assert wait_until(lambda: impatient.written().count(words) > lines)


def test_a_body_that_is_late_is_counted(impatient, token):
    before = dropped(impatient)["body_timeout"]
    with Connection(impatient.address) as connection:
        connection.send(begin() + stream(PARAMS, pairs(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="2"))))
        assert connection.answer().status == 408
    assert dropped(impatient)["body_timeout"] == before + 1


def test_an_answer_that_is_not_read_is_counted_once(servers, token):
    changes = {"fcgi": {"threads": 2, "timeout": SOON, "readtimeout": SOON}}
    with servers.database() as database:
        for number in range(5):
            database.add_migration(f"{number}-{'x' * 100_000}")
        with servers.service(database.name, changes=changes) as service, Connection(service.address) as connection:
            samples = lambda: fastcgi.ask(service.address, parameters("GET", "/-/metrics")).samples
            connection.send(fastcgi.request_bytes(parameters("GET", routes.LIST, token)))
            assert wait_until(lambda: dropped(service)["answer_timeout"] == 1)
            assert wait_until(lambda: "not read in time" in service.written())
            # By now the thread is free again.
            assert wait_until(lambda: samples()["bbm_fcgi_threads_busy"] == "1")
            assert dropped(service)["answer_timeout"] == 1


def test_busy_threads_are_counted(servers, database, token):
    with servers.service(database.name, changes={"fcgi": {"threads": 4}}) as service:
        samples = lambda: fastcgi.ask(service.address, parameters("GET", "/-/metrics")).samples
        assert samples()["bbm_fcgi_threads_busy"] == "1"  # the one that answers
        with database.locked(), Connection(service.address) as connection:
            connection.send(fastcgi.request_bytes(parameters("GET", routes.one(7), token)))
            assert database.someone_waits_for_a_lock()
            assert samples()["bbm_fcgi_threads_busy"] == "2"
        assert wait_until(lambda: samples()["bbm_fcgi_threads_busy"] == "1")


# The process


def switches(pid):
    """How often each thread has gone to sleep, by its id."""
    counts = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
            counts[int(task)] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.MULTILINE)[1])
    return counts


def test_an_idle_process_wakes_twice_a_second(servers, database, listing):
    """One thread looks for deadlines; while it does so six times, no other wakes."""
    with servers.service(database.name) as service:
        if ResourceUsage(service).sanitized:
            pytest.skip("a sanitizer has threads of its own")
        pid = service.server.child.pid
        assert fastcgi.ask(service.address, listing).status == 200
        before = switches(pid)

        def quiet():
            """Since the last look, the first thread has woken six times, and no other."""
            nonlocal before
            now = switches(pid)
            others = {task: count for task, count in now.items() if task != pid}
            if others != {task: count for task, count in before.items() if task != pid}:
                before = now
            return now[pid] >= before[pid] + 6

        assert wait_until(quiet, seconds=20)
        # And it serves at once.
        assert fastcgi.ask(service.address, listing).status == 200


@pytest.fixture
def listing(token):
    return parameters("GET", routes.LIST, token)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
def test_closed_descriptors_are_not_taken(servers, database, listing, closed):
    """Else a socket, or the epoll set, would have the number that log lines are written to."""
    closing = " ".join(f"{number}<&-" if number == 0 else f"{number}>&-" for number in closed)
    program = f"{servers.program}-{servers.unique('closing')}"
    with open(program, "w", encoding="utf-8") as script:
        script.write(f'#!/bin/sh\nexec {servers.program} "$@" {closing}\n')
    os.chmod(program, 0o755)
    with servers.service(database.name, program=program) as service:
        for _ in range(3):
            assert fastcgi.ask(service.address, listing).status == 200
        pid = service.server.child.pid
        for number in closed:
            assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"


def test_an_inherited_socket_stays_where_others_are_closed(servers, database, listing):
    path = servers.socket_path()
    program = f"{servers.program}-{servers.unique('closing')}"
    with open(program, "w", encoding="utf-8") as script:
        script.write(f'#!/bin/sh\nexec {servers.program} "$@" 1>&- 2>&-\n')
    os.chmod(program, 0o755)
    with listening_socket(path) as listener:
        servers.open_to_servers(path)
        with servers.service(database.name, listen=path, inherited=listener, program=program):
            assert fastcgi.ask(path, listing).status == 200


# What fails at the start

START_FAILURES = {
    "epoll_create1": "cannot make an epoll set: Too many open files",
    "eventfd": "cannot make an eventfd: Too many open files",
    "epoll_ctl": "cannot make an eventfd: No space left on device",
    "pipe2": "cannot make a thread's pipe: Too many open files",
    "pthread_create": "Resource temporarily unavailable",
}


@pytest.mark.parametrize("function", START_FAILURES)
def test_the_error_that_happened_is_named(servers, database, function):
    """Each of its calls at the start fails in turn, until there is none more and the service serves."""
    plan = Plan(servers)
    file = servers.write_configuration(servers.configuration(database.name, listen := servers.socket_path(), {"fcgi": {"threads": 2}}))
    for number in range(1, 20):
        plan.arm(number, only=function)
        server = Server("failing", [plan.program, "-c", file], f"{listen}.{number}.log", plan.environment)
        assert wait_until(lambda s=server: s.child.poll() is not None or served(listen))
        if server.child.poll() is None:  # no such call any more, or one that is not needed
            assert wait_until(lambda: served(listen)) and server.stop() == 0
            break
        assert server.child.wait(longer(10)) == 71
        lines = [line for line in server.written().splitlines() if not line.startswith("{")]
        assert len(lines) == 1, lines
        assert START_FAILURES[function] in lines[0] or "cannot wait for connections" in lines[0], lines
        assert ("fcgi.threads" in lines[0]) == ("cannot start thread" in lines[0]), lines
    assert number > 1


def served(address):
    try:
        return fastcgi.ask(address, parameters("OPTIONS", routes.LIST)).status == 204
    except OSError:
        return False
