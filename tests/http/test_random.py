"""Clients and workers at random on one database; every answer is compared with what really was.

Every answer must have been true at some moment between request and answer, no change may be one
that contract section 3 forbids, and none that a service made may be missing from all
answers, nor from the history where there is one. BBM_TEST_SEED repeats the choices (not the
timing), BBM_TEST_SECONDS goes on for longer.
"""

import contextlib

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.play import BY_SERVICE, BY_WORKER, CONFLICTS, KEY, NUMBER, SEED, STEPS, TIMEOUT, playing
from harness.worker import Worker


@pytest.fixture(scope="module", params=[False, True], ids=["without history", "with history"])
def played(servers, keys, request):
    with playing(servers, keys, request.param) as play:
        yield play


@pytest.fixture
def recorded(played):
    if not played.history:
        pytest.skip("a play without a history")
    return played.recorded


def why(play, ask, identity):
    """For a failure: the answer, and what became of that row around it."""
    around = [c for c in play.changes.of.get(identity, []) if ask.start - 3 < c.at < ask.end + 3]
    return "\n".join([f"BBM_TEST_SEED={SEED}", repr(ask), *map(repr, around)])


def actions(play, *kinds):
    return [ask for ask in play.asked if ask.action in (kinds or CONFLICTS)]


def writes(play):
    return actions(play, *CONFLICTS, "undo")


def detail(ask):
    found = ask.json["errors"][0].get("detail", {})
    return found if isinstance(found, (dict, list)) or ask.status != 503 else {}


def left_by(ask):
    """What a 503 says was not done; nothing where it could not even begin."""
    return detail(ask).get(KEY[ask.action], []) if ask.status == 503 else []


def covered(play, ask):
    return [ask.id] if ask.id is not None else play.changes.ids_before(ask)


def test_enough_happened(played):
    """Else the rest would prove little."""
    steps = sum(actor.steps for actor in played.clients + played.workers)
    answers = {status: sum(ask.status == status for ask in played.asked) for status in (200, 409, 503)}
    undone = sum((change.old, change.new) == (0, 4) for change in played.changes.all)
    print(f"{steps} steps, answers {answers}, {len(played.changes.all)} changes, {undone} of them over a pause")
    assert sum(answers.values()) == len(played.asked)
    assert steps >= STEPS / 3 and min(answers[200], answers[409]) > 10 and undone > 0


def test_no_forbidden_change(played):
    for change in played.changes.all:
        if change.who != "scene":
            allowed = BY_SERVICE if change.who == "service" else BY_WORKER
            assert (change.old, change.new) in allowed, f"BBM_TEST_SEED={SEED}: {change}"
        if (change.old, change.new) == (3, 1):
            assert change.code is None
    for changes in played.changes.of.values():
        for before, after in zip(changes, changes[1:]):
            assert before.new == after.old, f"BBM_TEST_SEED={SEED}: {before}, {after}"


def test_every_answer_came_in_time(played):
    for ask in played.asked:
        assert ask.end - ask.start < TIMEOUT + 3, ask


def test_a_200_to_a_pause_holds(played):
    for ask in actions(played, "pause"):
        if ask.status == 200:
            for identity in covered(played, ask):
                assert played.changes.stays_paused(identity, ask), why(played, ask, identity)


def test_a_200_to_a_resume_or_restart_was_true(played):
    for ask in actions(played, "resume", "restart"):
        if ask.status == 200:
            for identity in covered(played, ask):
                states = played.changes.states(identity, ask)
                assert states & ({1, 4} if ask.id else {1, 2, 3, 4}), why(played, ask, identity)


def test_a_409_was_true(played):
    for ask in actions(played):
        if ask.status == 409:
            named = NUMBER[detail(ask).split(";")[0].rsplit(" ", 1)[1]]
            assert named in CONFLICTS[ask.action] & played.changes.states(ask.id, ask), why(played, ask, ask.id)


def test_a_503_names_what_was_not_done(played):
    wanted = {"pause": {1, 4}, "resume": {0}, "restart": {3}}
    for ask in actions(played):
        for left in left_by(ask):
            states = played.changes.states(left["id"], ask)
            chosen = any(
                run[4] and run[4]["id"] == left["id"] and run[0] <= ask.end and run[1] >= ask.start
                for runner in played.workers
                for run in runner.runs
            )
            assert chosen or states & wanted[ask.action], why(played, ask, left["id"])


def reported(ask):
    if ask.status == 200:
        return ask.json["migrations"]
    return detail(ask).get("migrations", []) if ask.status == 503 else []


def test_each_reported_change_was_made_and_each_change_was_reported(played):
    for ask in writes(played):
        for migration in reported(ask):
            step = (NUMBER[migration["previous_status"]], NUMBER[migration["status"]])
            made = [
                change
                for change in played.changes.of[migration["id"]]
                if change.who == "service" and (change.old, change.new) == step and not change.reported and ask.saw(change)
            ]
            assert made, why(played, ask, migration["id"])
            made[0].reported = True
    for change in played.changes.all:
        if change.who == "service" and not change.reported:
            # A pause that paused a row twice reports it once; one that was late reports it as not done.
            assert any(named(ask, change.id) and ask.saw(change) for ask in writes(played)), change


def named(ask, identity):
    return identity in [migration["id"] for migration in [*reported(ask), *left_by(ask)]]


