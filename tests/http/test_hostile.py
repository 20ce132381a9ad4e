"""Bytes that no web server sends, at the service's own socket: it answers or closes, and goes on serving.

BBM_HOSTILE_SECONDS is the duration of the random part, which finds most under a sanitizer.
"""

import os
import random
import re
import socket
import struct
import time

import pytest
from harness import fastcgi, routes
from harness.fastcgi import (
    ABORT_REQUEST, BEGIN_REQUEST, PARAMS, STDIN, STDOUT, Connection, begin, pairs, parameters, record, request_bytes, stream,
)  # fmt: skip
from harness.resource import ResourceUsage, settled_usage
from harness.timing import longer, milliseconds

SECONDS = float(os.environ.get("BBM_HOSTILE_SECONDS", "4"))


@pytest.fixture(scope="module")
def site(servers):
    with servers.site(changes={"fcgi": {"readtimeout": milliseconds(longer(1)), "threads": 4}}) as site:
        site.database.add_migration("seven", id=7, status=1)
        yield site


@pytest.fixture(autouse=True)
def still_serving(site, token):
    yield
    assert fastcgi.ask(site.service.address, parameters("GET", routes.LIST, token)).status == 200
    assert site.service.server.child.poll() is None


def send(service, content, wait=0.3):
    """Sends what it can; returns what came before the service closed the connection or fell silent."""
    with Connection(service.address, timeout=wait) as connection:
        try:
            connection.send(content)
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while part := connection.socket.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


GOOD = parameters("GET", "/v1/gitlab/nonsense")
WHOLE = request_bytes(GOOD)

