"""Prepared statements, database.preparedstatements: what ends one is no client's concern."""

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import database_proxies, fastcgi, routes
from harness.relay import Relay
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.postgres import SERVICE_ROLE, schema_files
from harness.process import wait_until

ON = {"preparedstatements": True}
POOLER = "prepared statements get lost"


def ask(service, token, method="GET", path=routes.LIST):
    return fastcgi.ask(service.address, parameters(method, path, token))


def served(service, token, method="GET", path=routes.LIST):
    answer = ask(service, token, method, path)
    assert answer.status == 200, service.entry(answer.header("X-Request-Id")).get("reason")
    return answer


@pytest.fixture
def database(servers):
    with servers.database() as database:
        database.add_migration("one", id=1, status=1)
        database.add_migration("two", id=2, status=3)
        database.add_jobs(2, 3, 2, attempts=5)
        yield database


@contextlib.contextmanager
def service_on(servers, database, place=None, **changes):
    changes = {"fcgi": {"threads": 1}, **changes, "database": {**ON, **(place or {})}}
    with servers.service(database.name, changes=changes) as service:
        yield service


def every_request(service, token):
    for path in (routes.LIST, routes.one(1), routes.jobs(2)):
        served(service, token, path=path)
    for path in (routes.PAUSE, routes.RESUME, routes.action("pause", 1), routes.action("resume", 1)):
        served(service, token, "POST", path)


class Sessions:
    """What the service's sessions have prepared, read from PostgreSQL's log of statements."""

    def __init__(self, database):
        self.database = database

    @contextlib.contextmanager
    def logged(self, service_role=SERVICE_ROLE):
        log = self.database.cluster.server
        before = len(log.written())
        self.database.execute(f"ALTER ROLE {service_role} IN DATABASE {self.database.name} SET log_statement = 'all'")
        lines = []
        try:
            yield lines
        finally:
            self.database.execute(f"ALTER ROLE {service_role} IN DATABASE {self.database.name} RESET log_statement")
            lines += log.written()[before:].splitlines()


def test_statements_are_prepared_where_the_configuration_says_so(servers, database, token):
    for place, prepared in (({"preparedstatements": True}, True), ({"preparedstatements": False}, False)):
        with Sessions(database).logged() as lines, service_on(servers, database, place) as service:
            every_request(service, token)
            every_request(service, token)
        names = re.findall(r"LOG:  execute (\S+): ", "\n".join(lines))
        ours = [name for name in names if name.startswith("bbm_fcgi_")]
        assert bool(ours) is prepared
        if prepared:
            assert all(re.fullmatch(r"bbm_fcgi_[a-z_]+_[0-9]+", name) for name in ours)
            assert len(set(ours)) < len(ours) / 2


def test_by_the_environment(servers, database, token):
    with Sessions(database).logged() as lines:
        environment = {"REGISTRY_DATABASE_PREPAREDSTATEMENTS": "true"}
        with servers.service(database.name, environment=environment) as service:
            every_request(service, token)
    assert "execute bbm_fcgi_" in "\n".join(lines)


def test_they_do_not_outlive_the_connection(servers, database, token):
    with service_on(servers, database) as service:
        for _ in range(3):
            every_request(service, token)
            database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
            assert wait_until(
                lambda: not database.rows("SELECT 1 FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
            )
        every_request(service, token)
        assert POOLER not in service.written()


def test_the_registry_is_upgraded_under_it(servers, token):
    """The columns of SELECT m.* change: "cached plan must not change result type"."""
    with servers.database(ages=1) as database, service_on(servers, database) as service:
        database.add_migration("one", id=1, status=1)
        for file in schema_files()[1:]:
            every_request_but_jobs(service, token)
            servers.cluster.psql(database.name, "-f", file)
        every_request_but_jobs(service, token)
        assert "sub_batch_size" in served(service, token, path=routes.one(1)).json["migration"]
        with Sessions(database).logged() as lines:
            every_request_but_jobs(service, token)
            database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (SERVICE_ROLE,))
            served(service, token)
            served(service, token)
        assert "execute bbm_fcgi_" in "\n".join(lines), "it no longer prepares"


def every_request_but_jobs(service, token):
    for _ in range(2):
        served(service, token)
        served(service, token, path=routes.one(1))
        served(service, token, "POST", routes.PAUSE)
        served(service, token, "POST", routes.RESUME)


# Poolers


@contextlib.contextmanager
def pooled(servers, database, **settings):
    bouncer = database_proxies.PgBouncer(servers.workspace, servers.unique("pgbouncer"), database.cluster.port, **settings)
    try:
        yield {"host": "127.0.0.1", "port": bouncer.port, "sslmode": "disable"}
    finally:
        bouncer.stop()


def has_prepared_statements():
    return database_proxies.pgbouncer_version() >= (1, 21)


