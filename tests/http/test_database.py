"""A database that is missing, comes back, or refuses: 503, 500, and nothing of its messages in an answer."""

import contextlib
import json
import re

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import Connection, parameters
from harness.ports import free_port
from harness.postgres import SERVICE_ROLE
from harness.process import wait_until
from harness.proxy import Proxy

UNAVAILABLE = error_body("UNAVAILABLE", "service unavailable")
UNKNOWN = error_body("UNKNOWN", "unknown error")


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture
def proxy(servers):
    proxy = Proxy(free_port(), ("127.0.0.1", servers.cluster.port))
    yield proxy
    proxy.close()


@pytest.fixture
def behind_proxy(servers, database, proxy):
    with servers.service(database.name, changes={"database": {"port": proxy.port}}) as service:
        yield service


def ask(service, token, method="GET", path=routes.LIST, **params):
    return fastcgi.ask(service.address, parameters(method, path, token, **params))


def assert_unavailable(answer):
    assert answer.status == 503, answer
    assert answer.header("Content-Type") == "application/json"
    assert re.fullmatch(r"[1-9][0-9]*", answer.header("Retry-After"))
    assert answer.json == UNAVAILABLE


@pytest.mark.parametrize("route", routes.ROUTES)
def test_each_route_without_a_database(behind_proxy, token, route):
    path = routes.ONE_BASE + route.path.format(id=7)
    assert_unavailable(ask(behind_proxy, token, route.method, path))


def test_head_without_a_database(behind_proxy, token):
    answer = ask(behind_proxy, token, "HEAD")
    assert (answer.status, answer.body) == (503, b"")
    assert answer.header("Retry-After")


def test_requests_succeed_as_soon_as_the_database_is_there(behind_proxy, proxy, token):
    with Connection(behind_proxy.address) as connection:
        for _ in range(3):
            assert_unavailable(connection.request(parameters("GET", routes.LIST, token)))
        proxy.open()
        assert recovers(behind_proxy, token)
        assert connection.request(parameters("GET", routes.LIST, token)).status == 200
        proxy.close()
        assert_unavailable(connection.request(parameters("GET", routes.LIST, token)))
        proxy.open()
        assert recovers(behind_proxy, token)


def test_lost_connections_are_made_again(behind_proxy, proxy, token):
    """A read is sent again once, so no client sees the loss."""
    proxy.open()
    assert recovers(behind_proxy, token)
    for _ in range(8):
        assert ask(behind_proxy, token).status == 200
        proxy.cut()
        assert ask(behind_proxy, token).status == 200


def test_the_service_reconnects_after_an_administrator_ends_its_sessions(servers, database, token):
    with servers.service(database.name) as service:
        for _ in range(8):
            assert ask(service, token).status == 200
            end_sessions(database)
            assert ask(service, token).status == 200
            end_sessions(database)
            assert ask(service, token, "POST", routes.PAUSE).status == 200


def end_sessions(database):
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
    sessions = "SELECT 1 FROM pg_stat_activity WHERE usename = %s"
    assert wait_until(lambda: not database.rows(sessions, (SERVICE_ROLE,)))


def recovers(service, token):
    return wait_until(lambda: ask(service, token).status == 200, seconds=10, pause=0.1)


def test_a_database_that_does_not_exist_yet(servers, token):
    name = servers.unique("late")
    with servers.service(name) as service:
        assert_unavailable(ask(service, token))
        with contextlib.closing(servers.cluster.create_database(name)):
            assert recovers(service, token)


def test_a_database_reached_through_a_unix_socket(servers, database, token):
    with servers.service(database.name, changes={"database": {"host": servers.cluster.folder}}) as service:
        assert ask(service, token).status == 200


def test_connections_are_made_when_first_needed(servers, database, token):
    with servers.database() as own, servers.service(own.name) as service:
        sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s"
        assert wait_until(lambda: "history of actions" in service.written()), "the look at the start has ended"
        assert wait_until(lambda: own.rows(sessions, (own.name, SERVICE_ROLE)) == [])
        assert ask(service, None).status == 401
        assert own.rows(sessions, (own.name, SERVICE_ROLE)) == []
        assert ask(service, token).status == 200
        assert len(own.rows(sessions, (own.name, SERVICE_ROLE))) == 1


# What the database refuses


NO_SELECT = "REVOKE ALL ON batched_background_migrations FROM bbm_fcgi"
NO_UPDATE = "REVOKE UPDATE (status) ON batched_background_migrations FROM bbm_fcgi"
NO_ATTEMPTS = "REVOKE UPDATE (attempts) ON batched_background_migration_jobs FROM bbm_fcgi"
NO_TABLE = "DROP TABLE batched_background_migration_jobs"
RENAMED = "ALTER TABLE batched_background_migrations RENAME TO renamed"
NO_SCHEMA = "REVOKE USAGE ON SCHEMA public FROM PUBLIC, bbm_fcgi"
RUN_ROLE = "run sql/role.sql"
CHECK_NAME = "check database.dbname"


