"""The life of the process: the faults that FastCGI programs are known for, and that this one has not.

Signals, starving, time limits, bodies, peers that go away, the socket. Under mod_fcgid: test_fcgid.py.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters
from harness.load import Load
from harness.ports import accepts, free_port
from harness.process import Server, wait_until
from harness.service import listening_socket, to_yaml
from harness.slowness import longer, milliseconds
from harness.tokens import Keyring
from harness.workspace import as_servers_user

ONE_SECOND = longer(1.0)
HALF_A_SECOND = milliseconds(longer(0.5))


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
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
    """So many connections on which this was sent and nothing more."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(address)) for _ in range(number)]
        for connection in connections:
            connection.send(sent)
        yield connections


# 1. SIGTERM while idle


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
@pytest.mark.parametrize("inherited", [False, True], ids=["own socket", "inherited socket"])
def test_an_idle_service_ends_within_a_second(house, database, listing, number, inherited):
    """Three tries, since the machine may have other things to do."""
    for last in (False, False, True):
        with contextlib.ExitStack() as stack:
            path = house.socket_path()
            listener = stack.enter_context(listening_socket(path)) if inherited else None
            if inherited:
                house.open_to_servers(path)
            service = stack.enter_context(house.service(database.name, listen=path, inherited=listener))
            assert fastcgi.ask(path, listing).status == 200
            started = time.monotonic()
            service.server.send(number)
            assert service.server.child.wait(20) == 0
            assert os.path.exists(path) == inherited, "its own socket file goes, another's stays"
            if time.monotonic() - started < ONE_SECOND:
                return
        assert not last, "it took longer than a second, three times"


def test_idle_connections_do_not_delay_the_end(house, database, listing):
    whole = fastcgi.request_bytes(listing)
    for last in (False, False, True):
        with house.service(database.name) as service, held(service.address, 20) as silent:
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


# 2. SIGTERM under load


def test_a_restart_under_load_fails_no_request(house, database, token):
    """As under a socket unit: somebody keeps the socket open, and nginx keeps connections to it."""
    path = house.socket_path()
    requests = [("GET", routes.LIST, token), ("GET", routes.one(7), token), ("POST", routes.PAUSE, token)]
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        house.open_to_servers(path)

        def start():
            return stack.enter_context(house.service(database.name, listen=path, inherited=listener))

        service = start()
        client = stack.enter_context(house.nginx(service))
        with Load(client, requests) as load:
            for _ in range(8):
                load.go_on(100)
                service.stop()
                service = start()
            load.go_on(200)
        assert load.failures == []


class Direct:
    """A client at the service's own socket, that sends nothing twice."""

    def __init__(self, address):
        self.address = address

    def request(self, method, path, token):
        return fastcgi.ask(self.address, parameters(method, path, token))


def test_a_restart_under_load_cuts_nothing_off(house, database, token):
    """nginx sends again what was cut off, and so hides it: the same without nginx."""
    path = house.socket_path()
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        house.open_to_servers(path)

        def start():
            return stack.enter_context(house.service(database.name, listen=path, inherited=listener))

        service = start()
        with Load(Direct(path), [("GET", routes.LIST, token), ("POST", routes.PAUSE, token)], kept=False) as load:
            for _ in range(8):
                load.go_on(100)
                service.stop()
                service = start()
            load.go_on(100)
        assert load.failures == []


def test_a_second_taker_of_the_socket_goes_on(house, database, token):
    """Two processes on one socket: one is ended under load, the other answers everything."""
    path = house.socket_path()
    with listening_socket(path) as listener, contextlib.ExitStack() as stack:
        house.open_to_servers(path)
        first = stack.enter_context(house.service(database.name, listen=path, inherited=listener))
        stack.enter_context(house.service(database.name, listen=path, inherited=listener))
        client = stack.enter_context(house.nginx(first))
        with Load(client, [("GET", routes.LIST, token)]) as load:
            load.go_on(200)
            first.stop()
            load.go_on(200)
        assert load.failures == []


