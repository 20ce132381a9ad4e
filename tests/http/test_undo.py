"""Undo, contract section 8: what a pause paused is resumed, and nothing that somebody has acted on since."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import routes
from harness.answer import error_body
from harness.fastcgi import Connection, parameters
from harness.history import Desk
from harness.process import wait_until
from harness.timing import longer, milliseconds
from harness.worker import WORK, worker

ELSEWHERE = "it was changed since, without a record"


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


@pytest.fixture(scope="module")
def desk(servers, database, keys):
    changes = {"fcgi": {"timeout": milliseconds(longer(1))}}
    with servers.service(database.name, changes=changes) as service:
        yield Desk(database, service, keys)


@pytest.fixture(autouse=True)
def scene(database):
    """1 and 2 active, 3 running, 4 paused long ago, 5 failed."""
    database.clear()
    database.clear_history()
    for identity, status in {1: 1, 2: 1, 3: 4, 4: 0, 5: 3}.items():
        database.add_migration(f"m{identity}", id=identity, status=status)


def resumed(answer):
    assert answer.status == 200, answer
    return [migration["id"] for migration in answer.json["migrations"]]


def left(answer):
    return {migration["id"]: (migration.get("status"), migration["why"]) for migration in answer.json["left"]}


@pytest.mark.parametrize("path", [base + path + "/" for base in routes.BASES for path in routes.RESUMES])
def test_what_a_pause_paused_is_resumed_and_no_other(desk, path):
    number = desk.done("pause")
    answer = desk.ask("POST", path, f"action_id={number}")
    assert resumed(answer) == [1, 2, 3]
    assert answer.json["message"] == f"The migrations that action {number} had paused have been resumed"
    assert (answer.json["left"], answer.json["job_in_flight"]) == ([], False)
    assert desk.states() == {1: 1, 2: 1, 3: 1, 4: 0, 5: 3}


def test_it_is_an_action_of_its_own(desk, database):
    pause = desk.done("pause")
    answer = desk.undo(pause, "&reason=mistaken", who="bob")
    undo, _ = desk.history()
    assert (undo["id"], undo["action"], undo["undoes"]) == (answer.json["action_id"], "resume", pause)
    assert (undo["actor"], undo["reason"], undo["migrations"]) == ("bob", "mistaken", answer.json["migrations"])
    for row in database.migrations()[:3]:
        assert row["updated_at"] == database.history()[1]["at"]


def undo_in_body(desk, number):
    body = f'{{"action_id": {number}}}'.encode()
    params = parameters("POST", routes.RESUME, desk.keys.token("*"), CONTENT_LENGTH=str(len(body)))
    with Connection(desk.service.address) as connection:
        return connection.request(params, body)


def test_the_body_says_the_same(desk):
    number = desk.done("pause", 1)
    assert resumed(undo_in_body(desk, number)) == [1]


def test_what_others_have_paused_stays_paused(desk):
    mine = desk.done("pause", 1)
    others = desk.done("pause", 2, who="bob")
    assert resumed(desk.undo(mine)) == [1]
    assert desk.states()[2] == 0
    assert resumed(desk.undo(others)) == [2]


def test_twice(desk):
    number = desk.done("pause")
    second = desk.undo(number).json["action_id"]
    answer = desk.undo(number)
    assert resumed(answer) == [] and "action_id" not in answer.json
    assert left(answer) == {identity: ("active", f"action {second} has changed it since") for identity in (1, 2, 3)}


def test_paused_again_by_somebody_else(desk):
    """Resumed and paused again in between: it is not this pause any more."""
    first = desk.done("pause", 1)
    desk.done("resume", 1, who="bob")
    again = desk.done("pause", 1, who="bob")
    answer = desk.undo(first)
    assert resumed(answer) == []
    assert left(answer) == {1: ("paused", f"action {again} has changed it since")}
    assert desk.states()[1] == 0


SINCE = {
    "resumed by hand": ("status = 1", ("active", "it is active now")),
    "resumed by hand, with the time": ("status = 1, updated_at = now()", ("active", "it is active now")),
    "set running by a worker": ("status = 4, updated_at = now()", ("running", "it is running now")),
    "finished": ("status = 2", ("finished", "it is finished now")),
    "failed": ("status = 3", ("failed", "it is failed now")),
    "paused once more by hand": ("updated_at = now()", ("paused", ELSEWHERE)),
    "without a time": ("updated_at = NULL", ("paused", ELSEWHERE)),
    "an unknown state": ("status = 9", ("unknown", "it is unknown now")),
}


@pytest.mark.parametrize("assignments, expected", SINCE.values(), ids=SINCE)
def test_changed_by_somebody_without_a_record(desk, database, assignments, expected):
    for action in ("pause", "resume"):  # earlier actions explain nothing
        desk.done(action, 2)
    number = desk.done("pause")
    database.execute(f"UPDATE batched_background_migrations SET {assignments} WHERE id = 2")
    before = database.rows("SELECT *, ctid::text AS place FROM batched_background_migrations WHERE id = 2")
    answer = desk.undo(number)
    assert resumed(answer) == [1, 3]
    assert left(answer) == {2: expected}
    assert database.rows("SELECT *, ctid::text AS place FROM batched_background_migrations WHERE id = 2") == before


def test_a_migration_that_is_gone(desk, database):
    number = desk.done("pause")
    database.execute("DELETE FROM batched_background_migrations WHERE id = 2")
    answer = desk.undo(number)
    assert answer.json["left"] == [{"id": 2, "name": "m2", "why": "it is gone"}]
    assert resumed(answer) == [1, 3]


def test_what_is_no_pause(desk):
    pause = desk.done("pause")
    resume = desk.done("resume")
    restart = desk.done("restart", 5)
    before = desk.states()
    detail = "the 'action_id' query parameter must be the id of a pause in the history"
    expected = error_body("INVALID_QUERY_PARAMETER_VALUE", "invalid query parameter value", detail)
    for number in (resume, restart, restart + 1, 2**63 - 1):
        answer = desk.undo(number)
        assert (answer.status, answer.json) == (400, expected)
        answer = undo_in_body(desk, number)
        detail = "the member 'action_id' must be the id of a pause in the history"
        assert (answer.status, answer.json) == (400, error_body("INVALID_BODY", "invalid request body", detail))
    assert desk.states() == before and pause


def test_only_a_resume_of_all_takes_it(desk):
    number = desk.done("pause")
    for action, identity in (("pause", None), ("resume", 1), ("restart", 1)):
        answer = desk.act(action, identity, f"action_id={number}")
        assert answer.json["errors"][0]["code"] == "INVALID_QUERY_PARAMETER_NAME"
    assert desk.states()[1] == 0


def test_a_dry_run(desk, database):
    number = desk.done("pause")
    database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id = 2")
    snapshot = "SELECT *, ctid::text AS place, xmin::text AS writer FROM batched_background_migrations ORDER BY id"
    before, actions = database.rows(snapshot), desk.history()
    answer = desk.undo(number, "&dry_run=true")
    assert resumed(answer) == [1, 3]
    assert answer.json["message"] == f"The migrations that action {number} had paused would be resumed"
    assert left(answer) == {2: ("finished", "it is finished now")}
    assert (answer.json["dry_run"], answer.json["held"]) == (True, [])
    assert (database.rows(snapshot), desk.history()) == (before, actions)
    assert resumed(desk.undo(number)) == [1, 3]


def test_a_row_that_is_held(servers, desk, database):
    """The others are resumed; the one that is held is not, and it is named."""
    number = desk.done("pause")
    with contextlib.closing(servers.cluster.connect(database.name)) as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM batched_background_migrations WHERE id = 2 FOR UPDATE")
        answer = desk.undo(number)
        detail = answer.json["errors"][0]["detail"]
        assert (answer.status, answer.json["errors"][0]["code"]) == (503, "BBM_HELD")
        assert [migration["id"] for migration in detail["migrations"]] == [1, 3]
        assert detail["not_resumed"] == [{"id": 2, "name": "m2"}]
        assert detail["action_id"] == desk.history()[0]["id"]
        holder.rollback()
    assert resumed(desk.undo(number)) == [2]
    assert desk.states() == {1: 1, 2: 1, 3: 1, 4: 0, 5: 3}


@pytest.mark.parametrize("assignments", ["status = 1, updated_at = now()", "updated_at = now()"])
def test_somebody_acts_at_the_same_moment(servers, desk, database, assignments):
    """The undo finds the row held by somebody whose change is then committed: it is theirs."""
    number = desk.done("pause", 2)
    with contextlib.closing(servers.cluster.connect(database.name)) as holder, ThreadPoolExecutor(1) as pool:
        holder.autocommit = False
        holder.cursor().execute(f"UPDATE batched_background_migrations SET {assignments} WHERE id = 2")
        waiting = pool.submit(desk.undo, number)
        assert wait_until(lambda: tried(database))
        holder.commit()
        answer = waiting.result()
    assert resumed(answer) == [] and list(left(answer)) == [2]


def tried(database):
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
    return database.rows(query, ("%paused.migration_name%SKIP LOCKED%",))


def test_a_worker_goes_on_afterwards(desk, database):
    """Paused under its job and given back: the next run takes it again."""
    with worker(database) as played:
        assert played.run() == "job finished"
        played.begin()
        played.until(WORK)
        number = desk.done("pause")
        played.finish()
        assert played.run() == "nothing to do"
        assert resumed(desk.undo(number)) == [1, 2, 3]
        assert played.run() == "job finished"


def test_beside_a_process_that_writes_no_history(servers, desk, database, keys):
    """As during an upgrade, one of an older version: no undo takes back what it has done."""
    if os.environ.get("BBM_TEST_DATABASE") == "pgbouncer":
        pytest.skip("PgBouncer's file of users does not have this test's role")
    old_role = servers.unique("old")
    database.execute(f"CREATE ROLE {old_role} LOGIN")
    tables = "batched_background_migrations, batched_background_migration_jobs"
    database.execute(f"GRANT SELECT, UPDATE ON {tables} TO {old_role}")
    with servers.service(database.name, changes={"database": {"user": old_role}}) as service:
        old = Desk(database, service, keys)
        number = desk.done("pause")
        assert old.one(1)["status"] == "paused" and "paused_by" not in old.one(1)
        assert old.act("resume", 1).json["migrations"] and "action_id" not in old.act("pause", 1).json
        assert "paused_by" not in desk.one(1) and desk.one(2)["paused_by"] == "alice"
        assert old.undo(number).status == 404
        answer = desk.undo(number)
    assert resumed(answer) == [2, 3]
    assert left(answer) == {1: ("paused", ELSEWHERE)}
    assert desk.states()[1] == 0
