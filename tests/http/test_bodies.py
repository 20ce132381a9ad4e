"""A request's body: what needs none is answered as soon as the parameters are there, and the rest waits for it in time.

Contract, section 1. Records as HAProxy, Caddy and a hostile peer send them, at the service's own socket.
"""

import contextlib
import socket

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import PARAMS, STDIN, Connection, begin, pairs, parameters, record, stream
from harness.mounts import MOUNTS
from harness.timing import longer, milliseconds

BUFFER = 128 * 1024  # RECORD_REQUEST_MOST in fcgi/server/record.h
DISCARDED_MOST = 64 * 1024 * 1024  # in fcgi/server/input.c
BODY_MOST = 4096  # PARAMS_BODY_SIZE in fcgi/http/params.h


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module")
def site(servers, database):
    """Its deadlines are longer than the test waits: so a wait for one of them fails the test."""
    changes = {"fcgi": {"threads": 1, "readtimeout": milliseconds(longer(60))}}
    with servers.service(database.name, changes=changes) as service:
        yield service


@pytest.fixture(scope="module")
def impatient(servers, database):
    changes = {"fcgi": {"threads": 1, "readtimeout": milliseconds(longer(0.5))}}
    with servers.service(database.name, changes=changes) as service:
        yield service


def params_only(params, keep=True, **more):
    return begin(keep) + stream(PARAMS, pairs({**params, **more}))


def ask_params_only(connection, params, keep=True, **more):
    connection.send(params_only(params, keep, **more))
    return connection.answer()


# Nothing to wait for


@pytest.mark.parametrize("keep", [True, False])
def test_a_post_without_a_body_needs_no_stdin_record(site, token, keep):
    """As HAProxy sends an empty POST that came over HTTP/2."""
    with Connection(site.address) as connection:
        post = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="0")
        connection.send(params_only(post, keep))
        assert connection.answer().status == 200
        if keep:
            assert ask_params_only(connection, post).status == 200
            assert connection.request(parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize("length", ["", "0", "3", "1000", str(2**62)])
@pytest.mark.parametrize("method, path, bearer, status", [
    ("GET", routes.LIST, True, 200),
    ("GET", routes.one(7), True, 200),
    ("OPTIONS", routes.PAUSE, False, 204),
    ("POST", routes.PAUSE, False, 401),
    ("POST", "/v1/gitlab/nonsense", True, 404),
    ("POST", routes.LIST, True, 405),
    ("POST", routes.one(10**20) + "pause/", True, 400),
    ("GET", "/-/liveness", False, 200),
])  # fmt: skip
def test_what_needs_no_body_is_answered_without_it(site, token, method, path, bearer, status, length):
    params = parameters(method, path, token if bearer else None, CONTENT_LENGTH=length)
    with Connection(site.address) as connection:
        answer = ask_params_only(connection, params)
        assert answer.status == status
        # The body comes after all, in pieces, and the connection serves on.
        connection.send(record(STDIN, b"abc")[:9])
        connection.send(record(STDIN, b"abc")[9:] + record(STDIN) + params_only(params))
        assert connection.answer().status == status


def test_a_body_that_was_not_waited_for_is_read_off(site, token):
    """Also where there is more of it than the kernel keeps, and the answer is not lost by that."""
    params = parameters("GET", routes.LIST, token, CONTENT_LENGTH=str(2**24))
    for keep in (True, False):
        with Connection(site.address) as connection:
            connection.send(params_only(params, keep) + stream(STDIN, b"x" * 2**24))
            assert connection.answer().status == 200
            if keep:
                assert connection.request(parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize("keep", [True, False])
def test_a_body_without_end_is_read_off_up_to_a_bound(site, token, keep):
    """64 MiB, and what the two sockets hold; on a kept connection, and on one that lingers after its answer."""
    part = record(STDIN, b"x" * 65528) * 16
    with Connection(site.address) as connection:
        assert ask_params_only(connection, parameters("GET", routes.LIST, token), keep).status == 200
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 2 * DISCARDED_MOST:
                connection.send(part)
                sent += len(part)
        assert sent > DISCARDED_MOST - len(part)


def test_silent_bodies_hold_no_thread(site, token):
    """As a thousand slow clients through Caddy would."""
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="1000")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(Connection(site.address))
            connection.send(params_only(params) + record(STDIN, b"{"))
        assert fastcgi.ask(site.address, parameters("GET", routes.LIST, token)).status == 200


# Bodies that are waited for


@pytest.mark.parametrize("announced", [True, False], ids=["a length", "no length"])
def test_a_body_in_pieces_is_waited_for(site, token, announced):
    body = b"{" + b" " * 998 + b"}"
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH=str(len(body)) if announced else "")
    with Connection(site.address) as connection:
        connection.send(params_only(params))
        for part in range(0, len(body), 100):
            connection.send(record(STDIN, body[part : part + 100], padding=part % 7))
        connection.send(record(STDIN))
        assert connection.answer().status == 200
        assert connection.request(parameters("GET", routes.LIST, token)).status == 200


def test_a_body_of_the_announced_length_is_whole_without_its_last_record(site, token):
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="2")
    with Connection(site.address) as connection:
        for _ in range(2):
            connection.send(params_only(params) + record(STDIN, b"{}"))
            assert connection.answer().status == 200


def test_a_body_shorter_than_announced_is_refused(site, token):
    with Connection(site.address) as connection:
        answer = connection.request(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="3"), b"{}")
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "INVALID_BODY")


