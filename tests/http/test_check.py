"""bbm-fcgi -t: it tries what the configuration names, and prints what is in force."""

import os
import socket

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.postgres import PASSWORD
from harness.service import REMOVED, listening_socket, run_program


@pytest.fixture
def check(servers, database):
    """Runs -t on a configuration with these changes."""

    def run(changes=None, *options, **more):
        listen = servers.socket_path()
        file = servers.write_configuration(servers.configuration(database.name, listen, changes))
        return run_program(servers.program, "-c", file, "-t", *options, **more)

    return run


def assert_fails(done, *words):
    assert done.returncode == 78, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr, f"{word!r} is not in {done.stderr!r}"


def test_prints_what_is_in_force(check, servers, database):
    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("the configuration is good", "bbm-fcgi.sock", f"bbm_fcgi@{database.name}", servers.bundle):
        assert word in done.stdout, done.stdout


@pytest.mark.parametrize("listen", ["127.0.0.1:{}", "[::1]:{}", ":{}"])
def test_prints_the_address(check, listen):
    """Which it tries on a port of the kernel's choice."""
    address = listen.format(free_port())
    done = check({"fcgi": {"listen": address}})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  listen    {address}\n" in done.stdout


def test_prints_no_secret(check):
    assert PASSWORD not in check().stdout


def test_needs_no_database(check):
    assert check({"database": {"port": free_port()}}).returncode == 0


def test_needs_no_inherited_socket(check):
    done = check({"fcgi": {"listen": REMOVED}})
    assert done.returncode == 0
    assert "supervisor" in done.stdout


def test_prints_keys_with_their_expiry(check, keys):
    lines = [line for line in check().stdout.splitlines() if line.startswith("  key ")]
    assert lines and all("certificate valid until 20" in line for line in lines)


def test_database_is_tried_on_request(check):
    assert "tables and rights are good" in check(None, "-d").stdout
    assert "tables and rights" not in check().stdout


def test_database_that_is_wrong(check):
    assert_fails(check({"database": {"dbname": "no_such_database"}}, "-d"), "database", "no_such_database")
    assert_fails(check({"database": {"port": free_port()}}, "-d"), "refused")


def test_database_without_rights(check, servers):
    name = servers.unique("empty")
    servers.cluster.execute(f"CREATE DATABASE {name}")
    assert_fails(check({"database": {"dbname": name}}, "-d"), "check database.dbname")


@pytest.mark.parametrize("key", ["sslcert", "sslkey", "sslrootcert"])
def test_missing_tls_file(check, key):
    assert_fails(check({"database": {key: "/nonexistent"}}), f"database.{key}", "/nonexistent", "No such file")


def test_tls_key_that_others_can_read(check, servers):
    key = servers.workspace.file(servers.unique("key") + ".pem", "key", mode=0o644)
    assert_fails(check({"database": {"sslkey": key}}), "database.sslkey", key, "0600")


def test_folder_of_the_socket_is_missing(check):
    assert_fails(check({"fcgi": {"listen": "/nonexistent/x.sock"}}), "fcgi.listen", "/nonexistent/x.sock", "folder")


def test_folder_of_the_socket_is_closed(check, servers):
    folder = servers.workspace.folder(servers.unique("closed"))
    os.chmod(folder, 0o500)
    assert_fails(check({"fcgi": {"listen": f"{folder}/x.sock"}}), "fcgi.listen", "ermission denied")


def test_socket_of_a_supervisor_in_a_folder_that_is_closed(check, servers):
    """systemd's socket unit makes both as root; a reload runs -t as the service's user."""
    folder = servers.workspace.folder(servers.unique("closed"))
    with listening_socket(f"{folder}/x.sock"):
        os.chmod(folder, 0o500)
        done = check({"fcgi": {"listen": f"{folder}/x.sock", "group": "daemon"}})
    assert (done.returncode, done.stderr) == (0, "")


def test_address_of_another_host(check):
    assert_fails(check({"fcgi": {"listen": "192.0.2.1:9000"}}), "fcgi.listen", "no such address")


@pytest.mark.skipif(os.geteuid() != 0, reason="the group must be one that the servers' user is not in")
def test_group_that_this_user_is_not_in(check, run_service):
    done = check({"fcgi": {"group": "daemon"}})
    assert_fails(done, "fcgi.group", "daemon", "add this user to the group")
    started = run_service({"fcgi": {"group": "daemon"}})
    assert started.returncode == 71
    assert "add this user to the group" in started.stderr


@pytest.fixture
def run_service(servers, database):
    """Starts the program with these changes, where it ends by itself."""

    def run(changes):
        file = servers.write_configuration(servers.configuration(database.name, servers.socket_path(), changes))
        return run_program(servers.program, "-c", file)

    return run


def test_leaves_a_running_service_alone(servers, database, token):
    with servers.service(database.name) as service:
        done = run_program(servers.program, "-c", service.configuration_file, "-t")
        assert done.returncode == 0, done
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


# What is inherited goes before the configuration


def test_inherited_socket_goes_before_listen(servers, database, token):
    """fcgi.listen left in the file beside a supervisor's socket ended the service for good."""
    path = servers.socket_path()
    with listening_socket(path) as inherited:
        servers.open_to_servers(path)
        left = servers.socket_path()
        file = servers.write_configuration(servers.configuration(database.name, left))
        with servers.service_with_file(file, path, inherited=inherited) as service:
            assert fastcgi.ask(path, parameters("GET", routes.LIST, token)).status == 200
            assert "fcgi.listen is ignored" in service.written()
        assert not os.path.exists(left)


def test_all_addresses_of_both_families(servers, database, token):
    port = free_port()
    file = servers.write_configuration(servers.configuration(database.name, f":{port}"))
    with servers.service_with_file(file, ("127.0.0.1", port)):
        assert fastcgi.ask(("127.0.0.1", port), parameters("GET", routes.LIST, token)).status == 200
        if has_ipv6():
            assert fastcgi.ask(("::1", port), parameters("GET", routes.LIST, token)).status == 200


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


# libpq's own environment


@pytest.mark.parametrize(
    "environment",
    [{"PGHOSTADDR": "127.0.0.9"}, {"PGOPTIONS": "-c statement_timeout=1"}, {"PGSERVICE": "elsewhere"},
     {"PGTARGETSESSIONATTRS": "standby"}, {"PGSSLMODE": "require"}, {"PGCHANNELBINDING": "require"}],
    ids=lambda environment: next(iter(environment)),
)  # fmt: skip
def test_libpq_variables_do_not_count(servers, database, token, environment):
    with servers.service(database.name, environment=environment) as service:
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


def test_password_of_libpq_counts(servers, token):
    database = servers.cluster.create_database("with_libpq_password")
    try:
        changes = {"database": {"password": REMOVED}}
        with servers.service(database.name, changes=changes, environment={"PGPASSWORD": PASSWORD}) as service:
            assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200
    finally:
        database.close()


def test_secret_that_ends_in_a_newline(servers, token):
    """As a shell reads it from a file that an editor has closed with a newline."""
    database = servers.cluster.create_database("with_newline")
    try:
        changes = {"database": {"password": REMOVED}}
        for secret in (PASSWORD + "\n", f'"{PASSWORD}"', f"'{PASSWORD}' # note"):
            environment = {"REGISTRY_DATABASE_PASSWORD": secret}
            with servers.service(database.name, changes=changes, environment=environment) as service:
                assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200
    finally:
        database.close()
