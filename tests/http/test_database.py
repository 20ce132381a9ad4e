"""A database that is not there, comes back, or refuses: 503, 500, and no word of its own text."""

import contextlib
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
def database(house):
    with house.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture
def proxy(house):
    proxy = Proxy(free_port(), ("127.0.0.1", house.cluster.port))
    yield proxy
    proxy.close()


@pytest.fixture
def behind_proxy(house, database, proxy):
    with house.service(database.name, changes={"database": {"port": proxy.port}}) as service:
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


def test_it_is_served_once_the_database_is_there(behind_proxy, proxy, token):
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


def test_cut_connections_are_made_again(behind_proxy, proxy, token):
    """A read may be asked once more; that a lost connection is noticed must not be the client's task."""
    proxy.open()
    assert recovers(behind_proxy, token)
    for _ in range(8):
        assert ask(behind_proxy, token).status == 200
        proxy.cut()
        assert ask(behind_proxy, token).status == 200


def test_sessions_ended_by_the_administrator_are_made_again(house, database, token):
    with house.service(database.name) as service:
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


def test_a_database_that_does_not_exist_yet(house, token):
    name = house.unique("late")
    with house.service(name) as service:
        assert_unavailable(ask(service, token))
        with contextlib.closing(house.cluster.create_database(name)):
            assert recovers(service, token)


def test_a_database_reached_through_a_unix_socket(house, database, token):
    with house.service(database.name, changes={"database": {"host": house.cluster.folder}}) as service:
        assert ask(service, token).status == 200


def test_connections_are_made_when_first_needed(house, database, token):
    with house.database() as own, house.service(own.name) as service:
        sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s"
        assert ask(service, None).status == 401
        assert own.rows(sessions, (own.name, SERVICE_ROLE)) == []
        assert ask(service, token).status == 200
        assert len(own.rows(sessions, (own.name, SERVICE_ROLE))) == 1


# What the database refuses


@pytest.mark.parametrize(
    "spoil, method, path",
    [
        ("REVOKE ALL ON batched_background_migrations FROM bbm_fcgi", "GET", routes.LIST),
        ("REVOKE ALL ON batched_background_migrations FROM bbm_fcgi", "GET", routes.one(7)),
        ("REVOKE UPDATE (status) ON batched_background_migrations FROM bbm_fcgi", "POST", routes.PAUSE),
        ("DROP TABLE batched_background_migration_jobs", "GET", routes.LIST),
    ],
    ids=["no select, list", "no select, one", "no update", "no table"],
)
def test_what_the_database_says_stays_inside(house, token, spoil, method, path):
    with house.database() as database, house.service(database.name) as service:
        database.add_migration("secret-name", id=7, status=1)
        database.execute(spoil)
        answer = ask(service, token, method, path)
        assert answer.status == 500
        assert answer.header("Content-Type") == "application/json"
        assert answer.json == UNKNOWN
        for word in (b"batched", b"permission", b"relation", b"secret-name", SERVICE_ROLE.encode()):
            assert word not in answer.body


def test_a_refused_action_leaves_nothing_half_done(house, token):
    """A trigger lets the first rows pass and stops the last one."""
    with house.database() as database, house.service(database.name) as service:
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


def test_no_transaction_is_left_open(house, database, token):
    with house.service(database.name) as service:
        for route in routes.ROUTES:
            assert ask(service, token, route.method, routes.ONE_BASE + route.path.format(id=7)).status == 200
        assert ask(service, token, "GET", routes.one(999)).status == 404
        states = database.rows(
            "SELECT state FROM pg_stat_activity WHERE datname = %s AND usename = %s", (database.name, SERVICE_ROLE)
        )
        assert states and {row["state"] for row in states} == {"idle"}
