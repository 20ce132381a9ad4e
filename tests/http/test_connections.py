"""Connections: idle, silent and slow peers, bodies of any size, peers that do not read or go away."""

import contextlib
import os
import subprocess
import time

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters
from harness.ports import free_port
from harness.process import wait_until
from harness.timing import longer, milliseconds
from harness.workspace import as_servers_user

HALF_A_SECOND = milliseconds(longer(0.5))


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module")
def listing(token):
    return parameters("GET", routes.LIST, token)


@contextlib.contextmanager
def held(address, number, sent=b""):
    """Connections on which only this was sent."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(address)) for _ in range(number)]
        for connection in connections:
            connection.send(sent)
        yield connections


# Peers that send nothing, or slowly


@pytest.mark.parametrize("threads, connections", [(1, 200), (2, 40), (8, 9)])
def test_idle_connections_do_not_block_others(servers, database, listing, threads, connections):
    changes = {"fcgi": {"threads": threads, "connections": connections}}
    with servers.service(database.name, changes=changes) as service:
        with held(service.address, connections - 1) as idle:
            for connection in idle[: connections // 2]:
                assert connection.request(listing).status == 200
            for _ in range(5):
                with Connection(service.address, timeout=5) as another:
                    assert another.request(listing, keep=False).status == 200
                    # The bound counts it until it is closed.
                    assert another.closed_by_service()


def test_connections_beyond_the_bound_wait(servers, database, listing):
    changes = {"fcgi": {"connections": 4, "idletimeout": HALF_A_SECOND}}
    with servers.service(database.name, changes=changes) as service:
        with held(service.address, 4) as idle:
            for connection in idle:
                assert connection.request(listing).status == 200
            with Connection(service.address) as late:
                assert late.request(listing).status == 200


SLOW = {
    "nothing": lambda whole: b"",
    "half a header": lambda whole: whole[:5],
    "half the parameters": lambda whole: whole[:60],
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_silent_peer_is_dropped(servers, database, listing, sent):
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND, "idletimeout": HALF_A_SECOND}}
    whole = fastcgi.request_bytes(listing)
    with servers.service(database.name, changes=changes) as service:
        with held(service.address, 3, sent(whole)) as slow:
            assert fastcgi.ask(service.address, listing).status == 200
            assert all(connection.closed_by_service() for connection in slow)


def trickle(connection, content, seconds):
    """Sends a byte at a time until the service closes. False where it has not after so many seconds."""
    connection.socket.settimeout(0.05)
    end = time.monotonic() + seconds
    for byte in content:
        with contextlib.suppress(TimeoutError):
            try:
                connection.send(bytes([byte]))
                if connection.socket.recv(65536) == b"":
                    return True
            except ConnectionError:
                return True
        if time.monotonic() > end:
            return False
    return False


def test_trickling_peer_is_dropped(servers, database, listing):
    """Each byte comes in time; the request does not."""
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND}}
    with servers.service(database.name, changes=changes) as service:
        with Connection(service.address) as slow:
            assert trickle(slow, fastcgi.request_bytes(listing), 15)
        assert fastcgi.ask(service.address, listing).status == 200


def test_trickling_body_is_dropped(servers, database, token, listing):
    """Each byte of a body that is waited for comes in time; the body does not."""
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND}}
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="1000")
    start = fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(params))
    with servers.service(database.name, changes=changes) as service:
        with Connection(service.address) as slow:
            slow.send(start)
            assert trickle(slow, fastcgi.record(fastcgi.STDIN, b"x" * 1000), 15)
            assert fastcgi.ask(service.address, listing).status == 200


def test_slow_readers_are_dropped(servers, database, listing):
    """More of them than threads, each with an answer far larger than its socket holds."""
    with servers.database() as large:
        for number in range(3):
            large.execute(
                "INSERT INTO batched_background_migrations (name, status, max_value, batch_size, job_signature_name,"
                " table_name, column_name) SELECT repeat('n', 4000) || %s || '-' || n, 1, 1, 1, 'j', 't', 'c'"
                " FROM generate_series(1, 500) AS n",
                (number,),
            )
        changes = {"fcgi": {"threads": 2, "timeout": milliseconds(longer(1)), "readtimeout": milliseconds(longer(2))}}
        with servers.service(large.name, changes=changes) as service:
            with held(service.address, 4, fastcgi.request_bytes(listing)):
                # 503 for a while, and then the threads are free again.
                options = parameters("OPTIONS", routes.LIST)
                assert wait_until(lambda: fastcgi.ask(service.address, options).status == 204, seconds=20)


def limit_descriptors(pid, number):
    """Sets the soft limit, as the user of the process: root may lack the right."""
    subprocess.run(as_servers_user(["prlimit", "--pid", str(pid), f"--nofile={number}:"]), check=True)


def test_recovery_from_too_few_descriptors(servers, database, listing):
    with servers.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
        pid = service.server.child.pid
        with Connection(service.address) as kept:
            assert kept.request(listing).status == 200  # and so the connection to the database is there
            limit_descriptors(pid, len(os.listdir(f"/proc/{pid}/fd")) + 2)
            with held(service.address, 12):
                assert wait_until(lambda: "cannot accept" in service.written(), seconds=10)
                for _ in range(5):
                    assert kept.request(listing).status == 200
            assert fastcgi.ask(service.address, listing).status == 200
            limit_descriptors(pid, 1024)
            assert kept.request(listing).status == 200
        assert service.written().count("cannot accept") < 100, "it fills the log"


# Bodies, and peers that go away


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 120_000, 140_000, 3_000_000])
@pytest.mark.parametrize("route", routes.ROUTES, ids=repr)
def test_body_of_any_size_on_any_route(socket_site, token, route, size):
    params = parameters(route.method, routes.ONE_BASE + route.path.format(id=7), token, CONTENT_LENGTH=str(size))
    with Connection(socket_site.address) as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(fastcgi.request_bytes(params, b"b" * size))
        answer = connection.answer()
    judged = route.access == "write" and size > 0
    assert answer.status == (200 if not judged else 400 if size <= 4096 else 413), answer
    assert fastcgi.ask(socket_site.address, parameters("OPTIONS", routes.LIST)).status == 204


@pytest.fixture(scope="module", params=["unix", "tcp"])
def socket_site(request, servers, database):
    """Over TCP an answer is lost if the connection is closed before the body is read."""
    listen = None if request.param == "unix" else ("127.0.0.1", free_port())
    with servers.service(database.name, changes={"fcgi": {"threads": 1}}, listen=listen) as service:
        yield service


@pytest.mark.parametrize("path", ["/v1/gitlab/nonsense", "/", routes.LIST])
def test_body_where_there_is_no_route(socket_site, path):
    for size in (10, 500_000):
        with Connection(socket_site.address) as connection:
            connection.send(fastcgi.request_bytes(parameters("PUT", path), b"b" * size))
            assert connection.answer().status in (404, 405)
    assert fastcgi.ask(socket_site.address, parameters("OPTIONS", routes.LIST)).status == 204


def test_disconnected_client_costs_only_its_own_request(socket_site, listing):
    """With one thread: if it were blocked, or SIGPIPE ended the process, no request would be answered."""
    whole = fastcgi.request_bytes(listing)
    for _ in range(30):
        with Connection(socket_site.address) as connection:
            connection.send(whole * 3)
    assert fastcgi.ask(socket_site.address, listing).status == 200


def test_unsent_answer_leaves_no_open_transaction(servers, token):
    """The pause of a client that has gone is done or not done, and leaves no open transaction."""
    with servers.database() as database, servers.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
        database.add_migration("m", status=1)
        for _ in range(10):
            with Connection(service.address) as connection:
                connection.send(fastcgi.request_bytes(parameters("POST", routes.PAUSE, token)))
        assert fastcgi.ask(service.address, parameters("POST", routes.RESUME, token)).status == 200
        open_ones = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in%%'"
        assert wait_until(lambda: database.rows(open_ones, (database.name,))[0]["n"] == 0)