def test_a_job_in_flight_was_reported_truly(played):
    runs = sorted(run[:4] for runner in played.workers for run in runner.runs)
    for ask in actions(played):
        said = (ask.json if ask.status == 200 else detail(ask) if ask.status == 503 else {}).get("job_in_flight")
        if said is None:
            continue
        near = [run for run in runs if run[0] <= ask.end and run[1] >= ask.start]
        if said:
            assert near, ask
        else:
            assert not any(locked < ask.start and before > ask.end for _, _, locked, before in near), ask


def test_every_list_was_true(played):
    finished = {}
    for runner in played.workers:
        for identity, before, after in runner.finished:
            finished.setdefault(identity, []).append((before, after))
    for ask in played.asked:
        if ask.status != 200 or ask.action not in ("list", "one"):
            continue
        rows = ask.json["migrations"] if ask.action == "list" else [ask.json["migration"]]
        ids = [row["id"] for row in rows]
        assert set(covered(played, ask)) <= set(ids) and ids == sorted(set(ids))
        for row in rows:
            assert NUMBER[row["status"]] in played.changes.states(row["id"], ask), why(played, ask, row["id"])
            jobs = finished.get(row["id"], [])
            least = sum(after < ask.start for _, after in jobs)
            most = sum(before <= ask.end for before, _ in jobs)
            assert least <= row["finished_jobs"] <= most, why(played, ask, row["id"])


def test_what_is_said_at_the_end_is_what_there_is(played):
    """All migrations are paused, and the workers go on: all stay paused."""
    client = played.clients[0]
    assert fastcgi.ask(client.address, parameters("POST", routes.PAUSE, played.token)).status == 200
    with contextlib.closing(Worker(played.database)) as worker:
        assert worker.run() == "nothing to do"
    assert not {row["status"] for row in played.database.migrations()} & {1, 4}


# The history


def noted(play):
    """What the services have changed, by the moment of the action: (migration, old, new), in order."""
    changes = {}
    for change in play.changes.all:
        if change.who == "service":
            changes.setdefault(change.moment, []).append((change.id, change.old, change.new))
    return changes


def test_the_history_is_what_was_committed(played, recorded):
    """Each change is recorded, and each record was changed; a row that one action paused twice, once."""
    changes = noted(played)
    assert len(recorded) == len({action["at"] for action in recorded}) and recorded
    for action in recorded:
        first = {}
        for identity, old, new in changes.pop(action["at"]):
            first.setdefault(identity, (old, new))
        written = {change["migration_id"]: (change["previous_status"], change["status"]) for change in action["changes"]}
        assert written == first, f"BBM_TEST_SEED={SEED}: action {action['id']}"
    assert changes == {}, f"BBM_TEST_SEED={SEED}: changed and not recorded"


def test_the_history_is_in_order(played, recorded):
    """Of each migration: the actions as their changes were committed. (A further pass may come after others'.)"""
    number = {action["at"]: action["id"] for action in recorded}
    first = {}
    for change in played.changes.all:
        if change.who == "service":
            first.setdefault(change.moment, change.xid)
    for identity, changes in played.changes.of.items():
        made = [change for change in changes if change.who == "service" and first[change.moment] == change.xid]
        numbers = [number[change.moment] for change in made]
        assert numbers == sorted(numbers), f"BBM_TEST_SEED={SEED}: {identity}"


def test_each_recorded_action_was_reported(played, recorded):
    told_ids = {ask.json["action_id"] for ask in played.asked if ask.status == 200 and "action_id" in ask.json}
    told_ids |= {detail(ask)["action_id"] for ask in played.asked if ask.status == 503 and "action_id" in detail(ask)}
    assert {action["id"] for action in recorded} == told_ids


def test_an_undo_touches_nothing_that_somebody_acted_on_since(played, recorded):
    """What an undo changed was left by its pause, with nobody between."""
    moments = {action["id"]: action["at"] for action in recorded}
    undone = 0
    for action in recorded:
        if action["undoes"] is None:
            continue
        for change in action["changes"]:
            changes = played.changes.of[change["migration_id"]]
            place = next(n for n, made in enumerate(changes) if made.moment == action["at"] and made.who == "service")
            before = changes[place - 1]
            assert (before.new, before.moment) == (0, moments[action["undoes"]]), f"BBM_TEST_SEED={SEED}: {action}"
            undone += 1
    print(f"{undone} undone")
    assert undone > 0


def test_what_an_undo_left_is_explained(played, recorded):
    for ask in played.asked:
        if ask.action == "undo" and ask.status == 200:
            ids = {migration["id"] for migration in ask.json["migrations"]}
            left = {migration["id"] for migration in ask.json["left"]}
            paused = next(action for action in recorded if action["id"] == ask.id)
            assert ids | left == {change["migration_id"] for change in paused["changes"]} and not ids & left
            assert all(migration["why"] for migration in ask.json["left"])


def test_a_dry_run_said_what_could_have_been(played):
    """Each migration was, at some moment of the request, in the state that the dry run names."""
    for ask in played.asked:
        if ask.action == "dry" and ask.status == 200:
            for migration in ask.json["migrations"]:
                states = played.changes.states(migration["id"], ask)
                assert NUMBER[migration["previous_status"]] in states, why(played, ask, migration["id"])


def test_the_history_was_read_truly(played, recorded):
    """A page is a part of what is recorded, without a gap that was committed before it was asked for."""
    for ask in played.asked:
        if ask.action == "history" and ask.status == 200:
            ids = [action["id"] for action in ask.json["actions"]]
            assert ids == sorted(ids, reverse=True) and set(ids) <= {action["id"] for action in recorded}
            assert all(action["migrations"] for action in ask.json["actions"])
