"""The servers that all tests share, and the count that tests/run prints."""

import os
import pathlib
import signal

import pytest
from harness import fastcgi
from harness.history import Desk
from harness.relay import Relay
from harness.servers import Servers
from harness.ports import free_port
from harness.signers import Judge, Signers


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupted(number, _frame):
    # Once only: a second signal must not interrupt the stop of the servers.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(f"signal {number}")


def pytest_configure():
    # However the run is ended, the fixtures are torn down and no server stays behind.
    for number in ENDING:
        signal.signal(number, _interrupted)


def pytest_collection_modifyitems(config, items):
    """What has to wait long for something is for make test-slow."""
    if os.environ.get("BBM_TEST_SLOW"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


@pytest.fixture(scope="session")
def servers():
    with Servers() as servers:
        yield servers


@pytest.fixture
def tmp_path(servers):
    """In place of pytest's own, which stays behind in /tmp."""
    return pathlib.Path(servers.workspace.folder(servers.unique("folder")))


@pytest.fixture(scope="session")
def keys(servers):
    return servers.keys


# A module that needs other rows, or other services, has fixtures of these names of its own.


@pytest.fixture(scope="module")
def database(servers):
    """Without migrations and without a history."""
    with servers.database() as database:
        yield database


@pytest.fixture(scope="module")
def service(servers, database):
    """The service alone, at its FastCGI socket."""
    with servers.service(database.name) as service:
        yield service


@pytest.fixture(scope="module")
def desk(database, service, keys):
    """Who asks the service, and looks at what the history has of it."""
    return Desk(database, service, keys)


@pytest.fixture(scope="module")
def site(servers):
    """The service behind nginx, with a database of its own."""
    with servers.site() as site:
        yield site


# Not for the whole session: a token's life is short.
@pytest.fixture(scope="module")
def token(keys):
    """May read and write, where a test does not say otherwise."""
    return keys.token("*")


# For the tests that judge tokens: signers of every kind, and a service that trusts some of them.


@pytest.fixture(scope="module")
def signers():
    return Signers()


@pytest.fixture(scope="module")
def token_service(servers, signers):
    """With a client through nginx."""
    bundle = servers.workspace.file(servers.unique("bundle"), signers.bundle)
    changes = {"auth": {"token": {"rootcertbundle": bundle}}}
    with servers.database() as database, servers.service(database.name, changes=changes) as service:
        with servers.nginx(service) as client:
            service.client = client
            yield service


@pytest.fixture(scope="module")
def token_connection(token_service):
    """One for all: the service keeps it, also after a bad token."""
    with fastcgi.Connection(token_service.address) as connection:
        yield connection


@pytest.fixture
def judge(token_connection):
    return Judge(token_connection)


@pytest.fixture
def relay(servers):
    """A network before the database, which does what networks do."""
    relay = Relay(free_port(), ("127.0.0.1", servers.cluster.port))
    relay.open()
    yield relay
    relay.close()


def pytest_make_parametrize_id(val):
    """A parameter as it reads in a list of tests: whole, if it is not long."""
    plain = isinstance(val, str) and val.isprintable() and val != ""
    name = val if plain else getattr(val, "__name__", repr(val))
    return name if len(name) <= 60 else name[:60] + "..."


def pytest_terminal_summary(terminalreporter):
    """For tests/run: passed, failed and skipped, where BBM_TEST_COUNTS says to write them."""
    path = os.environ.get("BBM_TEST_COUNTS")
    if not path:
        return
    number = {name: len(reports) for name, reports in terminalreporter.stats.items()}
    failed = number.get("failed", 0) + number.get("error", 0)
    with open(path, "w", encoding="ascii") as counts:
        counts.write(f"{number.get('passed', 0)} {failed} {number.get('skipped', 0)}\n")
