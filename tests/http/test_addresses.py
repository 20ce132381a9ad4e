"""A database's name with several addresses, of both families, some of which do not answer."""

import contextlib
import shlex
import socket
import subprocess
import time

import pytest
from harness import database_proxies, fastcgi, routes
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.proxy import Proxy
from harness.timing import longer, milliseconds
from harness.workspace import as_servers_user

NAME = "localhost.bbm.test"
PAIRS = [("127.0.0.9", "127.0.0.10"), ("::1", "127.0.0.10"), ("::1", "127.0.0.1")]


def with_hosts(hosts, command):
    """The shell's command, run where /etc/hosts is another file: in a mount namespace of its own."""
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"mount --bind {hosts} /etc/hosts && {command}", "sh"]


def hosts_with(servers, addresses):
    """The hosts file, and the addresses in the order in which they are tried."""
    lines = "".join(f"{address} {NAME}\n" for address in addresses)
    hosts = servers.workspace.file(servers.unique("hosts"), lines)
    done = subprocess.run(
        as_servers_user(with_hosts(hosts, f"getent ahosts {NAME}")), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a hosts file of its own takes a mount namespace: {done.stderr}")
    order = list(dict.fromkeys(line.split()[0] for line in done.stdout.splitlines()))
    assert set(order) == set(addresses)
    return hosts, order


@pytest.fixture(params=PAIRS, ids=" and ".join)
def named(request, servers):
    return hosts_with(servers, request.param)


@pytest.fixture
def named_four(servers):
    return hosts_with(servers, [f"127.0.0.{number}" for number in (9, 10, 11, 12)])


@contextlib.contextmanager
def silent(address, port):
    """Packets to open a connection get no answer: the backlog is full, and nobody accepts."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener, contextlib.ExitStack() as stack:
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


@contextlib.contextmanager
def answering(address, port, servers):
    proxy = Proxy(port, ("127.0.0.1", servers.cluster.port), address)
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def service_on(servers, database, hosts, port, limits=None, **changes):
    program = servers.workspace.file(
        servers.unique("program"),
        "#!/bin/sh\nexec " + shlex.join(with_hosts(hosts, f'exec {servers.program} "$@"')) + ' "$@"\n',
        mode=0o755,
    )
    place = {"host": NAME, "port": port, **changes}
    # Each thread has a connection of its own, and the only one is busy for longer than usual.
    limits = limits or {"threads": 1, "queuetimeout": "10s"}
    with servers.service(database.name, changes={"database": place, "fcgi": limits}, program=program) as service:
        yield service


def ask(service, token):
    started = time.monotonic()
    answer = fastcgi.ask(service.address, parameters("GET", routes.one(1), token))
    return answer, time.monotonic() - started


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("one", id=1)
        yield database


def test_each_address_gets_its_share_of_the_time(servers, database, token, named):
    hosts, (first, second) = named
    port = free_port()
    with silent(first, port), answering(second, port, servers):
        with service_on(servers, database, hosts, port, connecttimeout=milliseconds(longer(2))) as service:
            answer, seconds = ask(service, token)
            assert answer.status == 200
            assert longer(2) <= seconds < longer(4)


def test_without_a_limit_the_time_is_divided(servers, database, token, named):
    hosts, (first, second) = named
    port = free_port()
    with silent(first, port), answering(second, port, servers):
        with service_on(servers, database, hosts, port, connecttimeout="0s") as service:
            answer, seconds = ask(service, token)
            assert answer.status == 200
            assert seconds < 8  # of the ten that a request has


def test_many_addresses_share_the_time(servers, database, token, named_four):
    """What is not acknowledged is given up after a third of the time, which is more than a quarter."""
    hosts, (*silent_ones, last) = named_four
    port = free_port()
    with contextlib.ExitStack() as stack:
        for address in silent_ones:
            stack.enter_context(silent(address, port))
        stack.enter_context(answering(last, port, servers))
        limits = {"threads": 1, "queuetimeout": "10s", "timeout": milliseconds(longer(6))}
        with service_on(servers, database, hosts, port, limits, connecttimeout="0s") as service:
            answer, seconds = ask(service, token)
            assert answer.status == 200
            assert seconds < longer(5.5)


def test_the_address_that_served_last_comes_first(servers, database, token, named):
    hosts, (first, second) = named
    port = free_port()
    with silent(first, port), answering(second, port, servers) as proxy:
        place = {"connecttimeout": milliseconds(longer(2))}
        with service_on(servers, database, hosts, port, **place) as service:
            answer, seconds = ask(service, token)
            assert answer.status == 200 and seconds >= longer(2)
            proxy.cut()
            answer, seconds = ask(service, token)
            assert answer.status == 200 and seconds < longer(2)


def test_an_address_that_refuses_takes_no_time(servers, database, token, named):
    hosts, (_, second) = named
    port = free_port()
    with answering(second, port, servers):
        with service_on(servers, database, hosts, port) as service:
            answer, seconds = ask(service, token)
            assert answer.status == 200 and seconds < longer(2)


def test_the_reason_is_that_of_the_address_that_answered(servers, database, token, named):
    """In either order: one address has no server, the server of the other one has no such database."""
    hosts, (first, second) = named
    for address in (first, second):
        port = free_port()
        with answering(address, port, servers):
            with service_on(servers, database, hosts, port, dbname="no_such_database") as service:
                answer, _ = ask(service, token)
                reason = service.entry(answer.header("X-Request-Id"))["reason"]
                assert "does not exist" in reason and "check database.user" in reason


def test_a_name_without_an_address(servers, database, token):
    place = {"host": "no-such-name.invalid"}
    with servers.service(database.name, changes={"database": place, "fcgi": {"timeout": milliseconds(longer(3))}}) as service:
        answer, seconds = ask(service, token)
        assert answer.status == 503 and seconds < longer(5)
        reason = service.entry(answer.header("X-Request-Id"))["reason"]
        assert "no-such-name.invalid" in reason and "check database.host" in reason


def test_a_certificate_is_verified_for_the_name_and_not_the_address(servers, token):
    cluster, place = database_proxies.tls(servers.workspace, servers.unique("encrypted"))
    try:
        with contextlib.closing(cluster.create_database(servers.unique("registry"))) as database:
            changes = {"database": {**place, "port": cluster.port}}
            with servers.service(database.name, changes=changes) as service:
                assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200
    finally:
        cluster.stop()
