"""A write that is sent again, issue 13 (8): with the history, it is answered as it was, and not done twice."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import database_proxies, routes
from harness.relay import Relay
from harness.history import Desk
from harness.ports import free_port
from harness.postgres import SERVICE_ROLE
from harness.process import wait_until
from harness.timing import longer, milliseconds
from harness.worker import CHECK, worker

# PgBouncer gives all clients of the tests so many.
SESSIONS = 2 if os.environ.get("BBM_TEST_DATABASE") == "pgbouncer" else 8
KEY = {"HTTP_X_REQUEST_ID": "the-request"}


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


@pytest.fixture(scope="module")
def other_desk(servers, database, keys):
    """Of another process."""
    with servers.service(database.name) as service:
        yield Desk(database, service, keys)


@pytest.fixture(scope="module")
def hasty(servers, database, keys):
    changes = {"fcgi": {"timeout": milliseconds(longer(0.6))}}
    with servers.service(database.name, changes=changes) as service:
        yield Desk(database, service, keys)


@pytest.fixture(autouse=True)
def scene(database):
    """1 and 2 active, 3 failed, 4 paused."""
    database.clear()
    database.clear_history()
    for identity, status in {1: 1, 2: 1, 3: 3, 4: 0}.items():
        database.add_migration(f"m{identity}", id=identity, status=status)


def snapshot(database):
    rows = "SELECT *, ctid::text AS place FROM batched_background_migrations ORDER BY id"
    return database.rows(rows), database.history()


ACTIONS = [("pause", None), ("resume", None), ("pause", 1), ("resume", 4), ("restart", 3)]


@pytest.mark.parametrize("header", ["HTTP_X_REQUEST_ID", "HTTP_IDEMPOTENCY_KEY"])
@pytest.mark.parametrize("action, identity", ACTIONS)
def test_the_same_again_is_answered_as_it_was(desk, database, action, identity, header):
    first = desk.act(action, identity, "reason=x", **{header: "the-request"})
    assert first.json["migrations"] and "repeated" not in first.json
    before = snapshot(database)
    for query in ("reason=x", "reason=y", ""):
        again = desk.act(action, identity, query, **{header: "the-request"})
        assert (again.status, again.json) == (200, {**first.json, "repeated": True})
    assert snapshot(database) == before
    entry = desk.service.entry(again.header("X-Request-Id")) if header == "HTTP_IDEMPOTENCY_KEY" else {"repeated": True}
    assert entry["repeated"] is True


def test_an_undo_again(desk, database):
    pause = desk.done("pause")
    first = desk.undo(pause, **KEY)
    again = desk.undo(pause, **KEY)
    assert again.json == {**first.json, "repeated": True}
    assert "repeated" not in desk.act("resume", **KEY).json, "a plain resume is another request"


@pytest.mark.parametrize("becomes", [1, 4], ids=["active", "set running by a worker"])
def test_what_was_changed_by_somebody_since_is_not_changed_again(desk, database, becomes):
    """That is what it is for: the first pause came through, and a colleague has resumed."""
    first = desk.act("pause", **KEY)
    desk.done("resume", 1, who="bob")
    database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id = 2")
    database.execute("UPDATE batched_background_migrations SET status = %s WHERE id = 1", (becomes,))
    before = snapshot(database)
    again = desk.act("pause", **KEY)
    assert again.json == {**first.json, "repeated": True}
    assert snapshot(database) == before


OTHERS = {
    "another id": {"HTTP_X_REQUEST_ID": "another"},
    "none": {},
    "an idempotency key, which goes first": {**KEY, "HTTP_IDEMPOTENCY_KEY": "another"},
    "another caller": {**KEY, "who": "bob", "jti": "token of alice"},
    "another token of the caller": {**KEY, "jti": "another"},
}


@pytest.mark.parametrize("more", OTHERS.values(), ids=OTHERS)
def test_another_request_is_no_repeat(desk, more):
    desk.act("pause", **KEY)
    desk.done("resume", who="carol")
    answer = desk.act("pause", **more)
    assert "repeated" not in answer.json and len(answer.json["migrations"]) == 3


@pytest.mark.parametrize("action, identity", [("pause", None), ("pause", 2), ("resume", 1), ("resume", None)])
def test_another_action_under_the_same_id_is_no_repeat(desk, action, identity):
    """A pipeline may give all its requests one id."""
    desk.act("pause", 1, **KEY)
    answer = desk.act(action, identity, **KEY)
    assert answer.status == 200 and answer.json["migrations"] and "repeated" not in answer.json


@pytest.mark.parametrize("between", [None, 1])
def test_the_same_again_after_the_callers_own_opposite_is_a_new_request(desk, between):
    """A bot or a shell may give all its requests one id: the second pause must pause."""
    first = desk.act("pause", **KEY)
    resumed = desk.act("resume", between, **KEY).json["migrations"]
    answer = desk.act("pause", **KEY)
    assert "repeated" not in answer.json and answer.json["action_id"] > first.json["action_id"]
    assert [migration["id"] for migration in answer.json["migrations"]] == [migration["id"] for migration in resumed]
    assert set(desk.states().values()) == {0, 3}


@pytest.mark.parametrize("other", [{"who": "bob", "jti": "token of alice"}, {"jti": "another"}], ids=["caller", "token"])
def test_the_opposite_under_another_ones_token_is_not_the_callers_own(desk, database, other):
    """What another one has resumed under the same id stays resumed."""
    first = desk.act("pause", **KEY)
    assert desk.act("resume", 1, **other, **KEY).json["migrations"]
    before = snapshot(database)
    assert desk.act("pause", **KEY).json == {**first.json, "repeated": True}
    assert snapshot(database) == before


def test_after_ten_minutes_it_is_another_request(desk, database):
    desk.act("pause", 1, **KEY)
    desk.done("resume", 1, who="bob")
    database.execute("UPDATE bbm_fcgi.actions SET at = at - interval '10 minutes 1 second'")
    answer = desk.act("pause", 1, **KEY)
    assert "repeated" not in answer.json and len(answer.json["migrations"]) == 1


@pytest.mark.parametrize("key", ["x" * 129, "a b", "\u00e9", ""])
def test_a_key_that_is_not_fit_is_none(desk, key):
    for _ in range(2):
        answer = desk.act("pause", 1, HTTP_IDEMPOTENCY_KEY=key)
        assert "repeated" not in answer.json
        desk.act("resume", 1)


def test_a_key_in_quotes_is_the_same_key(desk):
    desk.act("pause", 1, HTTP_IDEMPOTENCY_KEY='"8e03978e-40d5"')
    assert desk.act("pause", 1, HTTP_IDEMPOTENCY_KEY="8e03978e-40d5").json["repeated"] is True


def test_a_dry_run_is_never_a_repeat_and_nothing_repeats_one(desk):
    assert desk.act("pause", None, "dry_run=true", **KEY).status == 200
    first = desk.act("pause", **KEY)
    assert "repeated" not in first.json and len(first.json["migrations"]) == 2
    dry = desk.act("pause", None, "dry_run=true", **KEY)
    assert dry.json["migrations"] == [] and "repeated" not in dry.json


def test_one_that_was_not_done_in_full_goes_on(servers, desk, hasty, database):
    """After BBM_HELD a client comes again with the same key: what was left is done now, in the same action."""
    with contextlib.closing(servers.cluster.connect(database.name)) as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM batched_background_migrations WHERE id = 2 FOR UPDATE")
        first = hasty.act("pause", **KEY)
        detail = first.json["errors"][0]["detail"]
        assert [migration["id"] for migration in detail["migrations"]] == [1] and first.status == 503
        desk.done("resume", 1, who="bob")
        again = hasty.act("pause", **KEY)
        assert again.status == 503 and desk.states()[1] == 1, "it paused what a colleague had resumed"
        holder.rollback()
    answer = desk.act("pause", **KEY)
    assert answer.status == 200 and answer.json["action_id"] == detail["action_id"]
    assert [migration["id"] for migration in answer.json["migrations"]] == [1, 2]
    assert desk.states() == {1: 1, 2: 0, 3: 3, 4: 0}
    pause = desk.history()[-1]
    assert (pause["id"], [migration["id"] for migration in pause["migrations"]]) == (detail["action_id"], [1, 2])


def test_a_repeat_of_a_pause_holds_against_a_worker(desk, hasty, database):
    """The first came when the worker had chosen, and could not wait; the second must not say less than the truth."""
    with worker(database) as played:
        played.until(CHECK)
        assert hasty.act("pause", **KEY).status == 503
        assert hasty.act("pause", **KEY).status == 503, "the worker may still set it running"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(desk.act, "pause", **KEY)
            played.finish()
            answer = waiting.result()
        assert (answer.status, answer.json["repeated"]) == (200, True)
        assert desk.states()[1] == 0 and played.run() == "nothing to do"


# Equal requests at the same moment


@contextlib.contextmanager
def meanwhile(servers, database, statement):
    """A session of somebody else's, in a transaction in which the statement has run."""
    with contextlib.closing(servers.cluster.connect(database.name)) as session:
        session.autocommit = False
        session.cursor().execute(statement)
        yield session


