"""The history, contract section 8, as it is written: with each change, and never without one."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import parameters
from harness.process import wait_until
from harness.tokens import SUBJECT


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        yield database


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("*", jti="the-token")


@pytest.fixture(autouse=True)
def scene(database):
    """One of each state: 1 active, 2 finished, 3 failed, 4 running, 5 paused."""
    database.clear()
    database.clear_history()
    for identity, status in {1: 1, 2: 2, 3: 3, 4: 4, 5: 0}.items():
        database.add_migration(f"m{identity}", id=identity, status=status)


@pytest.fixture
def ask(service, token):
    def ask(path, query="", body=b"", **more):
        params = parameters("POST", path, token, QUERY_STRING=query, CONTENT_LENGTH=str(len(body)), **more)
        with fastcgi.Connection(service.address) as connection:
            return connection.request(params, body)

    return ask


def changes(*rows):
    return [
        {"migration_id": identity, "migration_name": f"m{identity}", "previous_status": old, "status": new}
        for identity, old, new in rows
    ]


def recorded(action):
    return [{name: value for name, value in change.items() if name != "action_id"} for change in action["changes"]]


ACTIONS = [
    ("pause", None, changes((1, 1, 0), (4, 4, 0))),
    ("resume", None, changes((5, 0, 1))),
    ("pause", 4, changes((4, 4, 0))),
    ("resume", 5, changes((5, 0, 1))),
    ("restart", 3, changes((3, 3, 1))),
]


@pytest.mark.parametrize("action, identity, expected", ACTIONS, ids=lambda value: str(value)[:8])
def test_a_change_is_recorded(database, ask, action, identity, expected):
    answer = ask(routes.action(action, identity), "reason=INC-4711+%C3%A9", HTTP_X_REQUEST_ID="the-request")
    assert answer.status == 200
    (entry,) = database.history()
    assert answer.json["action_id"] == entry["id"]
    assert recorded(entry) == expected
    assert (entry["action"], entry["migration_id"], entry["undoes"]) == (action, identity, None)
    assert (entry["actor"], entry["token_id"], entry["remote_addr"]) == (SUBJECT, "the-token", "192.0.2.7")
    assert (entry["correlation_id"], entry["reason"]) == ("the-request", "INC-4711 \u00e9")
    for change in entry["changes"]:
        row = database.migrations()[change["migration_id"] - 1]
        assert (row["status"], row["updated_at"]) == (change["status"], entry["at"])


@pytest.mark.parametrize("action, identity, _", ACTIONS, ids=lambda value: str(value)[:8])
def test_what_changes_nothing_is_not_recorded(database, ask, action, identity, _):
    assert ask(routes.action(action, identity)).json["migrations"] != []
    database.clear_history()
    answer = ask(routes.action(action, identity))
    assert (answer.status, answer.json["migrations"], answer.json.get("action_id")) == (200, [], None)
    assert ask(routes.action("pause", 2)).status == 409
    assert ask(routes.action("pause", 99)).status == 404
    assert database.history() == []


def test_the_log_names_action_and_reason(service, ask):
    answer = ask(routes.PAUSE, "reason=because")
    entry = service.entry(answer.header("X-Request-Id"))
    assert (entry["action_id"], entry["reason"], entry["outcome"]) == (answer.json["action_id"], "because", "done")
    answer = ask(routes.action("pause", 2), "reason=because")
    entry = service.entry(answer.header("X-Request-Id"))
    assert (entry.get("action_id"), entry["reason"], entry["outcome"]) == (None, "because", "refused")


def test_the_body_says_the_same(database, ask):
    assert ask(routes.PAUSE, body=b'{"reason": "\\u00e9\\ud83d\\udc18"}').status == 200
    assert database.history()[0]["reason"] == "\u00e9\U0001f418"


def test_what_is_no_text_for_a_database_is_recorded_as_far_as_it_is(service, database, keys):
    """The address is whatever the web server sends; the subject may be cut within a character."""
    odd = keys.token("*", sub="\u00e9" * 2000, jti=None)
    answer = fastcgi.ask(service.address, parameters("POST", routes.PAUSE, odd, REMOTE_ADDR=b"1.2\xff.3"))
    assert answer.status == 200
    (entry,) = database.history()
    assert entry["remote_addr"] == "1.2\ufffd.3" and entry["actor"].startswith("\u00e9" * 50)


def test_without_address(service, database, token):
    fastcgi.ask(service.address, parameters("POST", routes.PAUSE, token, REMOTE_ADDR=None))
    assert database.history()[0]["remote_addr"] is None


# Without the table, and as it comes and goes


def test_without_the_table(servers, token):
    with servers.database() as plain, servers.service(plain.name) as service:
        plain.add_migration("m1", id=1, status=1)
        for path in (routes.PAUSE, routes.RESUME, routes.action("pause", 1)):
            answer = fastcgi.ask(service.address, parameters("POST", path, token, QUERY_STRING="reason=x"))
            assert answer.status == 200 and len(answer.json["migrations"]) == 1
            assert set(answer.json) == {"success", "message", "migrations", "job_in_flight"}
        answer = fastcgi.ask(service.address, parameters("POST", routes.RESUME, token, QUERY_STRING="action_id=1"))
        detail = "the owner of the registry's database has to run sql/history.sql"
        assert (answer.status, answer.json) == (404, error_body("HISTORY_NOT_ENABLED", "there is no history of actions", detail))
        assert plain.migrations()[0]["status"] == 0


GONE = {
    "no right to write": "REVOKE INSERT ON bbm_fcgi.changes FROM bbm_fcgi",
    "no right to read": "REVOKE SELECT ON bbm_fcgi.actions FROM bbm_fcgi",
    "no right to the schema": "REVOKE USAGE ON SCHEMA bbm_fcgi FROM bbm_fcgi",
    "no table": "ALTER TABLE bbm_fcgi.changes RENAME TO gone",
    "somebody else's": "CREATE ROLE {role}; ALTER TABLE bbm_fcgi.actions OWNER TO {role}",
    "a schema alone that is somebody else's": "CREATE ROLE {role}; ALTER SCHEMA bbm_fcgi OWNER TO {role}",
    "somebody else's schema": "CREATE ROLE {role}; ALTER SCHEMA bbm_fcgi OWNER TO {role};"
    "ALTER TABLE bbm_fcgi.actions OWNER TO {role}; ALTER TABLE bbm_fcgi.changes OWNER TO {role}",
    "no schema": "DROP SCHEMA bbm_fcgi CASCADE",
}


@pytest.mark.parametrize("statement", GONE.values(), ids=GONE)
def test_a_history_that_comes_and_goes(servers, token, statement):
    with servers.database() as database, servers.service(database.name, changes={"fcgi": {"threads": 1}}) as service:
        database.add_migration("m1", id=1, status=1)

        def change():
            path = routes.PAUSE if database.migrations()[0]["status"] else routes.RESUME
            answer = fastcgi.ask(service.address, parameters("POST", path, token))
            assert answer.status == 200 and len(answer.json["migrations"]) == 1
            return answer.json.get("action_id")

        assert change() is None
        servers.cluster.add_history(database.name)
        assert change() == 1
        database.execute(statement.format(role=servers.unique("stranger")))
        assert change() is None
        if "OWNER" in statement:
            for owned in ("SCHEMA bbm_fcgi", "TABLE bbm_fcgi.actions", "TABLE bbm_fcgi.changes"):
                database.execute(f"ALTER {owned} OWNER TO postgres")
        if "RENAME" in statement:
            database.execute("ALTER TABLE bbm_fcgi.gone RENAME TO changes")
        servers.cluster.add_history(database.name)
        assert change() in (1, 2, 3)


def test_one_that_goes_between_the_look_and_the_change(database, ask):
    """The refused statement has changed nothing, and the change is made without a record."""
    with ThreadPoolExecutor(1) as pool:
        with database.locked():
            waiting = pool.submit(ask, routes.PAUSE)
            assert database.someone_waits_for_a_lock()
            database.execute("ALTER SCHEMA bbm_fcgi RENAME TO hidden")
        answer = waiting.result()
    database.execute("ALTER SCHEMA hidden RENAME TO bbm_fcgi")
    assert answer.status == 200 and len(answer.json["migrations"]) == 2 and "action_id" not in answer.json
    assert database.history() == []


# Dry runs


SNAPSHOT = "SELECT *, ctid::text AS place, xmin::text AS writer FROM {} ORDER BY id"


def snapshot(database):
    tables = ("batched_background_migrations", "batched_background_migration_jobs", "bbm_fcgi.actions")
    return [database.rows(SNAPSHOT.format(table)) for table in tables]


@pytest.mark.parametrize("action, identity, expected", ACTIONS, ids=lambda value: str(value)[:8])
def test_a_dry_run_says_what_the_action_does_and_does_nothing(database, service, ask, action, identity, expected):
    database.add_jobs(3, 3, 2, attempts=5)
    before = snapshot(database)
    path = routes.action(action, identity)
    for query, body in (("dry_run=true", b""), ("", b'{"dry_run": true}')):
        dry = ask(path, query, body)
        assert (dry.status, dry.json["dry_run"], dry.json["held"]) == (200, True, [])
        assert "would be" in dry.json["message"] and "action_id" not in dry.json
        assert snapshot(database) == before
    entry = service.entry(dry.header("X-Request-Id"))
    assert (entry["outcome"], entry["dry_run"], entry.get("changed")) == ("done", True, None)
    done = ask(path, "dry_run=false")
    assert done.json["migrations"] == dry.json["migrations"] != [] and "dry_run" not in done.json
    assert done.json["job_in_flight"] == dry.json["job_in_flight"]


def test_a_dry_run_of_what_is_not_there_or_not_allowed(ask):
    assert ask(routes.action("pause", 99), "dry_run=true").status == 404
    assert ask(routes.action("pause", 2), "dry_run=true").json == ask(routes.action("pause", 2)).json
    answer = ask(routes.action("pause", 5), "dry_run=true")
    assert answer.json["message"] == "Background migration 5 is paused already; nothing would have to be changed"


def test_a_dry_run_needs_the_access_of_the_action(service, keys):
    params = parameters("POST", routes.PAUSE, keys.token("read"), QUERY_STRING="dry_run=true")
    assert fastcgi.ask(service.address, params).status == 401


def test_a_dry_run_names_what_is_held(servers, database, ask):
    with contextlib.closing(servers.cluster.connect(database.name)) as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM batched_background_migrations WHERE id IN (3, 4) FOR UPDATE")
        answer = ask(routes.PAUSE, "dry_run=true")
        assert answer.status == 200
        assert [migration["id"] for migration in answer.json["migrations"]] == [1]
        assert answer.json["held"] == [{"id": 4, "name": "m4"}]
        answer = ask(routes.action("restart", 3), "dry_run=true")
        assert (answer.json["migrations"], answer.json["held"]) == ([], [{"id": 3, "name": "m3"}])
    assert database.history() == []


# Holds a row until the service has ended a transaction, and no longer.
UNTIL_SEEN = """DO $$ BEGIN
    PERFORM FROM batched_background_migrations WHERE id = 4 FOR UPDATE;
    PERFORM pg_advisory_unlock(77);
    LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'bbm_fcgi' AND query = 'COMMIT'
                             AND datname = current_database() AND query_start > statement_timestamp());
        PERFORM pg_sleep(0.0005);
    END LOOP;
