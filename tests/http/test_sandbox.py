"""The sandbox: what the process has given up, and what becomes of one that is made to misbehave."""

import contextlib
import os
import re
import signal
import tempfile

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.mounts import apache_fcgid, lighttpd_spawn, spawn_fcgi
from harness.process import wait_until
from harness.program import build_folder, install_program
from harness.service import Service

SANDBOX_EXIT = 77


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module", autouse=True)
def needs_a_plain_build(servers, database):
    with servers.service(database.name) as service:
        pass
    # Its log is whole once it has ended.
    if "sandbox: off in a build" in service.written():
        pytest.skip("sanitizers, valgrind and coverage need what the sandbox takes away")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def asks(service, token):
    return fastcgi.ask(service.address, parameters("GET", routes.LIST, token))


def test_process_is_confined_by_default(servers, database, token):
    with servers.service(database.name) as service:
        assert asks(service, token).status == 200
        status = status_of(service.server.child.pid)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("mode, seccomp", [("off", "0"), ("log", "2")])
def test_modes(servers, database, token, mode, seccomp):
    with servers.service(database.name, changes={"fcgi": {"sandbox": mode}}) as service:
        assert asks(service, token).status == 200
        assert status_of(service.server.child.pid)["Seccomp"] == seccomp


def test_metrics_still_count_descriptors(servers, database):
    with servers.service(database.name) as service:
        answer = fastcgi.ask(service.address, parameters("GET", "/-/metrics"))
        line = next(line for line in answer.body.decode().splitlines() if line.startswith("process_open_fds "))
        assert int(line.split()[1]) > 3


# A build that does on request what an attacker in it would do (tests/fault/misdeed.c).


@pytest.fixture
def misled(servers, database):
    folder = servers.workspace.folder(servers.unique("misled"))
    program = install_program(folder, os.path.join(build_folder(), "tests", "misled", "bbm-fcgi"))

    @contextlib.contextmanager
    def start(**changes):
        listen = servers.socket_path()
        configuration = servers.configuration(database.name, listen, {"fcgi": changes})
        log = os.path.join(folder, "log")
        service = Service("misled", program, servers.write_configuration(configuration), listen, log)
        try:
            yield service
        finally:
            service.server.kill()

    return start


def misdeed(token, deed):
    return parameters("GET", routes.LIST, token, HTTP_X_MISDEED=deed)


@pytest.mark.parametrize("deed", ["execve", "fork", "vfork", "ptrace", "write", "create"])
def test_misdeed_ends_the_process(servers, database, token, misled, deed):
    with servers.service(database.name) as neighbour:
        with misled() as service:
            with fastcgi.Connection(service.address) as connection:
                connection.send(fastcgi.request_bytes(misdeed(token, deed)))
                assert wait_until(lambda: service.server.child.poll() is not None, seconds=10)
            # glibc 2.41 blocks all signals around fork's call: the kernel ends the process, without our words.
            if deed != "fork" or service.server.child.returncode != -signal.SIGSYS:
                assert service.server.child.returncode == SANDBOX_EXIT
                assert re.search(r"sandbox: the system call \w+ .* is denied; the process ends", service.written())
        assert asks(neighbour, token).status == 200
    assert not os.path.exists("/tmp/bbm-fcgi-misdeed")


@pytest.mark.parametrize("deed", ["packet", "chmod", "mount"])
def test_other_denied_calls_fail(token, misled, deed):
    with misled() as service:
        assert fastcgi.ask(service.address, misdeed(token, deed)).status == 200
        assert wait_until(lambda: "is denied" in service.written())
        assert service.server.child.poll() is None


@pytest.fixture
def elsewhere():
    """A file that everybody may read, in a folder that the service has no use for."""
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o644)
        yield file.name


def test_other_files_cannot_be_read(token, misled, elsewhere):
    for mode, expected in (("off", "misdeed: read"), ("on", "misdeed: denied")):
        with misled(sandbox=mode) as service:
            params = parameters("GET", routes.LIST, token, HTTP_X_MISDEED="read", HTTP_X_FILE=elsewhere)
            assert fastcgi.ask(service.address, params).status == 200
            if mode == "on" and "no Landlock" in service.written():
                pytest.skip("this kernel has no Landlock")
            assert expected in service.written()


def test_without_sandbox_the_misdeeds_happen(token, misled):
    """So that the tests above can fail."""
    for deed in ("fork", "write", "chmod", "execve"):
        with misled(sandbox="off") as service:
            if deed == "execve":
                with fastcgi.Connection(service.address) as connection:
                    connection.send(fastcgi.request_bytes(misdeed(token, deed)))
                    assert wait_until(lambda: service.server.child.poll() is not None, seconds=10)
                assert service.server.child.returncode == 0
            else:
                assert fastcgi.ask(service.address, misdeed(token, deed)).status == 200
            assert "is denied" not in service.written()


# The same behind the web servers that start the program themselves: the others go on.

STARTERS = {
    "apache-fcgid": apache_fcgid,
    "lighttpd": lighttpd_spawn,
    "spawn-fcgi": lambda servers, database, source: spawn_fcgi(servers, database, 3, source=source),
}


@pytest.mark.parametrize("deed", ["execve", "create"])
@pytest.mark.parametrize("mount", STARTERS)
def test_misdeed_behind_a_web_server(servers, database, token, mount, deed):
    program = os.path.join(build_folder(), "tests", "misled", "bbm-fcgi")
    with STARTERS[mount](servers, database, source=program) as mounted:
        assert mounted.client.get(routes.LIST, token).status == 200
        before = set(mounted.processes())
        answer = mounted.client.get(routes.LIST, token, headers={"X-Misdeed": deed})
        assert answer.status in (500, 502, 503), answer
        assert wait_until(lambda: before - set(mounted.processes())), "no process has ended"
        assert wait_until(lambda: "the process ends" in mounted.written())
        for _ in range(5):
            assert wait_until(lambda: mounted.client.get(routes.LIST, token).status == 200)
