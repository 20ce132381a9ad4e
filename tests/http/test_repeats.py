"""A write that is sent again, issue 13 (8): with the history, it is answered as it was, and not done twice."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import routes
from harness.relay import Relay
from harness.history import Desk
from harness.ports import free_port
from harness.timing import longer, milliseconds
from harness.worker import CHECK, worker

KEY = {"HTTP_X_REQUEST_ID": "the-request"}


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


@pytest.fixture(scope="module")
def desk(servers, database, keys):
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


def test_what_was_changed_by_somebody_since_is_not_changed_again(desk, database):
    """That is what it is for: the first pause came through, and a colleague has resumed."""
    first = desk.act("pause", **KEY)
    desk.done("resume", 1, who="bob")
    database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id = 2")
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


def test_twins(desk, database):
    """The same request at the same moment, as when a web server gives up waiting: each migration is paused by one of
    them, under one action, and no answer says otherwise. (Two that lock rows at the very same moment may share them.)"""
    for number in range(10):
        database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id <> 3")
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _, key=f"twin-{number}": desk.act("pause", HTTP_X_REQUEST_ID=key), range(4)))
        assert [answer.status for answer in answers] == [200] * 4
        parts = {answer.json["action_id"]: tuple(change["id"] for change in answer.json["migrations"]) for answer in answers}
        assert sorted(identity for part in parts.values() for identity in part) == [1, 2, 4]
        recorded = {action["id"]: sorted(change["id"] for change in action["migrations"]) for action in desk.history()}
        assert {number: sorted(part) for number, part in parts.items()} == {number: recorded[number] for number in parts}


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
