#!/usr/bin/python3
"""A long run: reads, writes, refusals and faults in turn, and a table of what the process holds.

    make soak SOAK_SECONDS=1800

First comes what fills once and for all: more distinct tokens than are remembered, every route, every
fault. The rounds after that are judged, and the last lines say by what rule. It ends with an error
where an answer was wrong or late, or where the process held more and more.

glibc's malloc keeps for each thread up to seven freed pieces of each of 64 sizes, 230 kB in all, and
fills the last of them after hours. Here that cache is off, so that nothing is left that may grow.
"""

import itertools
import os
import re
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))

from harness import fastcgi, routes, tokens  # noqa: E402
from harness.fastcgi import parameters  # noqa: E402
from harness.faults import Load, frozen  # noqa: E402
from harness.relay import Relay  # noqa: E402
from harness.servers import Servers  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.postgres import REPOSITORY, SERVICE_ROLE, Cluster  # noqa: E402
from harness.resource import ResourceUsage  # noqa: E402

THREADS, TIMEOUT = 4, 2
LATEST = 10  # seconds; late enough for a busy machine, and early for one that hangs
LIMITS = {"threads": THREADS, "timeout": f"{TIMEOUT}s", "queuetimeout": "500ms"}
TURNS_LEAST = 3  # through all faults, that are judged
FRESH = 60  # tokens of each round that were not seen before
RISE_MOST = 64  # kB, sixteen pages: from one look to the next it goes up and down by as much
STEP_MOST = 256  # kB that any look may show beyond the highest while it settled: a slope sees no step
NO_CACHE = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


def crash(cluster, _relay):
    cluster.crash()
    time.sleep(1)
    cluster.start_again()


def silence(_cluster, relay):
    relay.go_silent()
    time.sleep(TIMEOUT + 1)
    relay.speak_again()


def cut(_cluster, relay):
    relay.close()
    time.sleep(1)
    relay.open()


def freeze(cluster, _relay):
    with frozen(cluster.server):
        time.sleep(TIMEOUT + 1)


def end_sessions(cluster, _relay):
    for _ in range(5):
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SERVICE_ROLE}'")
        time.sleep(0.2)


FAULTS = (end_sessions, cut, crash, silence, freeze)
numbers = itertools.count()


def remembered_most():
    with open(os.path.join(REPOSITORY, "fcgi", "verified.h"), encoding="ascii") as header:
        return int(re.search(r"#define VERIFIED_MOST (\d+)", header.read()).group(1))


def fresh_tokens(keys, accepted, refused):
    """(token, what it is answered) of each kind in turn: by key id, by certificate, RSA and EC."""
    chain = {"kid": tokens.ABSENT, "x5c": ["".join(keys.second.certificate.splitlines()[1:-1])]}
    unlike = lambda **changes: tokens.claims(jti=f"soaked {next(numbers)}", **changes)
    good = (
        lambda: tokens.sign(keys.curve, unlike(), "ES256"),
        lambda: tokens.sign(keys.trusted, unlike()),
        lambda: tokens.sign(keys.second, unlike(), **chain),
    )
    bad = (
        lambda: tokens.sign(keys.stranger, unlike()),
        lambda: tokens.sign(keys.stranger, unlike(), kid=keys.trusted.kid),
        lambda: tokens.sign(keys.curve, unlike(exp=1), "ES256"),
        lambda: tokens.sign(keys.curve, unlike(access=[]), "ES256"),
        lambda: tokens.remember("neither.a.token"),
    )
    for number in range(accepted):
        yield good[number % len(good)](), 200
    for number in range(refused):
        yield bad[number % len(bad)](), 401


def meet(service, keys, accepted, refused):
    """Asks with so many distinct tokens; what was answered otherwise than it should have been."""
    wrong = []
    with fastcgi.Connection(service.address) as connection:
        for token, status in fresh_tokens(keys, accepted, refused):
            tokens.minted.discard(token)  # too many to look for in every log
            answer = connection.request(parameters("GET", routes.one(1), token))
            if answer.status != status:
                wrong.append(f"a token that deserves {status}: {answer}")
    return wrong


def visit(service, keys):
    """Every route and every refusal, once."""
    asks = [(route.method, routes.ONE_BASE + route.path.format(id=1) + "/") for route in routes.ROUTES + routes.LATER_ROUTES]
    asks += [("GET", f"/-/{name}") for name in ("liveness", "readiness", "metrics")]
    asks += [("GET", "/nowhere"), ("PUT", routes.LIST), ("OPTIONS", routes.LIST), ("GET", routes.one("x")), ("GET", routes.one(77))]
    token = keys.token("*")
    answers = [fastcgi.ask(service.address, parameters(*ask, token)) for ask in asks]
    return [f"{answer}" for answer in answers if answer.status not in (200, 204, 400, 404, 405, 409)]


