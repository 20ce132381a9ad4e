"""Tests that only TLS or PgBouncer needs. tests/run runs all others through them, too."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import database_proxies, fastcgi, routes
from harness.fastcgi import parameters
from harness.postgres import SERVICE_ROLE
from harness.process import wait_until
from harness.timing import longer, milliseconds


def ask(service, token, method="GET", path=routes.LIST):
    return fastcgi.ask(service.address, parameters(method, path, token))


# TLS


@pytest.fixture(scope="module")
def encrypted(servers):
    """A cluster with TLS, a database in it, and the way there."""
    cluster, place = database_proxies.tls(servers.workspace, servers.unique("encrypted"))
    with contextlib.closing(cluster.create_database(servers.unique("registry"))) as database:
        yield database, {**place, "port": cluster.port}
    cluster.stop()


def test_the_connection_is_encrypted(servers, encrypted, token):
    database, place = encrypted
    with servers.service(database.name, changes={"database": place}) as service:
        assert ask(service, token).status == 200
        # The check at the start may have a connection of its own still.
        sessions = database.rows(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = %s", (SERVICE_ROLE,)
        )
        assert sessions and all(session["ssl"] for session in sessions)


@pytest.mark.parametrize(
    "wrong", ["name", "authority"], ids=["another name than the certificate's", "a certificate nobody vouches for"]
)
def test_verify_full_verifies(servers, encrypted, token, wrong):
    database, place = encrypted
    _, other = database_proxies.self_signed("localhost")
    changes = {"host": "127.0.0.1"} if wrong == "name" else {}
    if wrong == "authority":
        changes["sslrootcert"] = servers.workspace.file(servers.unique("authority"), other)
    with servers.service(database.name, changes={"database": {**place, **changes}}) as service:
        answer = ask(service, token)
        assert answer.status == 503
        assert "certificate" in service.entry(answer.header("X-Request-Id"))["reason"]
        assert database.rows("SELECT 1 FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,)) == []


# PgBouncer


@pytest.fixture(scope="module")
def pooled(servers):
    bouncer = database_proxies.PgBouncer(servers.workspace, servers.unique("pgbouncer"), servers.cluster.port)
    with servers.database() as database:
        database.add_migration("one", status=1)
        yield database, {"host": "127.0.0.1", "port": bouncer.port, "sslmode": "disable"}
    bouncer.stop()


def test_a_statement_that_times_out_is_cancelled_behind_pgbouncer(servers, pooled, token):
    """PgBouncer finds the statement by the client's connection, which must still be open."""
    database, place = pooled
    working = "SELECT 1 FROM pg_stat_activity WHERE usename = %s AND datname = %s AND state = 'active'"
    changes = {"database": place, "fcgi": {"timeout": milliseconds(longer(1))}}
    with servers.service(database.name, changes=changes) as service, ThreadPoolExecutor(1) as client:
        with contextlib.closing(database.cluster.connect(database.name)) as other, other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE batched_background_migrations")
            waiting = client.submit(ask, service, token)
            assert wait_until(lambda: database.rows(working, (SERVICE_ROLE, database.name)))
            assert waiting.result().status == 503
            assert wait_until(lambda: not database.rows(working, (SERVICE_ROLE, database.name)), seconds=3)
            cursor.execute("ROLLBACK")
        assert ask(service, token).status == 200


def test_more_threads_than_the_pool_has_connections(servers, pooled, token):
    database, place = pooled
    with servers.service(database.name, changes={"database": place, "fcgi": {"threads": 16}}) as service:
        with ThreadPoolExecutor(16) as clients:
            writes = [clients.submit(ask, service, token, "POST", path) for path in (routes.PAUSE, routes.RESUME) * 20]
            reads = [clients.submit(ask, service, token) for _ in range(100)]
            assert {answer.result().status for answer in writes + reads} == {200}
        sessions = "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = %s AND datname = %s"
        assert database.rows(sessions, (SERVICE_ROLE, database.name))[0]["n"] <= 2
        settings = database.rows("SELECT state FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
        assert {row["state"] for row in settings} <= {"idle"}
