"""A standard error that nobody reads, blocking or not: requests go on, and what the log loses is counted."""

import contextlib
import os
import re

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters
from harness.process import wait_until
from harness.timing import longer

LOG_QUEUE = 512 * 1024  # LOG_QUEUE_SIZE in fcgi/base/log_queue.h
LIVENESS, METRICS = "/-/liveness", "/-/metrics"


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("one", status=1)
        yield database


@contextlib.contextmanager
def service_with_stuck_log(servers, database, blocking, from_start=False):
    """Its standard error is a full pipe, from the start or soon after it. read() reads what is in it."""
    pipe = os.path.join(servers.workspace.path, servers.unique("log"))
    os.mkfifo(pipe)
    os.chmod(pipe, 0o666)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    program = f"{servers.program}-{servers.unique('logging')}"
    # A second writer that never waits makes the pipe's end non-blocking for all that share it.
    mode = "" if blocking else "import fcntl, os; fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK)"
    start = f"import os; os.dup2(os.open({pipe!r}, os.O_WRONLY), 2); {mode}"
    with open(program, "w", encoding="utf-8") as script:
        script.write(f"#!/usr/bin/python3\n{start}\nimport sys\nos.execv({servers.program!r}, sys.argv)\n")
    os.chmod(program, 0o755)

    def read():
        text = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                text += os.read(end, 65536)
        return text

    def fill():
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"\n" * 4096)

    try:
        if from_start:
            fill()
        with servers.service(database.name, {"fcgi": {"threads": 2}}, program=program) as service:
            if not from_start:
                assert wait_until(lambda: b"serving" in read())  # all that it writes at its start
                fill()
            yield service, read
    finally:
        os.close(end)


@pytest.mark.parametrize("blocking", [True, False])
def test_no_request_waits_for_the_log(servers, database, token, blocking):
    """More lines than the queue takes, and none is read until all requests are answered."""
    with service_with_stuck_log(servers, database, blocking) as (service, read):
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

        # All lines are there but those that were counted, and the line of the write is.
        assert wait_until(report)
        assert int(report()[1]) == lost
        assert text.count(b'"status":401') == wanted - lost
        assert text.count(b'"correlation_id":"the-write"') == 1


def test_start_does_not_wait_for_the_log(servers, database):
    with service_with_stuck_log(servers, database, True, from_start=True) as (service, read):
        assert fastcgi.ask(service.address, parameters("GET", LIVENESS)).status == 200
        assert wait_until(lambda: b"serving" in read())


def test_stop_does_not_wait_for_the_log(servers, database):
    with service_with_stuck_log(servers, database, True) as (service, _):
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST)).status == 401
        service.terminate()
        assert service.server.child.wait(longer(5)) == 0
