"""A primary and its standby: the service finds the one that takes changes."""

import contextlib
import signal
import time

import pytest
from harness import routes
from harness.faults import Load, frozen, signal_all
from harness.postgres import Cluster
from harness.process import wait_until
from harness.resource import ResourceUsage
from harness.scene import LIMITS, QUEUE, SLACK, THREADS, TIMEOUT, Scene, assert_nothing_leaked, assert_unavailable
from harness.timing import longer, milliseconds


@pytest.fixture
def pair(servers):
    """A primary on one address and its standby on another, on one port."""
    primary = Cluster(servers.workspace, servers.unique("primary"), {"wal_level": "replica"})
    name = servers.unique("registry")
    database = primary.create_database(name)
    database.add_migration("one", id=1, status=1)
    database.close()
    standby = Cluster(servers.workspace, servers.unique("standby"), {"listen_addresses": "127.0.0.2"}, copy_of=primary)
    yield primary, standby, database
    for cluster in (primary, standby):
        if cluster.server.child.poll() is None:
            cluster.stop()


@contextlib.contextmanager
def two_hosts(servers, keys, pair, hosts="127.0.0.1,127.0.0.2"):
    primary, _, database = pair
    changes = {"fcgi": LIMITS, "database": {"host": hosts, "port": primary.port, "connecttimeout": milliseconds(longer(1))}}
    with servers.service(database.name, changes=changes) as service:
        yield Scene(primary, database, None, service, keys)


def status_of(cluster, name):
    with contextlib.closing(cluster.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM batched_background_migrations WHERE id = 1")
        return cursor.fetchone()[0]


def is_read_only(cluster):
    with contextlib.closing(cluster.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW default_transaction_read_only")
        return cursor.fetchone()[0] == "on"


@pytest.mark.parametrize("silently", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["killed", "frozen"])
def test_failover(servers, keys, pair, silently):
    """A frozen server still accepts connections, as a host does that hangs. The other one is tried all the same."""
    primary, standby, database = pair
    with two_hosts(servers, keys, pair) as scene, contextlib.ExitStack() as stack:
        scene.warm()
        before = ResourceUsage(scene.service)
        with Load(scene.service, keys, clients=2) as load:
            if silently:
                stack.enter_context(frozen(primary.server))
            else:
                primary.crash()
            assert_unavailable([scene.ask(), scene.ask("POST", routes.PAUSE)])
            standby.promote()
            time.sleep(TIMEOUT)  # for those that were on their way
            for _ in range(THREADS):
                scene.served()
            scene.served("POST", routes.PAUSE)
        load.assert_right(TIMEOUT + QUEUE + SLACK)
        scene.cluster = standby
        scene.served("POST", routes.PAUSE)
        assert status_of(standby, database.name) == 0
        if silently:
            # Cancel requests that it has taken and not answered hold a thread each, a few at most.
            assert ResourceUsage(scene.service).threads <= before.threads + 16
            signal_all(primary.server, signal.SIGKILL)
        assert_nothing_leaked(scene, before)


def test_a_primary_that_becomes_read_only_is_left_immediately(servers, keys, pair):
    """The connections stay open; the server reports its new state, and no client gets a 503."""
    primary, standby, database = pair
    with two_hosts(servers, keys, pair) as scene:
        scene.warm()
        standby.promote()
        primary.execute("ALTER SYSTEM SET default_transaction_read_only TO on")
        primary.execute("SELECT pg_reload_conf()")
        # The sessions of before have the same signal by then.
        assert wait_until(lambda: is_read_only(primary))
        for _ in range(2 * THREADS):
            scene.served("POST", routes.PAUSE)
        assert (status_of(primary, database.name), status_of(standby, database.name)) == (1, 0)
    with two_hosts(servers, keys, pair) as fresh:
        fresh.served("POST", routes.RESUME)
        assert status_of(standby, database.name) == 1


@pytest.mark.slow
def test_standbys_alone_are_no_database(servers, keys, pair):
    with two_hosts(servers, keys, pair, "127.0.0.2") as scene:
        assert_unavailable([scene.ask(), scene.ask("POST", routes.PAUSE)])
