"""A database, a network before it, and a service that is in use, for tests of outages."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from . import fastcgi, routes
from .answer import error_body
from .fastcgi import parameters
from .ports import free_port
from .postgres import SERVICE_ROLE
from .process import wait_until
from .relay import Relay
from .resource import ResourceUsage, settled_usage
from .timing import longer, milliseconds

UNAVAILABLE = error_body("UNAVAILABLE", "service unavailable")
THREADS, TIMEOUT, QUEUE = 4, longer(2), longer(0.5)
SLACK = longer(2)  # for a busy machine, and sanitizers
LIMITS = {"threads": THREADS, "timeout": milliseconds(TIMEOUT), "queuetimeout": milliseconds(QUEUE)}
MEMORY = 8 * 1024  # kB that a fault may add: arenas, buffers, once for each thread


# What was committed before a crash is there after it.
KEPT = {"synchronous_commit": "on"}


class Scene:
    """A cluster of its own, a network before it, a service that has been in use."""

    def __init__(self, cluster, database, relay, service, keys):
        self.cluster = cluster
        self.database = database
        self.relay = relay
        self.service = service
        self.keys = keys
        self.token = keys.token("*")

    def ask(self, method="GET", path=routes.LIST):
        began = time.monotonic()
        answer = fastcgi.ask(self.service.address, parameters(method, path, self.token))
        return answer, time.monotonic() - began

    def served(self, method="GET", path=routes.LIST):
        """Fails with the log's reason where the answer is not 200."""
        answer, seconds = self.ask(method, path)
        assert answer.status == 200, self.service.entry(answer.header("X-Request-Id")).get("reason")
        return answer, seconds

    def ask_at_once(self, number=THREADS, method="GET", path=routes.LIST):
        with ThreadPoolExecutor(number) as clients:
            return list(clients.map(lambda _: self.ask(method, path), range(number)))

    def warm(self):
        """Makes each thread connect. (Lists, and requests for one migration, share a statement, so few threads would.)"""
        while self.sessions() < THREADS:
            answers = self.ask_at_once(2 * THREADS, path=routes.jobs(1))
            assert {answer.status for answer, _ in answers} == {200}

    def sessions(self):
        """The number of the service's sessions; -1 where the database does not answer."""
        try:
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
                return cursor.fetchone()[0]
        except psycopg2.OperationalError:
            return -1

    def end_sessions(self):
        self.cluster.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SERVICE_ROLE}'"
        )


@contextlib.contextmanager
def scene_on(servers, keys, cluster, name=None, changes=None):
    database = cluster.create_database(name or servers.unique("registry"))
    database.add_migration("one", status=1)
    database.close()
    relay = Relay(free_port(), ("127.0.0.1", cluster.port))
    relay.open()
    places = {"port": relay.port, "connecttimeout": milliseconds(longer(2))}
    try:
        with servers.service(database.name, changes={"fcgi": LIMITS, "database": places, **(changes or {})}) as service:
            yield Scene(cluster, database, relay, service, keys)
    finally:
        relay.close()


def assert_unavailable(answers):
    for answer, seconds in answers:
        assert (answer.status, answer.json) == (503, UNAVAILABLE)
        assert answer.header("Retry-After")
        assert seconds < TIMEOUT + QUEUE + SLACK


def assert_nothing_leaked(scene, before):
    after = settled_usage(scene.service, before.descriptors)
    assert after.descriptors <= before.descriptors, f"{before}, then {after}"
    # The threads that send cancel requests are gone.
    assert wait_until(lambda: ResourceUsage(scene.service).threads == before.threads), f"{before}, then {after}"
    # (A server behind a network that went silent keeps the sessions, until its own keepalives tell it.)
    if scene.relay is None or not scene.relay.went_silent:
        assert wait_until(lambda: 0 <= scene.sessions() <= THREADS), f"{scene.sessions()} sessions"
    if not after.sanitized:
        assert after.kilobytes < before.kilobytes + MEMORY, f"{before}, then {after}"
    assert scene.service.server.child.poll() is None
