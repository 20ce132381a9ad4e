"""The history, contract section 8, as it is read: pages of actions, and who paused what is paused."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes, rows
from harness.answer import error_body
from harness.fastcgi import parameters
from harness.history import Desk
from harness.process import wait_until
from harness.refusals import NO_TOKEN, assert_refused

PAUSED_BY = ("paused_by", "paused_at", "pause_reason")


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        yield database


@pytest.fixture(autouse=True)
def scene(database):
    """1 and 2 active, 3 failed, 4 running, 5 paused."""
    database.clear()
    database.clear_history()
    for identity, status in {1: 1, 2: 1, 3: 3, 4: 4, 5: 0}.items():
        database.add_migration(f"m{identity}", id=identity, status=status)


def change(identity, previous, becomes):
    return {"id": identity, "name": f"m{identity}", "previous_status": previous, "status": becomes}


# Reading


def test_an_action_as_it_is_shown(desk, database):
    number = desk.done("pause", None, "reason=INC-4711", HTTP_X_REQUEST_ID="the-request")
    (action,) = desk.history()
    at = rows.read_time(action.pop("at"))
    assert at == database.history()[0]["at"]
    assert action == {
        "id": number,
        "action": "pause",
        "actor": "alice",
        "token_id": "token of alice",
        "remote_ip": "192.0.2.7",
        "correlation_id": "the-request",
        "reason": "INC-4711",
        "migrations": [change(1, "active", "paused"), change(2, "active", "paused"), change(4, "running", "paused")],
    }


def test_newest_first_and_each_in_full(desk):
    numbers = [desk.done("pause", 1), desk.done("restart", 3, who="bob"), desk.done("resume"), desk.done("pause", 1)]
    everything = desk.history()
    assert [action["id"] for action in everything] == numbers[::-1]
    assert [action["action"] for action in everything] == ["pause", "resume", "restart", "pause"]
    assert desk.history(1) == [action for action in everything if action["id"] != numbers[1]]
    assert desk.history(3) == [everything[2]]
    assert desk.history(5) == [everything[1]]
    assert len(everything[1]["migrations"]) == 2  # all that it changed, and not only the migration that is asked about


def test_what_is_not_known_is_left_out(desk, database):
    database.execute("INSERT INTO bbm_fcgi.actions (action, correlation_id) VALUES ('pause', 'x')")
    (action,) = desk.history()
    assert set(action) == {"id", "at", "action", "correlation_id", "migrations"}
    assert action["migrations"] == []


def test_without_an_action(desk):
    for identity in (None, 1):
        answer = desk.ask("GET", routes.actions(identity))
        assert (answer.status, answer.json, answer.header("Link")) == (200, {"actions": []}, None)


def test_an_absent_migration(desk, database):
    answer = desk.ask("GET", routes.actions(99))
    expected = error_body("BBM_ID_NOT_FOUND", "provided BBM Id has not been found", "BBM with ID 99 not found")
    assert (answer.status, answer.json) == (404, expected)
    desk.done("pause", 1)
    database.execute("DELETE FROM batched_background_migrations WHERE id = 1")
    assert desk.history(1)[0]["migrations"] == [change(1, "active", "paused")], "what was done to it stays known"


def test_access_and_methods(desk, keys):
    for path in (routes.actions(), routes.actions(1)):
        assert_refused(desk.ask("GET", path, HTTP_AUTHORIZATION=None), "read", NO_TOKEN)
        token = keys.token("write")
        assert_refused(desk.ask("GET", path, HTTP_AUTHORIZATION=f"Bearer {token}"), "read", "insufficient_scope")
        assert desk.ask("HEAD", path).body == b""
        answer = desk.ask("POST", path)
        assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("identity", [None, 1])
def test_without_a_history(servers, keys, identity):
    with servers.database() as plain, servers.service(plain.name) as service:
        plain.add_migration("m1", id=1)
        answer = Desk(plain, service, keys).ask("GET", routes.actions(identity))
        detail = "the owner of the registry's database has to run sql/history.sql"
        expected = error_body("HISTORY_NOT_ENABLED", "there is no history of actions", detail)
        assert (answer.status, answer.json) == (404, expected)


# Pages


def fill(database, number, each=1):
    database.execute(
        "WITH made AS (INSERT INTO bbm_fcgi.actions (action, correlation_id)"
        " SELECT 'pause', 'x' || n FROM generate_series(1, %s) AS n RETURNING id)"
        " INSERT INTO bbm_fcgi.changes SELECT id, m, 'm' || m, 1, 0 FROM made, generate_series(1, %s) AS m",
        (number, each),
    )
    return [row["id"] for row in database.rows("SELECT id FROM bbm_fcgi.actions ORDER BY id DESC")]


def walk(desk, identity, query):
    pages = []
    while query is not None:
        answer = desk.ask("GET", routes.actions(identity), query)
        assert answer.status == 200
        pages.append(answer.json["actions"])
        link = answer.header("Link")
        found = link and re.fullmatch(rf'<{routes.actions(identity)}\?([^>]+)>; rel="next"', link)
        assert bool(link) == bool(found), link
        query = found and found[1]
        assert len(pages) < 50
    return pages


@pytest.mark.parametrize("identity", [None, 1])
@pytest.mark.parametrize("n, number", [(1, 3), (3, 3), (2, 5), (1000, 5), (100, 101)])
def test_pages_cover_all_and_nothing_twice(desk, database, identity, n, number):
    ids = fill(database, number)
    pages = walk(desk, identity, f"n={n}")
    assert [action["id"] for page in pages for action in page] == ids
    assert all(len(page) == n for page in pages[:-1])


def test_a_hundred_where_no_number_is_given(desk, database):
    fill(database, 101)
    assert [len(page) for page in walk(desk, None, "")] == [100, 1]


def test_an_action_that_comes_meanwhile_does_not_shift_a_page(desk, database):
    ids = fill(database, 4)
    first = desk.ask("GET", routes.actions(), "n=2")
    desk.done("pause", 1)
    assert [action["id"] for action in desk.history(None, f"n=2&last={ids[1]}")] == ids[2:]
    assert [action["id"] for action in first.json["actions"]] == ids[:2]


@pytest.mark.parametrize("identity", [None, 1])
def test_a_page_of_large_actions_is_short_and_loses_nothing(desk, database, identity):
    """A page has a bounded number of changes, and never a part of an action."""
    ids = fill(database, 30, each=700)
    pages = walk(desk, identity, "n=1000")
    assert [action["id"] for page in pages for action in page] == ids
    assert {len(action["migrations"]) for page in pages for action in page} == {700}
    assert [len(page) for page in pages] == [14, 14, 2]


@pytest.mark.parametrize("query", ["n=0", "n=1001", "n=x", "last=0", "last=x", "status=failed", "reason=x", "n=1&n=1"])
def test_a_bad_parameter(desk, query):
    assert desk.ask("GET", routes.actions(), query).status == 400
    assert desk.ask("GET", routes.actions(99), query).status == 400


def test_the_links_of_both_paths_lead_back(desk, database):
    fill(database, 3)
    for base in routes.BASES:
        for path in ("/bbm/actions", "/bbm/actions/", "/background-migrations/1/actions", "/background-migrations/1/actions/"):
            answer = desk.ask("GET", base + path, "n=2")
            assert answer.header("Link").startswith(f"<{base}{path}?n=2&last=")


# Who paused it


def paused(migration):
    return tuple(migration.get(name) for name in PAUSED_BY)


def both(desk, identity):
    """The same in the list, in the filtered one, and alone."""
    one = paused(desk.one(identity))
    assert one == paused(desk.listed()[identity])
    some = desk.ask("GET", routes.LIST, "status=paused,active,running,failed,finished").json["migrations"]
    assert one == paused(next(migration for migration in some if migration["id"] == identity))
    return one


def test_a_pause_is_shown_on_the_migration(desk, database):
    number = desk.done("pause", None, "reason=why", who="bob")
    at = next(action for action in desk.history() if action["id"] == number)["at"]
    assert at == desk.one(1)["updated_at"]
    for identity in (1, 2, 4):
        assert both(desk, identity) == ("bob", at, "why")
    for identity in (3, 5):  # failed, and paused without a record
        assert both(desk, identity) == (None, None, None)


def test_a_pause_without_reason_and_subject(desk, database, keys):
    desk.done("pause", 1, who=None)
    assert both(desk, 1)[0::2] == (None, None) and both(desk, 1)[1] is not None


def test_the_last_pause_counts(desk):
    for who in ("alice", "bob", "carol"):
        desk.done("pause", 1, f"reason=of+{who}", who=who)
        assert both(desk, 1)[0::2] == (who, f"of {who}")
        desk.done("resume", 1, who=who)
        assert both(desk, 1) == (None, None, None)


OTHERS = {
    "resumed and paused by hand": "UPDATE batched_background_migrations SET status = 0, updated_at = now() WHERE id = 1",
    "touched": "UPDATE batched_background_migrations SET updated_at = now() WHERE id = 1",
    "no time any more": "UPDATE batched_background_migrations SET updated_at = NULL WHERE id = 1",
    "set running": "UPDATE batched_background_migrations SET status = 4 WHERE id = 1",
    "the history pruned": "DELETE FROM bbm_fcgi.actions; UPDATE batched_background_migrations SET batch_size = 5 WHERE id = 1",
}


@pytest.mark.parametrize("statement", OTHERS.values(), ids=OTHERS)
def test_none_where_somebody_else_has_changed_it_since(desk, database, statement):
    desk.done("pause", 1)
    assert both(desk, 1) != (None, None, None)
    database.execute(statement)
    assert both(desk, 1) == (None, None, None)


def test_who_resumed_it_has_not_paused_it(desk, database):
    """Somebody has paused it by hand since, and left updated_at as it was."""
    desk.done("pause", 1)
    desk.done("resume", 1, who="bob")
    database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 1")
    assert both(desk, 1) == (None, None, None)


PAUSED_AGAIN = """
    WITH action AS (INSERT INTO bbm_fcgi.actions (action, actor, correlation_id) VALUES ('pause', 'bob', 'x') RETURNING *),
    changed AS (UPDATE batched_background_migrations SET updated_at = (SELECT at FROM action) WHERE id = 1)
    INSERT INTO bbm_fcgi.changes (action_id, migration_id, migration_name, previous_status, status)
    SELECT id, 1, 'm1', 1, 0 FROM action"""


@pytest.mark.parametrize("path", [routes.one(1), routes.LIST])
def test_a_pause_that_is_newer_than_the_migration_shown_is_not_its(desk, database, path):
    """The migration is read first; a lock delays the look into the history."""
    desk.done("pause", 1)
    with contextlib.closing(database.cluster.connect(database.name)) as other, ThreadPoolExecutor(1) as pool:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE bbm_fcgi.actions IN ACCESS EXCLUSIVE MODE")
        future = pool.submit(desk.ask, "GET", path)
        assert database.someone_waits_for_a_lock()
        other.cursor().execute(PAUSED_AGAIN)
        other.commit()
        answer = future.result()
    shown = answer.json["migration"] if "migration" in answer.json else answer.json["migrations"][0]
    assert (shown["id"], shown["status"], paused(shown)) == (1, "paused", (None, None, None))


@pytest.mark.parametrize("path", [routes.one(1), routes.LIST])
def test_a_history_that_goes_while_it_is_asked(desk, database, path):
    """A lock delays the look into it, and then it is not there."""
    desk.done("pause", 1)
    with contextlib.closing(database.cluster.connect(database.name)) as other, ThreadPoolExecutor(1) as pool:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE bbm_fcgi.actions IN ACCESS EXCLUSIVE MODE")
        future = pool.submit(desk.ask, "GET", path)
        assert database.someone_waits_for_a_lock()
        other.cursor().execute("ALTER SCHEMA bbm_fcgi RENAME TO hidden")
        other.commit()
        answer = future.result()
    database.execute("ALTER SCHEMA hidden RENAME TO bbm_fcgi")
    shown = answer.json["migration"] if "migration" in answer.json else answer.json["migrations"][0]
    assert (answer.status, shown["id"], paused(shown)) == (200, 1, (None, None, None))


def test_a_history_that_comes_back_is_asked_again(servers, keys):
    """Where the history comes back, who paused is known again, though no row has changed."""
    with servers.database(history=True) as database, servers.service(database.name) as service:
        desk = Desk(database, service, keys)
        database.add_migration("m1", id=1, status=1)
        desk.done("pause", 1)
        database.execute("ALTER SCHEMA bbm_fcgi RENAME TO hidden")
        assert paused(desk.listed()[1]) == (None, None, None)
        database.execute("ALTER SCHEMA hidden RENAME TO bbm_fcgi")
        assert paused(desk.one(1))[0] == "alice"


@pytest.mark.parametrize("more", [0, 120], ids=["a short list", "a long one, of which only the changes are read"])
@pytest.mark.parametrize("statement", ["DELETE FROM bbm_fcgi.actions", "ALTER SCHEMA bbm_fcgi RENAME TO hidden"])
def test_the_list_forgets_what_the_history_forgets(servers, keys, statement, more):
    """No row of the registry changes, so that only a body made again shows it."""
    with servers.database(history=True) as database, servers.service(database.name) as service:
        desk = Desk(database, service, keys)
        database.add_migration("m1", id=1, status=1)
        for identity in range(2, 2 + more):
            database.add_migration(f"m{identity}", id=identity, status=2)
        desk.done("pause", 1)
        assert both(desk, 1)[0] == "alice" and desk.listed()
        database.execute(statement)
        assert paused(desk.one(1)) == (None, None, None)
        assert wait_until(lambda: paused(desk.listed()[1]) == (None, None, None), pause=0.1)


def test_the_tag_changes_with_it(desk):
    tag = desk.ask("GET", routes.one(1)).header("ETag")
    desk.done("pause", 1)
    assert desk.ask("GET", routes.one(1), HTTP_IF_NONE_MATCH=tag).status == 200


# What an operator sees


def test_readiness_and_start_say_whether_there_is_one(servers, desk):
    def ready(service):
        return fastcgi.ask(service.address, parameters("GET", "/-/readiness")).json

    assert ready(desk.service) == {"status": "ok", "history": True}
    assert wait_until(lambda: "the history of actions is in the schema bbm_fcgi" in desk.service.written())
    with servers.database() as plain, servers.service(plain.name) as service:
        assert ready(service) == {"status": "ok", "history": False}
        assert wait_until(lambda: "there is no history of actions; sql/history.sql makes one" in service.written())
        servers.cluster.add_history(plain.name)
        assert ready(service) == {"status": "ok", "history": True}