ODD = {
    "nothing": b"",
    "zeros": bytes(1000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "wrong version": b"\x02" + WHOLE[1:],
    "no begin": stream(PARAMS, pairs(GOOD)) + record(STDIN),
    "begin without end": begin(),
    "begin twice": begin() + begin() + stream(PARAMS, pairs(GOOD)) + record(STDIN),
    "begin after params": record(PARAMS, pairs(GOOD)) + begin(),
    "only params": begin() + record(PARAMS, pairs(GOOD)),
    "ended within a pair": begin() + stream(PARAMS, pairs(GOOD)[:-3]) + record(STDIN),
    "params of another id": begin() + stream(PARAMS, pairs(GOOD), request_id=2) + record(STDIN),
    "two ids at once": begin() + record(BEGIN_REQUEST, struct.pack(">HB5x", 1, 1), 2) + stream(PARAMS, pairs(GOOD)),
    "id 0": record(BEGIN_REQUEST, struct.pack(">HB5x", 1, 1), 0),
    "get values": record(9, pairs({"FCGI_MAX_CONNS": ""}), 0),
    "unknown type": record(77, b"x" * 50),
    "an answer": record(STDOUT, b"Status: 200\r\n\r\n"),
    "abort": begin() + record(ABORT_REQUEST),
    "abort within params": begin() + record(PARAMS, pairs(GOOD)) + record(ABORT_REQUEST),
    "authorizer": begin(role=2) + stream(PARAMS, pairs(GOOD)) + record(STDIN),
    "filter": begin(role=3) + stream(PARAMS, pairs(GOOD)) + record(STDIN),
    "no role": begin(role=0xFFFF) + stream(PARAMS, pairs(GOOD)) + record(STDIN),
    "short begin": record(BEGIN_REQUEST, b"\0\1") + stream(PARAMS, pairs(GOOD)),
    "stdin before params end": begin() + record(PARAMS, pairs(GOOD)) + record(STDIN, b"x"),
    "a pair of 2 GiB": begin() + record(PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xff" + b"x" * 100),
    "a name of 2 GiB": begin() + record(PARAMS, b"\xff\xff\xff\xff\x01xx"),
    "half a length": begin() + stream(PARAMS, b"\xff\xff") + record(STDIN),
    "empty pairs": begin() + stream(PARAMS, b"\0\0" * 30000) + record(STDIN),
    "many headers": request_bytes({**GOOD, **{f"HTTP_X_{n}": "x" for n in range(5000)}}),
    "64 KiB in one": request_bytes({**GOOD, "HTTP_X_LONG": "x" * 65536}),
    "16 MiB in one": request_bytes({**GOOD, "HTTP_X_LONG": "x" * 2**24}),
    "the same name often": begin() + stream(PARAMS, b"".join(pairs({"PATH_INFO": "/x"}) for _ in range(900))) + record(STDIN),
    "no equals, no value": request_bytes({"": "", "=": "=", "REQUEST_METHOD": ""}),
    "zero bytes": request_bytes({**GOOD, "PATH_INFO": "/v1/gitlab/\0bbm/status", "HTTP_A\0B": "c\0d"}),
    "padding": begin() + stream(PARAMS, pairs(GOOD), padding=255) + record(STDIN, padding=255),
    "a byte a record": begin() + stream(PARAMS, pairs(GOOD), size=1) + record(STDIN),
    "a body that was not announced": request_bytes(GOOD, b"x" * 50000),
    "a body beyond the bound": request_bytes(GOOD, b"x" * 2**22),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_odd_records(site, what):
    answer = send(site.service, ODD[what])
    assert answer == b"" or answer[:2] in (b"\1\6", b"\1\3", b"\1\n", b"\1\v"), answer[:100]


@pytest.mark.parametrize("step", [1, 7, 8, 9, 40])
def test_request_cut_anywhere(site, step):
    for end in range(0, len(WHOLE), step * 7):
        send(site.service, WHOLE[:end], wait=0.02)


PATHS = {
    "zero": "/v1/gitlab/bbm/status%00",
    "a zero that is one": "/v1/gitlab/bb\0m/status",
    "dots": "/v1/gitlab/../gitlab/bbm/status",
    "encoded dots": "/v1/gitlab/%2e%2e/%2e%2e/etc/passwd",
    "slashes": "//v1//gitlab//bbm//status",
    "overlong slash": b"/v1/gitlab\xc0\xafbbm/status",
    "overlong zero": b"/v1/gitlab/bbm/status\xc0\x80",
    "surrogate": b"/v1/gitlab/\xed\xa0\x80",
    "beyond unicode": b"/v1/gitlab/\xf4\x90\x80\x80",
    "many segments": "/v1/gitlab" + "/a" * 50000,
    "very many segments": "/v1/gitlab" + "/a" * 100000,
    "a long id": "/v1/gitlab/background-migrations/" + "9" * 60000,
    "backslashes": "\\v1\\gitlab\\bbm\\status",
    "percents": "/v1/gitlab/" + "%" * 3000,
    "format": "/v1/gitlab/%s%n%x%d",
}


@pytest.mark.parametrize("what", PATHS)
def test_odd_paths(site, token, what):
    answer = send(site.service, request_bytes(parameters("GET", PATHS[what], token), keep=False), wait=1)
    status = re.search(rb"Status: (\d+)", answer)
    assert status and status[1] in (b"404", b"400", b"431"), answer[:200]


@pytest.mark.parametrize("path", [path for path in PATHS.values() if isinstance(path, str) and path.isprintable()])
def test_odd_paths_through_nginx(site, token, path):
    try:
        answer = site.client.get(path, token)
    except OSError:
        return  # nginx itself refuses a long line
    normalized = "//" in path or "/../" in path  # by nginx, into a path that exists
    assert answer.status in (400, 404, 414, 502) or (answer.status == 200 and normalized), answer


def mutated(dice, content):
    """One to eight random changes of a valid conversation."""
    content = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(content) or 1)
        kind = dice.randrange(6)
        if kind == 0 and content:
            content[at] = dice.randrange(256)
        elif kind == 1 and content:
            content[at] ^= 1 << dice.randrange(8)
        elif kind == 2:
            del content[at : at + dice.randrange(1, 60)]
        elif kind == 3:
            content[at:at] = dice.randbytes(dice.randrange(1, 60))
        elif kind == 4:
            content[at:at] = content[dice.randrange(len(content) or 1) :][: dice.randrange(1, 200)]
        else:
            content[at : at + 2] = dice.choice((b"\0\0", b"\xff\xff", b"\x80\0", b"\x7f\xff"))
    return bytes(content)


def test_random_mutations(site, token):
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    print(f"seed {seed}")
    seeds = [
        request_bytes(parameters("GET", routes.LIST, token)),
        request_bytes(parameters("GET", routes.one(7), token)) * 3,
        request_bytes(parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="3"), b"abc", keep=False),
        request_bytes(parameters("GET", routes.LIST + "7/jobs/", token, QUERY_STRING="n=5&last=%37&status=failed")),
        request_bytes(parameters("GET", "/-/metrics")) + WHOLE,
    ]
    send(site.service, WHOLE)
    before = ResourceUsage(site.service)
    tried, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        content = mutated(dice, dice.choice(seeds)) if dice.random() < 0.95 else dice.randbytes(dice.randrange(5000))
        send(site.service, content, wait=0.05)
        tried += 1
        assert site.service.server.child.poll() is None, f"it ended; seed {seed}, try {tried}"
    assert tried > 10 * SECONDS
    after = settled_usage(site.service, before.descriptors + 1)
    assert after.descriptors <= before.descriptors + 1, f"{before}, then {after} (seed {seed})"