def service_waits(database, number):
    """So many of the service's sessions wait for a lock."""
    query = (
        "SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        " AND wait_event_type = 'Lock'"
    )
    return database.rows(query, (SERVICE_ROLE,))[0]["number"] == min(number, SESSIONS)


def at_once(desks, number, act):
    """So many requests, none of which is sent before all can be; through two processes in turn."""
    barrier = threading.Barrier(number)

    def one(place):
        barrier.wait()
        return act(desks[place % 2])

    return one, range(number)


def assert_one_action(desk, answers, key, changed):
    assert [answer.status for answer in answers] == [200] * len(answers), answers
    assert sorted(answer.json.get("repeated", False) for answer in answers) == [False] + [True] * (len(answers) - 1)
    recorded = [action for action in desk.history() if action["correlation_id"] == key]
    assert [answer.json["action_id"] for answer in answers] == [recorded[0]["id"]] * len(answers)
    assert len(recorded) == 1
    for migrations in [action["migrations"] for action in recorded] + [answer.json["migrations"] for answer in answers]:
        assert [migration["id"] for migration in migrations] == changed


@pytest.mark.parametrize("number", [2, 4, 8])
def test_equal_requests_at_once(desk, other_desk, database, number):
    """The same request at the same moment, as when a web server gives up waiting: one pauses, the others repeat it."""
    with ThreadPoolExecutor(number) as pool:
        for turn in range(20):
            key = f"equal-{turn}"
            database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id <> 3")
            answers = list(pool.map(*at_once((desk, other_desk), number, lambda desk: desk.act("pause", HTTP_X_REQUEST_ID=key))))
            assert_one_action(desk, answers, key, [1, 2, 4])


