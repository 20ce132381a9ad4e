"""The life of the process: start, restart under load, SIGHUP, stop, the socket file. Under mod_fcgid: test_fcgid.py."""

import contextlib
import os
import shutil
import signal
import socket
import time

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters
from harness.load import Load
from harness.ports import accepts
from harness.process import Server, wait_until
from harness.service import listening_socket, to_yaml
from harness.timing import longer
from harness.tokens import Keyring

ONE_SECOND = longer(1.0)


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module")
def listing(token):
    return parameters("GET", routes.LIST, token)


def seconds_to_stop(service):
    started = time.monotonic()
    service.terminate()
    assert service.server.child.wait(20) == 0
    return time.monotonic() - started


@contextlib.contextmanager
def held(address, number, sent=b""):
    """Connections on which only this was sent."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(address)) for _ in range(number)]
        for connection in connections:
            connection.send(sent)
        yield connections


# SIGTERM while idle


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
@pytest.mark.parametrize("inherited", [False, True], ids=["own socket", "inherited socket"])
def test_idle_service_stops_within_a_second(servers, database, listing, number, inherited):
    """Three tries, since the machine may be busy."""
    for last in (False, False, True):
        with contextlib.ExitStack() as stack:
            path = servers.socket_path()
            listener = stack.enter_context(listening_socket(path)) if inherited else None
            if inherited:
                servers.open_to_servers(path)
            service = stack.enter_context(servers.service(database.name, listen=path, inherited=listener))
            assert fastcgi.ask(path, listing).status == 200
            started = time.monotonic()
            service.server.send(number)
            assert service.server.child.wait(20) == 0
            assert os.path.exists(path) == inherited, "its own socket file goes, another's stays"
            if time.monotonic() - started < ONE_SECOND:
                return
        assert not last, "it took longer than a second, three times"


def test_idle_connections_do_not_delay_the_stop(servers, database, listing):
    whole = fastcgi.request_bytes(listing)
    for last in (False, False, True):
        with servers.service(database.name) as service, held(service.address, 20) as silent:
            kept = [Connection(service.address) for _ in range(20)]
            for connection in kept:
                assert connection.request(listing).status == 200
            # With the last record still on its way, there is nothing to wait for either.
            silent[0].send(whole[: len(whole) // 2])
            silent[0].socket.shutdown(socket.SHUT_WR)
            seconds = seconds_to_stop(service)
            assert all(connection.closed_by_service() for connection in kept)
            for connection in kept:
                connection.socket.close()
        if seconds < ONE_SECOND:
            return
        assert not last, f"it took {seconds} s, and longer than a second before"


# SIGTERM under load


def test_restart_under_load_fails_no_request(servers, database, token):
    """As under a socket unit: the socket stays open, and nginx keeps connections to it."""
    path = servers.socket_path()
    requests = [("GET", routes.LIST, token), ("GET", routes.one(7), token), ("POST", routes.PAUSE, token)]
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        servers.open_to_servers(path)

        def start():
            return stack.enter_context(servers.service(database.name, listen=path, inherited=listener))

        service = start()
        client = stack.enter_context(servers.nginx(service))
        with Load(client, requests) as load:
            for _ in range(8):
                load.go_on(100)
                service.stop()
                service = start()
            load.go_on(200)
        assert load.failures == []


class Direct:
    """A client at the service's own socket that sends no request twice."""

    def __init__(self, address):
        self.address = address

    def request(self, method, path, token):
        return fastcgi.ask(self.address, parameters(method, path, token))


def test_restart_under_load_cuts_no_connection(servers, database, token):
    """nginx sends a request again whose connection was cut, so the same without nginx."""
    path = servers.socket_path()
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        servers.open_to_servers(path)

        def start():
            return stack.enter_context(servers.service(database.name, listen=path, inherited=listener))

        service = start()
        with Load(Direct(path), [("GET", routes.LIST, token), ("POST", routes.PAUSE, token)], kept=False) as load:
            for _ in range(8):
                load.go_on(100)
                service.stop()
                service = start()
            load.go_on(100)
        assert load.failures == []


def test_second_process_on_the_socket_goes_on(servers, database, token):
    """Two processes on one socket: one is stopped under load, the other answers all requests."""
    path = servers.socket_path()
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        servers.open_to_servers(path)
        first = stack.enter_context(servers.service(database.name, listen=path, inherited=listener))
        stack.enter_context(servers.service(database.name, listen=path, inherited=listener))
        client = stack.enter_context(servers.nginx(first))
        with Load(client, [("GET", routes.LIST, token)]) as load:
            load.go_on(200)
            first.stop()
            load.go_on(200)
        assert load.failures == []


def test_sigterm_during_the_start_loses_no_request(servers, database, listing):
    """mod_fcgid stops processes that it has just started. The configuration is a pipe here, so that
    the moment can be chosen."""
    path, pipe = servers.socket_path(), os.path.join(servers.workspace.folder(servers.unique("pipe")), "config.yml")
    os.mkfifo(pipe)
    servers.open_to_servers(pipe)
    configuration = servers.configuration(database.name, path)
    del configuration["fcgi"]["listen"]
    with listening_socket(path) as listener, Connection(path) as waiting:
        waiting.send(fastcgi.request_bytes(listing, keep=False))
        server = Server("service", [servers.program, "-c", pipe], path + ".log", stdin=listener)
        with open(pipe, "w", encoding="utf-8") as out:  # returns once the program has opened it
            server.send(signal.SIGTERM)
            out.write(to_yaml(configuration))
        assert waiting.answer().status == 200
        assert server.child.wait(10) == 0


