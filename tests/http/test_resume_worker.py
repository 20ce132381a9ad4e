"""Resume against a worker in the middle of its run, contract section 7: as test_pause_worker.py."""

import time

import pytest
from harness.worker import CHECK
from harness.worker_scene import (
    assert_held, background, changes, database, finish, goings_on, hasty, LIMIT, LONG, meant, naming, now_in,
    OTHER, OURS, patient, played, scene, SHORT, statuses, TARGETED, TARGETS, token, wait_for_first_go,
)  # fmt: skip


def resume_cases():
    """Paused by hand when the worker had chosen, and then the run went on to a step."""
    for kind, step, name in TARGETED:
        if kind.steps.index(step) >= kind.steps.index(CHECK):
            yield kind, step, name


def pause_behind_its_back(database, played, step):
    played.until(CHECK)
    database.execute("UPDATE batched_background_migrations SET status = 0 WHERE status IN (1, 4)")
    played.until(step)


@pytest.mark.parametrize("kind, step, name", resume_cases(), ids=naming)
def test_resume_with_a_worker_stuck(database, hasty, played, scene, kind, step, name):
    target = TARGETS[name]
    scene(kind)
    pause_behind_its_back(database, played, step)
    started = time.monotonic()
    answer = hasty.act("resume", target)
    took = time.monotonic() - started
    held = kind.is_held(step) and target in (None, OURS)
    done = [identity for identity in meant(target) if not (held and identity == OURS)]
    changed = changes(done, lambda _: 0, "active")
    if held:
        assert_held(answer, changed, "not_resumed", [OURS])
        assert took < LIMIT
    else:
        assert (answer.status, answer.json["job_in_flight"]) == (200, True)
        assert answer.json["migrations"] == changed
        assert took < SHORT, "it waited for nothing"
    now = statuses(database)
    assert {identity for identity in meant(target) if now[identity] == 1} == set(done)


@goings_on
@pytest.mark.parametrize("kind, step, name", resume_cases(), ids=naming)
def test_resume_with_a_worker_that_moves(database, background, patient, played, scene, kind, step, name, then):
    target = TARGETS[name]
    scene(kind)
    pause_behind_its_back(database, played, step)
    since = now_in(database)
    future = background.submit(patient.act, "resume", target)
    if kind.is_held(step) and target != OTHER:
        wait_for_first_go(database, future, since, target, True)
    else:
        assert future.result(LONG).status == 200
    then(played)
    answer = future.result(LONG)
    now = statuses(database)
    too_late = kind.comes_to_its_end(step) and then is finish
    assert answer.status == (409 if too_late and target == OURS else 200)
    if target != OTHER:
        assert now[OURS] in ({kind.ends_in} if too_late else {1, 4, kind.ends_in})
    assert all(now[identity] == 1 for identity in meant(target) if identity != OURS)
