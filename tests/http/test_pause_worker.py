"""Pause against a worker in the middle of its run, contract section 7.

The worker is stopped before a chosen statement, the action is sent, and then the worker
stays there ("stuck"), goes on, or is rolled back. What has to hold, whatever the moment:
(a) the answer comes in a bounded time; (b) after a 200 to a pause no migration runs that
was not resumed since; (c) the answer says whether a worker is in a run; (d) else a 503
says what was done and what was not. The registry's plain UPDATE goes through the same
cases, to show that they can fail.
"""

import time

import pytest
from harness.answer import conflict_body
from harness.process import wait_until
from harness.rows import STATUS
from harness.worker import CHECK, LOCK, MARK, SELECT, WORK
from harness.worker_scene import (
    ACTIVE, answer_of, assert_held, assert_kept, background, cases, changes, database, finish, goings_on, hasty,
    history, LIMIT, LONG, meant, now_in, OTHER, OURS, patient, PlainUpdate, played, RUNNING, scene, SHORT, statuses,
    TARGETS, token, Violation, wait_for_first_go,
)  # fmt: skip


def pause_while_stuck(database, background, actor, played, kind, step, target):
    """The worker does not move until there is an answer."""
    played.until(step)
    started = time.monotonic()
    answer = answer_of(background.submit(actor.act, "pause", target), LIMIT)
    took = time.monotonic() - started
    if answer.status == 200:
        assert_kept(database, played, kind, target)
    return answer, took


def pause_and_go_on(database, background, actor, played, kind, step, target, then):
    """The worker moves when the pause has had its first go."""
    played.until(step)
    since = now_in(database)
    future = background.submit(actor.act, "pause", target)
    wait_for_first_go(database, future, since, target, kind.is_held(step) and target in (None, OURS))
    then(played)
    answer = answer_of(future, LIMIT if actor.seconds == SHORT else LONG + 3)
    if answer.status == 200:
        assert_kept(database, played, kind, target)
    return answer


@cases
def test_pause_with_a_worker_stuck(database, background, hasty, played, scene, kind, step, name):
    target = TARGETS[name]
    scene(kind)
    before = statuses(database)
    answer, took = pause_while_stuck(database, background, hasty, played, kind, step, target)
    held = kind.is_held(step) and target in (None, OURS)
    done = [identity for identity in meant(target) if not (held and identity == OURS)]
    changed = changes(done, before.get, "paused")
    if held or kind.in_danger(step):
        assert_held(answer, changed, "not_paused", [OURS] if held else [])
        now = statuses(database)
        assert {identity for identity in meant(target) if now[identity] == 0} == set(done)
        assert took >= SHORT / 2, "it might have waited"
    else:
        assert answer.status == 200, answer
        assert answer.json["migrations"] == changed
        assert answer.json["job_in_flight"] is (step != LOCK)
        assert took < SHORT, "it waited for nothing"


@goings_on
@cases
def test_pause_with_a_worker_that_moves(database, background, patient, played, scene, kind, step, name, then):
    target = TARGETS[name]
    scene(kind)
    answer = pause_and_go_on(database, background, patient, played, kind, step, target, then)
    too_late = kind.comes_to_its_end(step) and then is finish
    if target == OURS and too_late:
        state = STATUS[kind.ends_in]
        assert (answer.status, answer.json) == (409, conflict_body(OURS, state))
        return
    assert answer.status == 200, answer
    assert set(answer.json) >= {"success", "message", "migrations", "job_in_flight"}
    reported = [migration["id"] for migration in answer.json["migrations"]]
    assert reported == [identity for identity in meant(target) if not (too_late and identity == OURS)]
    assert patient.act("pause", target).json.get("job_in_flight", False) is False


@cases
def test_the_plain_update_has_the_fault_with_a_worker_stuck(database, background, played, scene, kind, step, name):
    target = TARGETS[name]
    scene(kind)
    plain = PlainUpdate(database)
    in_danger = kind.in_danger(step) and not kind.ends_in
    if target != OTHER and (in_danger or kind.is_held(step)):
        with pytest.raises(Violation):
            pause_while_stuck_briefly(database, background, plain, played, kind, step, target)
    else:
        answer, _ = pause_while_stuck(database, background, plain, played, kind, step, target)
        assert {row["id"] for row in answer.json["migrations"]} == set(meant(target))
    played.rollback()