@pytest.mark.parametrize("inherited", [False, True], ids=["own socket", "inherited socket"])
def test_stop_answers_connections_that_wait_in_the_socket(servers, database, listing, inherited):
    """The only thread is blocked, so that nothing is accepted until SIGTERM comes."""
    path = servers.socket_path()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening_socket(path)) if inherited else None
        if inherited:
            servers.open_to_servers(path)
        options = {"changes": {"fcgi": {"threads": 1}}, "listen": path, "inherited": listener}
        service = stack.enter_context(servers.service(database.name, **options))
        holder = stack.enter_context(contextlib.closing(database.cluster.connect(database.name)))
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE batched_background_migrations")
        first = stack.enter_context(Connection(path))
        first.send(fastcgi.request_bytes(listing, keep=False))
        assert database.someone_waits_for_a_lock()
        waiting = [stack.enter_context(Connection(path)) for _ in range(10)]
        for connection in waiting:
            connection.send(fastcgi.request_bytes(listing, keep=False))
        service.terminate()
        assert wait_until(lambda: "stopping" in service.written())
        if inherited:
            listener.close()
        holder.rollback()
        assert [connection.answer().status for connection in [first, *waiting]] == [200] * 11


# SIGHUP


def test_sighup_rereads_the_bundle_and_drops_no_request(servers, database, keys, token):
    other = Keyring()
    bundle = servers.workspace.file(servers.unique("bundle") + ".pem", keys.bundle)
    changes = {"auth": {"token": {"rootcertbundle": bundle}}}
    with servers.service(database.name, changes=changes) as service, servers.nginx(service) as client:
        with Load(client, [("GET", routes.LIST, token)]) as load:
            load.go_on(50)
            for text in (keys.bundle + other.bundle, "no certificate\n", keys.bundle + other.bundle):
                servers.workspace.file(os.path.basename(bundle), text)
                service.server.send(signal.SIGHUP)
                load.go_on(50)
            assert wait_until(lambda: client.get(routes.LIST, other.token("*")).status == 200)
        assert load.failures == []


def test_sighup_takes_a_bundle_that_looks_the_same(servers, database):
    """Written into the same file, with the same length and times: only a signal makes it read again."""
    old, new = Keyring(), Keyring()
    size = max(len(old.bundle), len(new.bundle))
    bundle = servers.workspace.file(servers.unique("bundle") + ".pem", old.bundle.ljust(size, "\n"))
    moment = os.stat(bundle)
    with servers.service(database.name, changes={"auth": {"token": {"rootcertbundle": bundle}}}) as service:
        def status(keys):
            return fastcgi.ask(service.address, parameters("GET", routes.LIST, keys.token("*"))).status

        assert (status(old), status(new)) == (200, 401)
        with open(bundle, "r+", encoding="ascii") as file:
            file.write(new.bundle.ljust(size, "\n"))
        os.utime(bundle, ns=(moment.st_atime_ns, moment.st_mtime_ns))
        service.server.send(signal.SIGHUP)
        assert wait_until(lambda: (status(old), status(new)) == (401, 200))


# The socket


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to make a folder of another group")
def test_configured_group_wins_over_the_folders(servers, database):
    """In a set-gid folder a new file gets the folder's group; the configured one must win."""
    path = servers.socket_path()
    shutil.chown(os.path.dirname(path), group="daemon")
    os.chmod(os.path.dirname(path), 0o2775)
    with servers.service(database.name, listen=path):
        assert os.stat(path).st_gid == os.stat(os.path.dirname(path)).st_gid
    with servers.service(database.name, listen=path, changes={"fcgi": {"group": "nogroup"}}):
        assert os.stat(path).st_gid == servers.group_of_servers() != os.stat(os.path.dirname(path)).st_gid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_after_stop_or_kill(servers, database, listing, number):
    path = servers.socket_path()
    with contextlib.suppress(AssertionError), servers.service(database.name, listen=path) as service:
        service.server.send(number)
        service.server.child.wait(10)
    assert os.path.exists(path) == (number == signal.SIGKILL), "SIGTERM takes the socket file away"
    with servers.service(database.name, listen=path):
        assert fastcgi.ask(path, listing).status == 200


def test_stop_keeps_another_services_socket(servers, database, listing):
    """A socket file that was replaced belongs to another service."""
    path = servers.socket_path()
    with servers.service(database.name, listen=path) as first:
        os.rename(path, path + ".moved")
        with servers.service(database.name, listen=path):
            first.stop()
            assert accepts(path)
            assert fastcgi.ask(path, listing).status == 200


def test_successor_starts_while_the_old_process_still_answers(servers, database, listing):
    """The old one must not remove the new one's socket at its end."""
    path = servers.socket_path()
    with servers.service(database.name, listen=path) as first, contextlib.ExitStack() as stack:
        holder = stack.enter_context(contextlib.closing(database.cluster.connect(database.name)))
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE batched_background_migrations")
        connection = stack.enter_context(Connection(path))
        connection.send(fastcgi.request_bytes(listing, keep=False))
        assert database.someone_waits_for_a_lock()
        first.terminate()
        assert wait_until(lambda: not os.path.exists(path))
        stack.enter_context(servers.service(database.name, listen=path))
        holder.rollback()
        assert connection.answer().status == 200
        first.stop()
        assert fastcgi.ask(path, listing).status == 200


def test_sigterm_lets_a_write_in_progress_finish(servers, token):
    """A pause that waits for the table is answered, and only then does the program end."""
    with servers.database() as database, servers.service(database.name) as service:
        database.add_migration("m", status=1)
        with fastcgi.Connection(service.address) as connection:
            with database.locked():
                connection.send(fastcgi.request_bytes(parameters("POST", routes.PAUSE, token), keep=False))
                assert database.someone_waits_for_a_lock()
                service.terminate()
            assert connection.answer().status == 200
        assert database.migrations()[0]["status"] == 0