@pytest.mark.parametrize(
    "spoil, method, path, remedy",
    [
        (NO_SELECT, "GET", routes.LIST, RUN_ROLE),
        (NO_SELECT, "GET", routes.one(7), RUN_ROLE),
        (NO_SELECT, "GET", routes.jobs(7), RUN_ROLE),
        (NO_UPDATE, "POST", routes.PAUSE, RUN_ROLE),
        (NO_ATTEMPTS, "POST", routes.action("restart", 8), RUN_ROLE),
        (NO_SCHEMA, "GET", routes.LIST, RUN_ROLE),
        (NO_TABLE, "GET", routes.LIST, CHECK_NAME),
        (RENAMED, "POST", routes.PAUSE, CHECK_NAME),
    ],
    ids=["no select, list", "no select, one", "no select, jobs", "no update", "no update, restart", "no schema",
         "no table", "renamed"],
)  # fmt: skip
def test_missing_rights_and_tables_are_unavailable_and_the_log_names_the_remedy(
    servers, token, spoil, method, path, remedy
):
    with servers.database() as database, servers.service(database.name) as service:
        database.add_migration("secret-name", id=7, status=1)
        database.add_jobs(database.add_migration("failed", id=8, status=3), 3, 1, attempts=5)
        database.execute(spoil)
        answer = ask(service, token, method, path)
        assert_unavailable(answer)
        for word in (b"batched", b"permission", b"relation", b"secret-name", SERVICE_ROLE.encode(), b"sql"):
            assert word not in answer.body
        entry = service.entry(answer.header("X-Request-Id"))
        assert remedy in entry["reason"]
        assert entry.get("outcome", "failed") == "failed"


@pytest.mark.parametrize(
    "spoil, remedy",
    [
        (NO_SELECT, RUN_ROLE), (NO_UPDATE, RUN_ROLE), (NO_ATTEMPTS, RUN_ROLE), (NO_SCHEMA, RUN_ROLE),
        ("REVOKE UPDATE (updated_at) ON batched_background_migrations FROM bbm_fcgi", RUN_ROLE),
        ("REVOKE UPDATE (failure_error_code) ON batched_background_migrations FROM bbm_fcgi", RUN_ROLE),
        ("REVOKE SELECT ON batched_background_migration_jobs FROM bbm_fcgi", RUN_ROLE),
        ("REVOKE SELECT ON batched_background_migrations FROM bbm_fcgi;"
         " GRANT SELECT (id, name, status) ON batched_background_migrations TO bbm_fcgi", RUN_ROLE),
        (NO_TABLE, CHECK_NAME), (RENAMED, CHECK_NAME),
        ("DROP SCHEMA public CASCADE", CHECK_NAME),
        ("ALTER TABLE batched_background_migrations ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("ALTER TABLE batched_background_migration_jobs ENABLE ROW LEVEL SECURITY", "row-level security"),
    ],
)  # fmt: skip
def test_readiness_names_what_is_missing_and_the_remedy(servers, spoil, remedy):
    with servers.database() as database, servers.service(database.name) as service:
        assert ask(service, None, path="/-/readiness").json == {"status": "ok", "history": False}
        database.execute(spoil)
        answer = ask(service, None, path="/-/readiness")
        assert answer.status == 503 and answer.header("Retry-After")
        assert remedy in answer.json["errors"][0]["detail"]
        assert remedy in service.entry(answer.header("X-Request-Id"))["reason"]


def test_readiness_accepts_row_security_that_hides_nothing(servers):
    with servers.database() as database, servers.service(database.name) as service:
        for table in ("batched_background_migrations", "batched_background_migration_jobs"):
            database.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            database.execute(f"CREATE POLICY every_row ON {table} TO {SERVICE_ROLE} USING (true)")
        assert ask(service, None, path="/-/readiness").status == 200
        database.execute("CREATE POLICY few ON batched_background_migrations AS RESTRICTIVE USING (id < 3)")
        assert "row-level security" in ask(service, None, path="/-/readiness").json["errors"][0]["detail"]


def test_readiness_on_the_first_schema(servers):
    """It has no error code, so that there is nothing to update."""
    with servers.database(ages=1) as database, servers.service(database.name) as service:
        assert ask(service, None, path="/-/readiness").status == 200


def test_what_the_database_says_stays_inside(servers, token):
    with servers.database() as database, servers.service(database.name) as service:
        database.execute("ALTER TABLE batched_background_migrations RENAME status TO state")
        answer = ask(service, token, "POST", routes.PAUSE)
        assert (answer.status, answer.json) == (500, UNKNOWN)
        assert "42703" in service.entry(answer.header("X-Request-Id"))["reason"]


def test_a_refused_action_changes_nothing(servers, token):
    """A trigger lets the first rows pass and stops the last one."""
    with servers.database() as database, servers.service(database.name) as service:
        for number in range(5):
            database.add_migration(f"m{number}", status=1)
        database.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF NEW.name = 'm4' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$"
        )
        database.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON batched_background_migrations"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        assert ask(service, token, "POST", routes.PAUSE).status == 500
        assert {row["status"] for row in database.migrations()} == {1}
        assert {row["updated_at"] for row in database.migrations()} == {None}
        assert ask(service, token).status == 200


