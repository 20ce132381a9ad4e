"""Messages to a supervisor: sd_notify(3)'s protocol, as systemd's Type=notify and WatchdogSec= expect it."""

import contextlib
import json
import os
import signal
import socket

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.process import wait_until
from harness.workspace import give_away


class Supervisor:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, servers):
        self.path = os.path.join(servers.workspace.folder(servers.unique("notify")), "socket")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        give_away(self.path)
        self.messages = []

    def received(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(self.socket.recv(4096).decode())
        return self.messages

    def receives(self, *lines):
        """Waits for a message that holds these lines."""
        return wait_until(lambda: any(all(line in text.split("\n") for line in lines) for text in self.received()))

    def environment(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}


@pytest.fixture
def supervisor(servers):
    supervisor = Supervisor(servers)
    with supervisor.socket:
        yield supervisor


def test_start_reload_and_stop(servers, database, supervisor):
    with servers.service(database.name, environment=supervisor.environment()) as service:
        assert supervisor.receives("READY=1")
        assert supervisor.receives("STATUS=serving; the database answers")
        supervisor.messages.clear()
        service.server.send(signal.SIGHUP)
        assert supervisor.receives("RELOADING=1")
        assert any("MONOTONIC_USEC=" in text for text in supervisor.messages)
        assert supervisor.receives("READY=1", "STATUS=serving; the database answers")
    assert supervisor.receives("STOPPING=1")
    assert not any("WATCHDOG=1" in text for text in supervisor.messages)


def test_status_says_that_the_database_is_away(servers, supervisor):
    changes = {"database": {"port": free_port()}}
    with servers.service("nothing", changes, environment=supervisor.environment()):
        assert supervisor.receives("STATUS=serving; the database cannot be reached")


def test_watchdog_while_workers_make_progress(servers, database, supervisor):
    environment = supervisor.environment(WATCHDOG_USEC="1000000")
    with servers.service(database.name, environment=environment):
        assert supervisor.receives("WATCHDOG=1")
        supervisor.messages.clear()
        assert supervisor.receives("WATCHDOG=1"), "only once"


def test_watchdog_of_another_process(servers, database, supervisor):
    environment = supervisor.environment(WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    with servers.service(database.name, environment=environment):
        assert supervisor.receives("STATUS=serving; the database answers")
    assert not any("WATCHDOG=1" in text for text in supervisor.received())


def test_supervisor_that_is_gone(servers, database, token, supervisor):
    environment = supervisor.environment(WATCHDOG_USEC="200000")
    supervisor.socket.close()
    with servers.service(database.name, environment=environment) as service:
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


# What the log says at the start


def warnings(service):
    return [entry["msg"] for entry in map(json.loads, service.lines()) if entry["level"] == "warning"]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dbname": "no_such_database"}, ('database "no_such_database" does not exist',)),
        ({"user": "no_such_role"}, ('role "no_such_role" does not exist',)),
        ({"port": 1}, ("refused",)),
    ],
    ids=["database", "role", "port"],
)
def test_wrong_database_is_one_warning_at_start(servers, changes, words):
    with servers.service("nothing", {"database": changes}) as service:
        assert wait_until(lambda: warnings(service))
        (warning,) = warnings(service)
        for word in words:
            assert word in warning


def test_database_without_the_role(servers):
    """An empty database: the warning names the remedy."""
    name = servers.unique("empty")
    servers.cluster.execute(f"CREATE DATABASE {name}")
    with servers.service(name) as service:
        assert wait_until(lambda: warnings(service))
        assert "check database.dbname" in warnings(service)[0]


def test_good_database_is_no_warning(servers, database, token):
    with servers.service(database.name) as service:
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200
    assert warnings(service) == []