def test_sigterm_while_it_still_starts_loses_no_request(house, database, listing):
    """mod_fcgid ends a process that it has only just started. Its configuration is a pipe here, so that
    the moment can be chosen."""
    path, pipe = house.socket_path(), os.path.join(house.workspace.folder(house.unique("pipe")), "config.yml")
    os.mkfifo(pipe)
    house.open_to_servers(pipe)
    configuration = house.configuration(database.name, path)
    del configuration["fcgi"]["listen"]
    with listening_socket(path) as listener, Connection(path) as waiting:
        waiting.send(fastcgi.request_bytes(listing, keep=False))
        server = Server("service", [house.program, "-c", pipe], path + ".log", stdin=listener)
        with open(pipe, "w", encoding="utf-8") as out:  # returns once the program has opened it
            server.send(signal.SIGTERM)
            out.write(to_yaml(configuration))
        assert waiting.answer().status == 200
        assert server.child.wait(10) == 0


@pytest.mark.parametrize("inherited", [False, True], ids=["own socket", "inherited socket"])
def test_what_waits_in_the_socket_at_the_stop_is_answered(house, database, listing, inherited):
    """The one thread is held up, so that nothing more is accepted until SIGTERM is there."""
    path = house.socket_path()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening_socket(path)) if inherited else None
        if inherited:
            house.open_to_servers(path)
        options = {"changes": {"fcgi": {"threads": 1}}, "listen": path, "inherited": listener}
        service = stack.enter_context(house.service(database.name, **options))
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


# 3. Starving


@pytest.mark.parametrize("threads, connections", [(1, 200), (2, 40), (8, 9)])
def test_idle_connections_starve_nobody(house, database, listing, threads, connections):
    changes = {"fcgi": {"threads": threads, "connections": connections}}
    with house.service(database.name, changes=changes) as service:
        with held(service.address, connections - 1) as idle:
            for connection in idle[: connections // 2]:
                assert connection.request(listing).status == 200
            for _ in range(5):
                with Connection(service.address, timeout=5) as another:
                    assert another.request(listing, keep=False).status == 200
                    # The bound counts it until it is closed.
                    assert another.closed_by_service()


def test_beyond_the_bound_they_wait_for_their_turn(house, database, listing):
    changes = {"fcgi": {"connections": 4, "idletimeout": HALF_A_SECOND}}
    with house.service(database.name, changes=changes) as service:
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
def test_a_peer_that_falls_silent_is_dropped(house, database, listing, sent):
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND, "idletimeout": HALF_A_SECOND}}
    whole = fastcgi.request_bytes(listing)
    with house.service(database.name, changes=changes) as service:
        with held(service.address, 3, sent(whole)) as slow:
            assert fastcgi.ask(service.address, listing).status == 200
            assert all(connection.closed_by_service() for connection in slow)


def trickle(connection, content, seconds):
    """A byte at a time until it is refused; true where it was within so many seconds."""
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


def test_a_peer_that_trickles_is_dropped(house, database, listing):
    """Each byte comes in time; the request does not."""
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND}}
    with house.service(database.name, changes=changes) as service:
        with Connection(service.address) as slow:
            assert trickle(slow, fastcgi.request_bytes(listing), 15)
        assert fastcgi.ask(service.address, listing).status == 200


def test_a_peer_whose_body_never_ends_is_dropped(house, database, token, listing):
    """Each byte of a body that is waited for comes in time; the body does not."""
    changes = {"fcgi": {"threads": 1, "readtimeout": HALF_A_SECOND}}
    params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH="1000")
    start = fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(params))
    with house.service(database.name, changes=changes) as service:
        with Connection(service.address) as slow:
            slow.send(start)
            assert trickle(slow, fastcgi.record(fastcgi.STDIN, b"x" * 1000), 15)
            assert fastcgi.ask(service.address, listing).status == 200