def test_no_transaction_is_left_open(servers, database, token):
    with servers.service(database.name) as service:
        for route in routes.ROUTES:
            assert ask(service, token, route.method, routes.ONE_BASE + route.path.format(id=7)).status == 200
        assert ask(service, token, "GET", routes.one(999)).status == 404
        states = database.rows(
            "SELECT state FROM pg_stat_activity WHERE datname = %s AND usename = %s", (database.name, SERVICE_ROLE)
        )
        assert states and {row["state"] for row in states} == {"idle"}


# Notices, and the reasons of errors


FORGED = 'x\n{"time":"2026-01-01T00:00:00Z","level":"info","msg":"forged"}\ttab \x1b[31mred'


def notices(service):
    """Also checks that each line of the log is JSON."""
    return [entry for entry in map(json.loads, service.lines()) if entry["msg"] == "database notice"]


@pytest.mark.parametrize("level", ["NOTICE", "WARNING", "INFO"])
def test_a_notice_is_one_line_of_the_log(servers, token, level):
    with servers.database() as database, servers.service(database.name) as service:
        database.add_migration("one", id=1, status=1)
        text = FORGED.replace("'", "''")
        database.execute(
            "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE {level} '{text}'; RETURN NEW; END $$"
        )
        database.execute(
            "CREATE TRIGGER say BEFORE UPDATE ON batched_background_migrations FOR EACH ROW EXECUTE FUNCTION say()"
        )
        answer = ask(service, token, "POST", routes.PAUSE)
        assert answer.status == 200
        service.entry(answer.header("X-Request-Id"))
        (notice,) = notices(service)
        assert notice["notice"].startswith("x") and "forged" in notice["notice"]
        assert notice["level"] == ("warning" if level == "WARNING" else "info")


def test_a_notice_as_text_is_one_line(servers, token):
    with servers.database() as database:
        with servers.service(database.name, changes={"log": {"formatter": "text"}}) as service:
            database.execute("CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE"
                             " E'x\\ntime=\"2026\" level=info msg=\"forged\"'; RETURN NULL; END $$")  # fmt: skip
            database.execute("CREATE TRIGGER say AFTER UPDATE ON batched_background_migrations"
                             " FOR EACH STATEMENT EXECUTE FUNCTION say()")  # fmt: skip
            answer = ask(service, token, "POST", routes.PAUSE)
            service.request_lines(answer.header("X-Request-Id"))
            lines = [line for line in service.lines() if "forged" in line]
            assert lines and all(line.startswith("time=") and 'msg="database notice"' in line for line in lines)


def test_a_notice_as_the_connection_starts(servers, token):
    """PostgreSQL compares the collation's version when a session begins."""
    with servers.database() as database, servers.service(database.name) as service:
        database.execute("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = current_database()")
        answer = ask(service, token)
        assert answer.status == 200
        service.entry(answer.header("X-Request-Id"))
        assert all(json.loads(line) for line in service.lines())
        if database.rows("SELECT pg_database_collation_actual_version(oid) AS v FROM pg_database"
                         " WHERE datname = current_database()")[0]["v"]:  # fmt: skip
            assert any("collation version mismatch" in notice["notice"] for notice in notices(service))


@pytest.mark.parametrize("place", [{"port": 1}, {"host": "no-such-name.invalid"}, {"dbname": "no_such_database"},
                                   {"host": "/nonexistent"}, {"sslmode": "require"}], ids=str)  # fmt: skip
def test_the_reason_is_one_clean_line(servers, database, token, place):
    with servers.service(database.name, changes={"database": place}) as service:
        answer = ask(service, token)
        assert_unavailable(answer)
        reason = service.entry(answer.header("X-Request-Id"))["reason"]
        assert reason == " ".join(reason.split()) and "; check database." in reason