def test_a_pooler_that_mixes_sessions_is_noticed_and_nobody_gets_a_wrong_answer(servers, database, token):
    """PgBouncer in transaction pooling, without its own support for prepared statements."""
    with pooled(servers, database, pool_size=3, prepared=0) as place:
        with service_on(servers, database, place, fcgi={"threads": 8}) as service:
            for _ in range(5):
                with ThreadPoolExecutor(8) as clients:
                    reads = [clients.submit(ask, service, token, "GET", path) for path in (routes.one(1), routes.jobs(2)) * 20]
                    writes = [clients.submit(ask, service, token, "POST", path) for path in (routes.PAUSE, routes.RESUME) * 10]
                assert {future.result().status for future in reads + writes} == {200}
                assert all(future.result().json["migration"]["name"] == "one" for future in reads[::2])
            lines = [json.loads(line) for line in service.lines()]
            assert len([line for line in lines if POOLER in line["msg"]]) == 1
            with Sessions(database).logged() as logged:
                with ThreadPoolExecutor(8) as clients:
                    assert {answer.status for answer in clients.map(lambda _: ask(service, token), range(20))} == {200}
            assert "execute bbm_fcgi_" not in "\n".join(logged)


def test_a_pooler_that_discards_all_after_each_transaction(servers, database, token):
    with pooled(servers, database, pool_size=2, prepared=0, server_reset_query_always=1) as place:
        with service_on(servers, database, place) as service:
            for _ in range(4):
                every_request(service, token)
            assert service.written().count(POOLER) == 1


def test_one_discard_all_costs_nobody_anything(servers, database, token):
    """The session is shared with another client, who discards what it holds."""
    with pooled(servers, database, pool_size=1, prepared=0) as place, service_on(servers, database, place) as service:
        every_request(service, token)
        with contextlib.closing(database_proxies.connect(place, database.name, SERVICE_ROLE)) as other, other.cursor() as cursor:
            cursor.execute("DISCARD ALL")
        every_request(service, token)
        every_request(service, token)
        assert POOLER not in service.written()


def test_a_write_whose_prepared_statement_is_gone_is_done_once(servers, database, token):
    with pooled(servers, database, pool_size=1, prepared=0) as place, service_on(servers, database, place) as service:
        served(service, token, "POST", routes.PAUSE)
        served(service, token, "POST", routes.RESUME)
        with contextlib.closing(database_proxies.connect(place, database.name, SERVICE_ROLE)) as other, other.cursor() as cursor:
            cursor.execute("DISCARD ALL")
        assert len(served(service, token, "POST", routes.PAUSE).json["migrations"]) == 1
        assert served(service, token, "POST", routes.PAUSE).json["migrations"] == []


def test_a_statement_of_another_client_is_not_taken_for_ours(servers, database, token):
    """Its name is there already: 42P05."""
    names = []
    with Sessions(database).logged() as lines, service_on(servers, database) as service:
        every_request(service, token)
    names = set(re.findall(r"execute (bbm_fcgi_\S+): ", "\n".join(lines)))
    assert len(names) > 4
    with pooled(servers, database, pool_size=1, prepared=0) as place, service_on(servers, database, place) as service:
        with contextlib.closing(database_proxies.connect(place, database.name, SERVICE_ROLE)) as other, other.cursor() as cursor:
            for name in names:
                cursor.execute(f"PREPARE {name} AS SELECT 1")
        every_request(service, token)
        assert service.written().count(POOLER) == 1


def test_a_pooler_that_knows_of_prepared_statements(servers, database, token):
    if not has_prepared_statements():
        pytest.skip("PgBouncer knows of them from 1.21 on")
    with pooled(servers, database, pool_size=2, prepared=100) as place:
        with service_on(servers, database, place, fcgi={"threads": 8}) as service:
            for _ in range(3):
                with ThreadPoolExecutor(8) as clients:
                    answers = clients.map(lambda path: ask(service, token, "GET", path), (routes.LIST, routes.one(1)) * 20)
                    assert {answer.status for answer in answers} == {200}
                every_request(service, token)
            assert POOLER not in service.written()
        with servers.database(ages=5) as older, service_on(servers, older, place) as service:
            older.add_migration("one", id=1, status=1)
            every_request_but_jobs(service, token)
            servers.cluster.psql(older.name, "-f", schema_files()[5])
            every_request_but_jobs(service, token)
            assert "sub_batch_size" in served(service, token, path=routes.one(1)).json["migration"]


def test_a_network_that_cuts_connections(servers, database, token):
    relay = Relay(free_port(), ("127.0.0.1", servers.cluster.port))
    relay.open()
    try:
        with service_on(servers, database, {"port": relay.port}) as service:
            for _ in range(4):
                served(service, token)
                relay.cut()
            served(service, token)
    finally:
        relay.close()
