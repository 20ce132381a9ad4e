"""Under mod_fcgid, which starts the program on the request's path, ends it as it likes and writes down
what went wrong. The conformance run through it is in test_mounts.py."""

import os
import re
import signal
import time

import pytest
from harness import fastcgi, routes
from harness.load import Load
from harness.mounts import apache_fcgid
from harness.process import wait_until
from harness.service import listening_socket
from harness.timing import longer

# What mod_fcgid and Apache write when a process crashes, is killed, or leaves a request unanswered.
COMPLAINTS = re.compile(r"\[(\w+:)?(emerg|alert|crit|error|warn)\]|core dump|SIGKILL|SIGSEGV|SIGABRT|Premature end")


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


def zombies(session):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] == "Z" and int(fields[3]) == session:
                found.append(int(entry))
    return found


def complaints(mounted):
    """Without the lines that the service itself wrote."""
    return [line for line in mounted.written().splitlines() if line.startswith("[") and COMPLAINTS.search(line)]


def assert_in_order(mounted):
    assert complaints(mounted) == []
    # mod_fcgid reaps what it has ended within its scan interval.
    assert wait_until(lambda: not zombies(mounted.server.child.pid), seconds=10), "zombies are left"


def test_processes_are_few_and_have_one_thread_each(servers, database, token):
    with apache_fcgid(servers, database) as mounted:
        with Load(mounted.client, [("GET", routes.LIST, token)], threads=16) as load:
            load.go_on(400)
        processes = mounted.processes()
        assert load.failures == []
        assert 1 <= len(processes) <= 8
        sessions = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND usename = 'bbm_fcgi'"
        assert database.rows(sessions, (database.name,))[0]["n"] <= len(processes)
        assert_in_order(mounted)


def test_after_so_many_requests_another_process_takes_over(servers, database, token):
    with apache_fcgid(servers, database, options={"MaxRequestsPerProcess 10000": "MaxRequestsPerProcess 5"}) as mounted:
        seen = set()
        for _ in range(40):
            assert mounted.client.get(routes.LIST, token).status == 200
            seen.update(mounted.processes())
        assert len(seen) >= 5
        assert_in_order(mounted)


def test_an_idle_process_is_ended_in_order(servers, database, token):
    options = {"MinProcesses 1": "MinProcesses 0", "IdleTimeout 300": "IdleTimeout 1"}
    often = "FcgidIdleScanInterval 1\nFcgidErrorScanInterval 1\nFcgidZombieScanInterval 1\n"
    with apache_fcgid(servers, database, often, options=options) as mounted:
        assert mounted.client.get(routes.LIST, token).status == 200
        assert wait_until(lambda: mounted.processes() == [], seconds=20)
        assert "stopped" in mounted.written(), "it was not ended in its own order"
        assert mounted.client.get(routes.LIST, token).status == 200
        assert_in_order(mounted)


def test_graceful_restarts_of_apache(servers, database, token):
    """With processes at work shortly before and after. Not under load: then mod_fcgid itself may leave a
    request waiting for a process manager that has gone (see deploy/apache-fcgid)."""
    with apache_fcgid(servers, database) as mounted:
        for number in range(1, 5):
            with Load(mounted.client, [("GET", routes.LIST, token)], threads=4, kept=False) as load:
                load.go_on(40)
            assert load.failures == []
            before = set(mounted.processes())
            mounted.server.send(signal.SIGUSR1)
            assert wait_until(lambda: mounted.written().count("resuming normal operations") > number, seconds=20)
            assert wait_until(lambda: not before & set(mounted.processes()), seconds=20)
        assert mounted.client.get(routes.LIST, token).status == 200
        assert mounted.written().count('"msg":"stopped"') >= 4
        assert_in_order(mounted)


def test_it_starts_fast(servers, database, token):
    """From exec to the first answer, the database included; three tries on a busy machine."""
    times = []
    for _ in range(3):
        path = servers.socket_path()
        with listening_socket(path) as listener:
            servers.open_to_servers(path)
            started = time.monotonic()
            with servers.service(database.name, {"fcgi": {"threads": 1}}, listen=path, inherited=listener):
                assert fastcgi.ask(path, fastcgi.parameters("GET", routes.LIST, token)).status == 200
                times.append(time.monotonic() - started)
    assert min(times) < longer(0.5), times


def test_closed_document_root_is_not_asked(servers, database, token):
    """With a PATH_INFO, Apache looked below DocumentRoot too, and logged AH01630 for each good answer."""
    closed = "DocumentRoot /\n"  # closed by the main file, as any folder that is not granted
    with apache_fcgid(servers, database, more=closed) as mounted:
        for path in (routes.LIST, routes.one(1) + "jobs/", "/-/liveness"):
            assert mounted.client.get(path, token).status in (200, 404)
        assert "AH01630" not in mounted.written()