class Round:
    """One fault under load, and what the process holds once all is quiet again."""

    def __init__(self, scene, turn, seconds):
        fault = FAULTS[turn % len(FAULTS)]
        service, keys, cluster, relay = scene
        with Load(service, keys, pause=0.02) as load:
            time.sleep(seconds)
            fault(cluster, relay)
            time.sleep(2)
        self.wrong = []
        try:
            load.assert_right(LATEST)
        except AssertionError as failure:
            self.wrong.append(f"{failure} {load.faults[:3]}")
        self.wrong += meet(service, keys, FRESH, FRESH) + visit(service, keys)
        time.sleep(TIMEOUT + 0.5)
        statuses = [status for _, status, _, _ in load.answers]
        self.name = fault.__name__
        self.requests = len(statuses) + 2 * FRESH
        self.counts = statuses.count(200) + FRESH, statuses.count(401) + FRESH, statuses.count(503)
        self.slowest = load.slowest()
        self.usage = ResourceUsage(service)

    def line(self, start):
        good, refused, unavailable = self.counts
        return (
            f"{time.monotonic() - start:7.0f} {self.name:>13} {self.requests:8} {good:8} {refused:6} {unavailable:6}"
            f" {self.slowest:8.2f} {self.usage.descriptors:5} {self.usage.threads:7} {self.usage.kilobytes:8}"
        )


def soak(servers, seconds):
    """The rounds that settle, and those that are judged."""
    cluster = Cluster(servers.workspace, "soaked", {"synchronous_commit": "on"})
    database = cluster.create_database("soak", sample=True)
    database.close()
    relay = Relay(free_port(), ("127.0.0.1", cluster.port))
    relay.open()
    changes = {"fcgi": LIMITS, "database": {"port": relay.port, "connecttimeout": "2s"}, "log": {"level": "error"}}
    try:
        with servers.service(database.name, changes=changes, environment=NO_CACHE) as service:
            pid = service.server.child.pid
            scene = service, servers.keys, cluster, relay
            length = min(20, seconds / 40)
            distinct = 5 * remembered_most()
            wrong = meet(service, servers.keys, distinct, distinct // 5)
            assert not wrong, wrong[:3]
            print(f"{distinct} distinct tokens taken, {distinct // 5} refused: {ResourceUsage(service)}; then each fault, twice")
            start = time.monotonic()
            settling = run(scene, start, length, len(FAULTS) * 2)
            print("settled; from here on judged", flush=True)
            end = time.monotonic() + seconds
            judged = run(scene, start, length, len(FAULTS) * TURNS_LEAST, end)
            assert service.server.child.pid == pid and service.server.child.poll() is None
    finally:
        relay.close()
        cluster.server.send(signal.SIGCONT)
        cluster.stop()
    return settling, judged


def run(scene, start, length, least, end=0):
    rounds = []
    while len(rounds) < least or time.monotonic() < end:
        rounds.append(Round(scene, len(rounds), length))
        print(rounds[-1].line(start), flush=True)
    return rounds


def steepness(points):
    """The median of the slopes between all pairs (Theil and Sen): a step or two do not bend it."""
    pairs = itertools.combinations(points, 2)
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)


def verdict(settling, judged):
    """What grew; and the figures, in a line each."""
    requests = list(itertools.accumulate(one.requests for one in judged))
    first = len(judged) // 3
    points = [(count, one.usage.kilobytes * 1024) for count, one in zip(requests, judged)][first:]
    slope, span = steepness(points), points[-1][0] - points[0][0]
    rise = slope * span / 1024
    grew = []
    print(
        f"memory over the last two thirds of the judged rounds, {span} requests: {rise:+.0f} kB by its median slope,"
        f" {slope:+.2f} bytes a request; flat is no more than {RISE_MOST} kB"
    )
    if rise > RISE_MOST:
        grew.append("memory")
    for what, more in (("kilobytes", STEP_MOST), ("descriptors", 0), ("threads", 0)):
        before, after = (max(getattr(one.usage, what) for one in rounds) for rounds in (settling, judged))
        print(f"{what}: at most {after}, while settling {before}; flat is no more than {before + more}")
        if after > before + more:
            grew.append(what)
    return grew


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    print(f"{'seconds':>7} {'fault':>13} {'requests':>8} {'200':>8} {'401':>6} {'503':>6} {'slowest':>8}"
          f" {'files':>5} {'threads':>7} {'kB':>8}")  # fmt: skip
    with Servers() as servers:
        settling, judged = soak(servers, seconds)
    rounds = settling + judged
    wrong = [f"round {number}, {one.name}: {what}" for number, one in enumerate(rounds) for what in one.wrong]
    print(f"{sum(one.requests for one in rounds)} requests; settled at {settling[-1].usage}; at the end {judged[-1].usage}")
    grew = verdict(settling, judged)
    if wrong:
        sys.exit("\n".join(["wrong answers:", *wrong[:20]]))
    if grew:
        sys.exit(f"not flat: {', '.join(grew)}")
    print("flat")


if __name__ == "__main__":
    main()