SAME = {
    "pause": (lambda desk, _: desk.act("pause", **KEY), [1, 2, 4]),
    "resume": (lambda desk, _: desk.act("resume", **KEY), [5, 6, 7]),
    "restart": (lambda desk, _: desk.act("restart", 3, **KEY), [3]),
    "undo": (lambda desk, pause: desk.undo(pause, **KEY), [5, 6, 7]),
}


@pytest.mark.parametrize("number", [2, 4, 8])
@pytest.mark.parametrize("act, changed", SAME.values(), ids=SAME)
def test_equal_requests_in_step(servers, desk, other_desk, database, act, changed, number):
    """All have looked for an earlier request before one of them can change a row: a lock on the table delays them."""
    for turn in range(5):
        database.clear_history()
        database.execute("DELETE FROM batched_background_migrations WHERE id > 4")
        for identity in (5, 6, 7):
            database.add_migration(f"m{identity}", id=identity, status=1)
        database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id IN (1, 2, 4)")
        pause = desk.done("pause")
        status = "CASE id WHEN 3 THEN 3 WHEN 1 THEN 1 WHEN 2 THEN 4 WHEN 4 THEN 1 ELSE 0 END"
        database.execute(f"UPDATE batched_background_migrations SET status = {status}")
        one, places = at_once((desk, other_desk), number, lambda desk: act(desk, pause))
        with meanwhile(servers, database, "LOCK TABLE batched_background_migrations IN SHARE MODE") as holder:
            with ThreadPoolExecutor(number) as pool:
                answers = pool.map(one, places)
                waits = wait_until(lambda: service_waits(database, number))
                holder.commit()
                answers = list(answers)
        assert waits
        assert_one_action(desk, answers, KEY["HTTP_X_REQUEST_ID"], changed)


SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON batched_background_migrations FOR EACH ROW EXECUTE FUNCTION slow();
"""


@pytest.fixture(scope="module", params=["directly", "behind pgbouncer"])
def slow(servers, keys, request):
    """Two desks where a row is locked as it is changed, which takes a while, and not all of them at once before."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(servers.database(history=True))
        changes = {}
        if request.param == "behind pgbouncer":
            bouncer = database_proxies.PgBouncer(servers.workspace, servers.unique("pgbouncer"), servers.cluster.port)
            stack.callback(bouncer.stop)
            changes = {"database": {"host": "127.0.0.1", "port": bouncer.port, "sslmode": "disable"}}
        for setting in ("enable_hashjoin", "enable_mergejoin"):
            database.execute(f"ALTER DATABASE {database.name} SET {setting} = off")
        for identity in range(1, 11):
            database.add_migration(f"m{identity}", id=identity, status=1)
        database.execute(SLOW)
        services = [stack.enter_context(servers.service(database.name, changes=changes)) for _ in range(2)]
        yield [Desk(database, service, keys) for service in services]