@pytest.mark.parametrize("announced", [True, False], ids=["a length", "no length"])
def test_a_body_beyond_the_bound_is_refused_once_that_is_known(site, database, token, announced):
    before = database.migrations()
    length = {"CONTENT_LENGTH": str(BODY_MOST + 1)} if announced else {"CONTENT_LENGTH": None}
    with Connection(site.address) as connection:
        connection.send(params_only(parameters("POST", routes.PAUSE, token, **length)))
        if not announced:
            connection.send(record(STDIN, b" " * BODY_MOST) + record(STDIN, b" "))
        answer = connection.answer()
        assert (answer.status, answer.json["errors"][0]["code"]) == (413, "SIZE_INVALID")
        connection.send(record(STDIN, b"x" * 65535) * 100 + record(STDIN))
        assert connection.request(parameters("GET", routes.LIST, token)).status == 200
    assert database.migrations() == before


def test_a_body_in_too_many_pieces_is_refused(site, token):
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="4000")
    with Connection(site.address) as connection:
        connection.send(params_only(params) + record(STDIN, b" ", padding=255) * 1000)
        answer = connection.answer()
        assert (answer.status, answer.json["errors"][0]["code"]) == (413, "SIZE_INVALID")


@pytest.mark.parametrize("sent", [b"", record(STDIN, b"{")[:5], record(STDIN, b"{")], ids=["none", "half a header", "a part"])
@pytest.mark.parametrize("length", ["2", ""])
def test_a_body_that_does_not_come_is_answered_408(impatient, database, token, sent, length):
    before = database.migrations()
    with Connection(impatient.address) as connection:
        connection.send(params_only(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH=length)) + sent)
        answer = connection.answer()
        assert (answer.status, answer.json) == (408, error_body("REQUEST_TIMEOUT", "the request body did not come in time"))
        # No further request is taken where the rest of this one may still come.
        assert connection.closed_by_service()
    entry = impatient.entry(answer.header("X-Request-Id"))
    assert (entry["status"], entry["error"], entry["outcome"]) == (408, "REQUEST_TIMEOUT", "refused")
    assert database.migrations() == before
    samples = fastcgi.ask(impatient.address, parameters("GET", "/-/metrics")).samples
    assert int(samples['bbm_fcgi_requests_total{route="background-migrations/pause",method="POST",status="408"}']) > 0


def test_an_aborted_request_is_given_up(site, database, token):
    before = database.migrations()
    with Connection(site.address) as connection:
        connection.send(params_only(parameters("POST", routes.RESUME, token, CONTENT_LENGTH="2")))
        connection.send(record(fastcgi.ABORT_REQUEST))
        assert connection.closed_by_service()
    assert database.migrations() == before
    # Of one that is answered by then it says nothing.
    with Connection(site.address) as connection:
        for _ in range(3):
            assert connection.request(parameters("GET", routes.LIST, token)).status == 200
            connection.send(record(fastcgi.ABORT_REQUEST))


# Through web servers that pass a body on as it comes


@pytest.mark.parametrize("mount", ["caddy", "haproxy"])
def test_slow_clients_hold_no_connection(servers, database, token, mount):
    """More of them than the service takes connections; each has a body that does not come."""
    head = f"POST {routes.PAUSE} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode()
    changes = {"fcgi": {"threads": 2, "connections": 8, "readtimeout": milliseconds(longer(60))}}
    with MOUNTS[mount](servers, database, changes=changes) as mounted, contextlib.ExitStack() as stack:
        for _ in range(30):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", mounted.client.port)))
            slow.sendall(head)
        assert mounted.client.get(routes.LIST, token).status == 200


def test_haproxy_refuses_a_large_body_itself(servers, database, token):
    with MOUNTS["haproxy"](servers, database) as mounted:
        answer = mounted.client.post(routes.PAUSE, token, body=b"x" * 100_000)
        assert answer.status == 413 and answer.header("X-Request-Id") is None
        answer = mounted.client.post(routes.PAUSE, token, body=b"x" * 60_000)
        assert answer.status == 413 and answer.header("X-Request-Id")


# The last bytes of the buffer


def exactly(params, total):
    """A request up to `total` bytes, without its body's end."""
    start = params_only(params)
    content = total - len(start)
    parts = []
    while content > 65000 + 8 + 8:
        parts.append(record(STDIN, b"x" * 65000))
        content -= 65008
    return start + b"".join(parts) + record(STDIN, b"x" * (content - 8))


@pytest.mark.parametrize("further", [b"", record(STDIN), record(STDIN, b"y" * 100)], ids=["silence", "the end", "more"])
@pytest.mark.parametrize("left", range(10))
def test_a_body_up_to_the_last_bytes_of_the_buffer(site, token, left, further):
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="")
    with Connection(site.address) as connection:
        connection.send(exactly(params, BUFFER - left) + further)
        assert connection.answer().status == 413


@pytest.mark.parametrize("left", range(10))
def test_parameters_up_to_the_last_bytes_of_the_buffer(site, left):
    """Their end has no room in the last eight."""
    pair = pairs({"LONG": "x" * 70000})
    start = begin() + record(PARAMS, pair[:65000]) + record(PARAMS, pair[65000:])
    more = pairs({"LONG": "x" * 65000})
    more = more[: BUFFER - left - len(start) - 8]
    with Connection(site.address) as connection:
        connection.send(start + record(PARAMS, more))
        if left >= 8:
            connection.send(record(PARAMS, b"x"))
        assert connection.answer().status == 431