def test_peers_that_do_not_read_are_dropped(house, database, listing):
    """More of them than threads, each with an answer far beyond what the socket holds."""
    with house.database() as large:
        for number in range(3):
            large.execute(
                "INSERT INTO batched_background_migrations (name, status, max_value, batch_size, job_signature_name,"
                " table_name, column_name) SELECT repeat('n', 4000) || %s || '-' || n, 1, 1, 1, 'j', 't', 'c'"
                " FROM generate_series(1, 500) AS n",
                (number,),
            )
        changes = {"fcgi": {"threads": 2, "timeout": milliseconds(longer(1)), "readtimeout": milliseconds(longer(2))}}
        with house.service(large.name, changes=changes) as service:
            with held(service.address, 4, fastcgi.request_bytes(listing)):
                # 503 for a while, and then the threads are free again.
                options = parameters("OPTIONS", routes.LIST)
                assert wait_until(lambda: fastcgi.ask(service.address, options).status == 204, seconds=20)


def limit_descriptors(pid, number):
    """The soft limit, by the process's own user: root may lack the right."""
    subprocess.run(as_servers_user(["prlimit", "--pid", str(pid), f"--nofile={number}:"]), check=True)


def test_out_of_descriptors_it_goes_on_and_recovers(house, database, listing):
    with house.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
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


# 4. SIGHUP


def test_sighup_rereads_the_bundle_and_drops_no_request(house, database, keys, token):
    other = Keyring()
    bundle = house.workspace.file(house.unique("bundle") + ".pem", keys.bundle)
    changes = {"auth": {"token": {"rootcertbundle": bundle}}}
    with house.service(database.name, changes=changes) as service, house.nginx(service) as client:
        with Load(client, [("GET", routes.LIST, token)]) as load:
            load.go_on(50)
            for text in (keys.bundle + other.bundle, "no certificate\n", keys.bundle + other.bundle):
                house.workspace.file(os.path.basename(bundle), text)
                service.server.send(signal.SIGHUP)
                load.go_on(50)
            assert wait_until(lambda: client.get(routes.LIST, other.token("*")).status == 200)
        assert load.failures == []


def test_sighup_takes_a_bundle_that_looks_the_same(house, database):
    """Written into the same file, as long as before and with its times: what only a signal can tell."""
    old, new = Keyring(), Keyring()
    size = max(len(old.bundle), len(new.bundle))
    bundle = house.workspace.file(house.unique("bundle") + ".pem", old.bundle.ljust(size, "\n"))
    moment = os.stat(bundle)
    with house.service(database.name, changes={"auth": {"token": {"rootcertbundle": bundle}}}) as service:
        def status(keys):
            return fastcgi.ask(service.address, parameters("GET", routes.LIST, keys.token("*"))).status

        assert (status(old), status(new)) == (200, 401)
        with open(bundle, "r+", encoding="ascii") as file:
            file.write(new.bundle.ljust(size, "\n"))
        os.utime(bundle, ns=(moment.st_atime_ns, moment.st_mtime_ns))
        service.server.send(signal.SIGHUP)
        assert wait_until(lambda: (status(old), status(new)) == (401, 200))


# 5. Bodies, and clients that go away


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 120_000, 140_000, 3_000_000])
@pytest.mark.parametrize("route", routes.ROUTES, ids=repr)
def test_a_body_of_any_size_on_any_route(socket_site, token, route, size):
    params = parameters(route.method, routes.ONE_BASE + route.path.format(id=7), token, CONTENT_LENGTH=str(size))
    with Connection(socket_site.address) as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(fastcgi.request_bytes(params, b"b" * size))
        answer = connection.answer()
    judged = route.access == "write" and size > 0
    assert answer.status == (200 if not judged else 400 if size <= 4096 else 413), answer
    assert fastcgi.ask(socket_site.address, parameters("OPTIONS", routes.LIST)).status == 204


@pytest.fixture(scope="module", params=["unix", "tcp"])
def socket_site(request, house, database):
    """Over TCP an answer is lost where its connection is closed before the body was read off."""
    listen = None if request.param == "unix" else ("127.0.0.1", free_port())
    with house.service(database.name, changes={"fcgi": {"threads": 1}}, listen=listen) as service:
        yield service


