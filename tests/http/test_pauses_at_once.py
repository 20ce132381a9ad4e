"""Several actions at once while a worker is in its run, and rows that others hold: contract section 7."""

import contextlib

import pytest
from harness.process import wait_until
from harness.worker import CHECK, CHOOSE, COMMIT, LOCK, MARK, SELECT, WORK
from harness.worker_scene import (
    ACTIVE, assert_held, assert_kept, background, changes, database, hasty, LONG, meant, now_in, OTHER, OURS,
    patient, played, RUNNING, scene, second, statuses, token, wait_for_first_go,
)  # fmt: skip


def test_two_pauses_at_once(database, background, patient, second, played, scene):
    """Through two processes, with the worker about to set running what both have paused."""
    for step in (CHECK, MARK, CHOOSE, COMMIT):
        scene(ACTIVE)
        played.begin()
        played.until(step)
        since = now_in(database)
        futures = [background.submit(actor.act, "pause", target) for actor in (patient, second) for target in (None, OURS)]
        for future in futures:
            wait_for_first_go(database, future, since, OURS, ACTIVE.is_held(step))
        played.finish()
        answers = [future.result(LONG + 3) for future in futures]
        assert [answer.status for answer in answers] == [200] * 4
        reported = [migration["id"] for answer in answers for migration in answer.json["migrations"]]
        assert set(reported) == set(meant(None))
        assert_kept(database, played, ACTIVE, None)


@pytest.mark.parametrize("target", [None, OURS], ids=["all", "this one"])
def test_a_pause_that_finds_another_ones_fresh_work(database, background, patient, played, scene, target):
    """Its first look at the worker was before a second operator's pause, and the worker chose between.

    A table lock stops the pause between its look and its change: else no test could hit this moment.
    """
    scene(ACTIVE)
    with contextlib.closing(database.cluster.connect(database.name)) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE batched_background_migrations IN SHARE MODE")
        future = background.submit(patient.act, "pause", target)
        assert database.someone_waits_for_a_lock()
        played.until(MARK)
        other.cursor().execute("UPDATE batched_background_migrations SET status = 0 WHERE status IN (1, 4)")
        other.commit()
        # It has to wait for the worker now; if it answers instead, that is looked at below.
        wait_until(future.done, seconds=0.5)
    played.finish()
    answer = future.result(LONG + 3)
    assert answer.status == 200
    assert_kept(database, played, ACTIVE, target)


def test_a_migration_that_is_resumed_and_chosen_before_the_last_pass(database, background, patient, played, scene):
    """What the last pass pauses may have been chosen since the worker was looked at.

    A held row keeps the pause from ending, and a lock on the history delays its next pass.
    """
    scene(ACTIVE)
    with contextlib.ExitStack() as stack:
        holder, other = (stack.enter_context(contextlib.closing(database.cluster.connect(database.name))) for _ in range(2))
        holder.autocommit = other.autocommit = False
        holder.cursor().execute(f"SELECT FROM batched_background_migrations WHERE id = {OTHER} FOR UPDATE")
        future = background.submit(patient.act, "pause")
        assert wait_until(lambda: statuses(database)[OURS] == 0)
        other.cursor().execute("LOCK TABLE bbm_fcgi.changes IN SHARE MODE")
        assert database.someone_waits_for_a_lock()
        database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id = %s", (OURS,))
        played.until(MARK)
        holder.rollback()
        other.rollback()
        assert wait_until(lambda: statuses(database)[OURS] == 0)
        # It has to wait for the worker now; if it answers instead, that is looked at below.
        wait_until(future.done, seconds=0.5)
    played.finish()
    assert future.result(LONG + 3).status == 200
    assert_kept(database, played, ACTIVE, None)


@pytest.mark.parametrize("resumer", ["patient", "second"], ids=["same process", "another process"])
def test_a_resume_while_a_pause_waits(database, background, patient, played, scene, request, resumer):
    """The pause is the one that answers last, so it is the pause that holds."""
    resumer = request.getfixturevalue(resumer)
    scene(ACTIVE)
    played.until(MARK)
    future = background.submit(patient.act, "pause")
    assert wait_until(lambda: statuses(database)[OURS] == 0)
    resumed = resumer.act("resume", OURS)
    assert (resumed.status, future.done()) == (200, False)
    assert resumed.json["migrations"] == changes([OURS], lambda _: 0, "active")
    assert statuses(database)[OURS] == 1
    played.finish()
    assert future.result(LONG + 3).status == 200
    assert_kept(database, played, ACTIVE, None)


def test_a_pause_and_a_resume_at_once(database, background, patient, second, played, scene):
    """With no worker, in either order: both are answered, and no row is left in between."""
    scene(ACTIVE)
    for _ in range(10):
        futures = [background.submit(actor.act, name) for actor in (patient, second) for name in ("pause", "resume")]
        assert [future.result(LONG + 3).status for future in futures] == [200] * 4
        assert set(statuses(database).values()) <= {0, 1, 2}
    assert patient.act("pause").status == 200
    assert {statuses(database)[identity] for identity in meant(None)} == {0}


def test_a_row_held_by_no_worker(database, background, hasty, patient, scene):
    """Somebody in psql: what comes of it is not known, so the service waits, and then reports it."""
    scene(RUNNING)
    with contextlib.closing(database.cluster.connect(database.name)) as somebody:
        somebody.autocommit = False
        somebody.cursor().execute(f"SELECT 1 FROM batched_background_migrations WHERE id = {OURS} FOR UPDATE")
        before = statuses(database)
        answer = hasty.act("pause")
        done = [identity for identity in meant(None) if identity != OURS]
        assert_held(answer, changes(done, before.get, "paused"), "not_paused", [OURS], in_flight=False)
        future = background.submit(patient.act, "pause", OURS)
        somebody.cursor().execute(f"UPDATE batched_background_migrations SET status = 1 WHERE id = {OURS}")
        somebody.commit()
        assert future.result(LONG).status == 200
        assert statuses(database)[OURS] == 0


def test_shared_holders_of_the_lock_are_no_fault(database, patient, scene):
    """The number 1 is anybody's to lock; more than one can hold it shared."""
    scene(ACTIVE)
    with contextlib.ExitStack() as stack:
        for number in range(3):
            holder = stack.enter_context(contextlib.closing(database.cluster.connect(database.name)))
            holder.autocommit = False
            holder.cursor().execute("SELECT pg_advisory_xact_lock_shared(1), pg_current_xact_id()")
        for target in (None, OURS):
            answer = patient.act("pause", target)
            assert (answer.status, answer.json["job_in_flight"]) == (200, False)


def test_a_worker_with_savepoints(database, hasty, played, scene):
    """A transaction within the transaction has an id of its own."""
    scene(ACTIVE)
    played.until(MARK)
    played.connection.cursor().execute("SAVEPOINT one; CREATE TEMPORARY TABLE t (x int); SAVEPOINT two")
    played.until(WORK)
    assert hasty.act("pause", OTHER).status == 200
    assert hasty.act("pause").status == 503
    played.finish()
    assert hasty.act("pause").status == 200
    assert_kept(database, played, ACTIVE, None)