@pytest.mark.parametrize("number", [2, 4, 8])
def test_equal_requests_while_rows_are_locked(slow, number):
    """One has some of the rows when the others come, and takes no longer than they would to take the rest."""
    with ThreadPoolExecutor(number) as pool:
        for turn in range(5):
            key = f"{number}-{turn}"
            action = ("pause", "resume")[turn % 2]
            slow[0].act(("resume", "pause")[turn % 2])
            answers = list(pool.map(*at_once(slow, number, lambda desk: desk.act(action, HTTP_X_REQUEST_ID=key))))
            assert_one_action(slow[0], answers, key, list(range(1, 11)))


@pytest.mark.parametrize("turn", range(5))
def test_equal_requests_of_which_a_row_is_held(servers, desk, other_desk, database, turn):
    """Each of them may get the last row: it is one action, and all answers name all of it."""
    one, places = at_once((desk, other_desk), 4, lambda desk: desk.act("pause", **KEY))
    with contextlib.ExitStack() as stack:
        row = stack.enter_context(meanwhile(servers, database, "SELECT FROM batched_background_migrations WHERE id = 2 FOR UPDATE"))
        table = stack.enter_context(meanwhile(servers, database, "LOCK TABLE batched_background_migrations IN SHARE MODE"))
        answers = stack.enter_context(ThreadPoolExecutor(4)).map(one, places)
        waits = wait_until(lambda: service_waits(database, 4))
        table.commit()
        paused = wait_until(lambda: desk.states()[1] == 0)
        row.commit()
        answers = list(answers)
    assert waits and paused
    assert_one_action(desk, answers, KEY["HTTP_X_REQUEST_ID"], [1, 2])


def test_different_requests_of_one_id(servers, desk, other_desk, database):
    """Two callers, and two migrations, under one id at the same moment: each is an action of its own."""
    requests = [(1, "alice"), (2, "alice"), (1, "bob"), (2, "bob")]
    with meanwhile(servers, database, "LOCK TABLE batched_background_migrations IN SHARE MODE") as holder:
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda request: desk.act("pause", request[0], who=request[1], **KEY), requests)
            waits = wait_until(lambda: service_waits(database, 4))
            holder.commit()
            answers = list(answers)
    assert waits
    assert [(answer.status, "repeated" in answer.json) for answer in answers] == [(200, False)] * 4
    assert sorted(change["id"] for answer in answers for change in answer.json["migrations"]) == [1, 2]
    assert len(desk.history()) == 2 and {status for number, status in desk.states().items() if number < 3} == {0}


LOCK = "SELECT pg_advisory_xact_lock(1650617600, hashtext('the-request')), pg_current_xact_id()"


def test_the_lock_is_waited_for_as_long_as_a_request_may_take(servers, desk, hasty, database):
    """The lock is of this id alone: it does not stop a worker, and is not taken for one."""
    with meanwhile(servers, database, LOCK) as holder:
        refused = hasty.act("pause", **KEY)
        assert (refused.status, refused.json["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert refused.header("Retry-After") and desk.states()[1] == 1
        other = desk.act("pause", 1, HTTP_X_REQUEST_ID="another")
        assert (len(other.json["migrations"]), other.json["job_in_flight"]) == (1, False)
        assert desk.ask("GET", routes.LIST).json["job_in_flight"] is False
        with worker(database) as played:
            assert played.run() == "job finished"
        assert wait_until(lambda: service_waits(database, 0)), "the statement waits on"
        holder.commit()
    assert desk.states() == {1: 0, 2: 4, 3: 3, 4: 0}, "the statement that was given up has run"
    answer = desk.act("pause", **KEY)
    assert "repeated" not in answer.json and [change["id"] for change in answer.json["migrations"]] == [2]


def test_a_lock_that_comes_free_in_time(servers, desk, database):
    with meanwhile(servers, database, LOCK) as holder, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(desk.act, "pause", **KEY)
        assert wait_until(lambda: service_waits(database, 1))
        holder.commit()
        assert len(waiting.result().json["migrations"]) == 2


def test_the_answer_was_lost(servers, database, keys):
    """The change is committed, but its answer is lost: the same request again has the answer."""
    relay = Relay(free_port(), ("127.0.0.1", servers.cluster.port))
    relay.open()
    changes = {"database": {"port": relay.port}, "fcgi": {"timeout": milliseconds(longer(2))}}
    try:
        with servers.service(database.name, changes=changes) as service:
            desk = Desk(database, service, keys)
            relay.swallow = b"SET status"
            lost = desk.act("pause", **KEY)
            relay.swallow = None
            assert lost.status == 503 and "not known" in lost.json["errors"][0]["detail"]
            answer = desk.act("pause", **KEY)
            assert answer.json["repeated"] is True and len(answer.json["migrations"]) == 2
            assert answer.json["action_id"] == desk.history()[0]["id"]
    finally:
        relay.close()