@pytest.mark.parametrize("path", ["/v1/gitlab/nonsense", "/", routes.LIST])
def test_a_body_where_nothing_is_to_be_had(socket_site, path):
    for size in (10, 500_000):
        with Connection(socket_site.address) as connection:
            connection.send(fastcgi.request_bytes(parameters("PUT", path), b"b" * size))
            assert connection.answer().status in (404, 405)
    assert fastcgi.ask(socket_site.address, parameters("OPTIONS", routes.LIST)).status == 204


def test_a_client_that_goes_away_costs_only_its_own_request(socket_site, listing):
    """With one thread: were it held up, or the process ended by SIGPIPE, nobody would be served."""
    whole = fastcgi.request_bytes(listing)
    for _ in range(30):
        with Connection(socket_site.address) as connection:
            connection.send(whole * 3)
    assert fastcgi.ask(socket_site.address, listing).status == 200


def test_an_answer_that_cannot_be_sent_leaves_the_database_in_order(house, token):
    """The pause of a client that has gone is done or not done, and the next one finds no open transaction."""
    with house.database() as database, house.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
        database.add_migration("m", status=1)
        for _ in range(10):
            with Connection(service.address) as connection:
                connection.send(fastcgi.request_bytes(parameters("POST", routes.PAUSE, token)))
        assert fastcgi.ask(service.address, parameters("POST", routes.RESUME, token)).status == 200
        open_ones = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in%%'"
        assert wait_until(lambda: database.rows(open_ones, (database.name,))[0]["n"] == 0)


# 7. The socket


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to make a folder of another group")
def test_the_sockets_group_is_not_left_to_the_folder(house, database):
    """In a set-gid folder a new file gets the folder's group; the configured one must win."""
    path = house.socket_path()
    shutil.chown(os.path.dirname(path), group="daemon")
    os.chmod(os.path.dirname(path), 0o2775)
    with house.service(database.name, listen=path):
        assert os.stat(path).st_gid == os.stat(os.path.dirname(path)).st_gid
    with house.service(database.name, listen=path, changes={"fcgi": {"group": "nogroup"}}):
        assert os.stat(path).st_gid == house.group_of_servers() != os.stat(os.path.dirname(path)).st_gid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_finds_its_socket_free(house, database, listing, number):
    path = house.socket_path()
    with contextlib.suppress(AssertionError), house.service(database.name, listen=path) as service:
        service.server.send(number)
        service.server.child.wait(10)
    assert os.path.exists(path) == (number == signal.SIGKILL), "SIGTERM takes the socket file away"
    with house.service(database.name, listen=path):
        assert fastcgi.ask(path, listing).status == 200


def test_the_end_takes_no_other_services_socket_away(house, database, listing):
    """A socket file that was replaced meanwhile is somebody else's."""
    path = house.socket_path()
    with house.service(database.name, listen=path) as first:
        os.rename(path, path + ".moved")
        with house.service(database.name, listen=path):
            first.stop()
            assert accepts(path)
            assert fastcgi.ask(path, listing).status == 200


def test_a_successor_may_start_while_the_old_one_still_answers(house, database, listing):
    """The old one's last act must not be to take the new one's socket away."""
    path = house.socket_path()
    with house.service(database.name, listen=path) as first, contextlib.ExitStack() as stack:
        holder = stack.enter_context(contextlib.closing(database.cluster.connect(database.name)))
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE batched_background_migrations")
        connection = stack.enter_context(Connection(path))
        connection.send(fastcgi.request_bytes(listing, keep=False))
        assert database.someone_waits_for_a_lock()
        first.terminate()
        assert wait_until(lambda: not os.path.exists(path))
        stack.enter_context(house.service(database.name, listen=path))
        holder.rollback()
        assert connection.answer().status == 200
        first.stop()
        assert fastcgi.ask(path, listing).status == 200