END $$"""


def test_a_dry_run_looks_again_at_what_is_held_for_a_moment(servers, database, ask):
    """As by another dry run. The moment may be too long on a busy machine, but not each time."""

    def held():
        with contextlib.closing(servers.cluster.connect(database.name)) as holder, ThreadPoolExecutor(1) as pool:
            holder.cursor().execute("SELECT pg_advisory_lock(77)")
            done = pool.submit(holder.cursor().execute, UNTIL_SEEN)
            assert wait_until(lambda: not database.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77"))
            answer = ask(routes.PAUSE, "dry_run=true")
            done.result(5)
            return answer.json["held"]

    assert any(held() == [] for _ in range(20))


# Warnings


@pytest.mark.parametrize("code, name", [(1, "invalid_bbm_table"), (2, "invalid_bbm_column"), (3, "invalid_job_signature"),
                                        (5, "invalid_batching_strategy"), (0, None), (4, None), (9, None), (None, None)])  # fmt: skip
def test_a_restart_that_cannot_help_says_so(database, ask, code, name):
    database.execute("UPDATE batched_background_migrations SET failure_error_code = %s WHERE id = 3", (code,))
    for query in ("dry_run=true", ""):
        answer = ask(routes.action("restart", 3), query)
        expected = name and f"it had failed with {name}; unless the cause of that is gone, it will fail again"
        assert (answer.status, answer.json.get("warning")) == (200, expected)
    assert "warning" not in ask(routes.action("restart", 3)).json