def pause_while_stuck_briefly(database, background, actor, played, kind, step, target):
    """As pause_while_stuck, and where the action is seen to wait for the worker, that is the fault."""
    played.until(step)
    future = background.submit(actor.act, "pause", target)
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    assert wait_until(lambda: future.done() or database.rows(waits))
    if not future.done():
        raise Violation("it waits for as long as the worker does, and the others wait with it")
    assert_kept(database, played, kind, target)


@pytest.mark.parametrize("step", [CHECK, MARK])
def test_the_plain_update_is_undone_by_a_worker_that_goes_on(database, background, played, scene, step):
    scene(ACTIVE)
    with pytest.raises(Violation, match="said to be paused and is running"):
        pause_and_go_on(database, background, PlainUpdate(database), played, ACTIVE, step, None, finish)


@pytest.mark.parametrize("target", [None, OURS], ids=["all", "this one"])
@pytest.mark.usefixtures("history")
def test_a_worker_that_sets_running_what_was_paused_and_stays(database, background, hasty, patient, played, scene, target):
    """It shows as paused until the worker commits, but what is committed then is that it runs."""
    scene(ACTIVE)
    played.until(MARK)
    futures = [background.submit(actor.act, "pause", target) for actor in (hasty, patient)]
    assert wait_until(lambda: statuses(database)[OURS] == 0)
    played.until(WORK)
    left = futures[0].result(LONG).json["errors"][0]["detail"]
    assert [migration["id"] for migration in left["not_paused"]] == [OURS]
    assert OURS not in [migration["id"] for migration in left["migrations"]]

    # And again, with nothing but that one left to be paused.
    assert_held(hasty.act("pause", target), [], "not_paused", [OURS])
    assert statuses(database)[OURS] == 0 and not futures[1].done()
    assert hasty.act("pause", OTHER).status == 200
    played.finish()
    assert futures[1].result(LONG + 3).status == 200
    assert_kept(database, played, ACTIVE, target)


def test_a_worker_that_only_reads_jobs_is_not_past_choosing(database, hasty, played, scene):
    """Only a lock that is for writing comes after the step that sets a migration running."""
    scene(ACTIVE)
    played.until(MARK)
    played.connection.cursor().execute("SELECT count(*) FROM batched_background_migration_jobs")
    before = statuses(database)
    assert_held(hasty.act("pause", OURS), changes([OURS], before.get, "paused"), "not_paused", [])
    played.finish()
    assert hasty.act("pause", OURS).status == 200
    assert_kept(database, played, ACTIVE, OURS)


def test_one_held_row_does_not_keep_the_others(database, background, patient, played, scene):
    scene(ACTIVE)
    played.until(WORK)
    future = background.submit(patient.act, "pause")
    others = set(meant(None)) - {OURS}
    assert wait_until(lambda: all(statuses(database)[identity] == 0 for identity in others))
    assert not future.done() and statuses(database)[OURS] == 1
    played.finish()
    assert future.result(LONG).status == 200
    assert_kept(database, played, ACTIVE, None)


def test_a_pause_waits_for_no_job_that_need_not_be_waited_for(database, patient, played, scene):
    """Of a migration that was running before: the job may go on for its three minutes."""
    scene(RUNNING)
    played.until(WORK)
    for target in (OURS, OTHER, None):
        answer = patient.act("pause", target)
        assert (answer.status, answer.json["job_in_flight"]) == (200, True)
    assert_kept(database, played, RUNNING, None)


def test_a_job_that_fails_under_a_pause(database, patient, played, scene):
    scene(RUNNING)
    played.job_fails = lambda job: True
    played.until(WORK)
    assert patient.act("pause").status == 200
    assert_kept(database, played, RUNNING, None)
    assert database.count_jobs(OURS, 3) == 1
