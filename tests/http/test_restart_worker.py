"""Restart against a worker in the middle of its run, and with its rows held: contract sections 3 and 7."""

import contextlib

import pytest
from harness.postgres import SERVICE_ROLE
from harness.process import wait_until
from harness.worker import COMMIT, SELECT, WORK
from harness.worker_scene import (
    ACTIVE, answer_of, assert_held, background, changes, database, hasty, LIMIT, LONG, NO_TABLE, now_in, OTHER,
    OURS, OUT_OF_ATTEMPTS, patient, played, RUNNING, scene, second, statuses, token,
)  # fmt: skip


def tries_again(database):
    """Waited for: the service has found a row held, and looks at the worker before it tries once more."""
    since = now_in(database)
    tried = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        " AND query LIKE %s AND query_start > %s"
    )
    return wait_until(lambda: database.rows(tried, (SERVICE_ROLE, "%pg_locks%", since)))


@pytest.mark.parametrize("kind, step", [(OUT_OF_ATTEMPTS, COMMIT), (NO_TABLE, COMMIT), (ACTIVE, WORK), (RUNNING, WORK)])
def test_restart_of_what_a_worker_is_at(database, patient, played, scene, kind, step):
    """What is committed says that it runs: so there is nothing to do, and nothing to wait for."""
    scene(kind)
    played.until(step)
    answer = patient.act("restart", OURS)
    assert (answer.status, answer.json["migrations"], answer.json["job_in_flight"]) == (200, [], True)
    assert statuses(database)[OURS] == kind.status
    played.finish()
    assert statuses(database)[OURS] == (kind.ends_in or 4)


def test_restart_while_a_worker_runs_another(database, patient, played, scene):
    scene(ACTIVE)
    database.execute(f"UPDATE batched_background_migrations SET status = 3 WHERE id = {OTHER}")
    played.until(WORK)
    answer = patient.act("restart", OTHER)
    assert (answer.status, answer.json["job_in_flight"]) == (200, True)
    assert answer.json["migrations"] == changes([OTHER], lambda _: 3, "active")


def test_restart_of_a_row_that_somebody_holds(database, background, hasty, patient, scene):
    scene(OUT_OF_ATTEMPTS, status=3)
    with contextlib.closing(database.cluster.connect(database.name)) as somebody:
        somebody.autocommit = False
        somebody.cursor().execute(f"SELECT 1 FROM batched_background_migrations WHERE id = {OURS} FOR UPDATE")
        answer = answer_of(background.submit(hasty.act, "restart", OURS), LIMIT)
        assert_held(answer, [], "not_restarted", [OURS], in_flight=False)
        future = background.submit(patient.act, "restart", OURS)
        assert tries_again(database)
        somebody.rollback()
        assert future.result(LONG).json["migrations"] == changes([OURS], lambda _: 3, "active")
    assert statuses(database)[OURS] == 1


@pytest.mark.parametrize("becomes", [1, 2], ids=["restarted by somebody else", "finished by somebody else"])
def test_restart_of_a_row_that_changes_meanwhile(database, background, patient, scene, becomes):
    scene(OUT_OF_ATTEMPTS, status=3)
    with contextlib.closing(database.cluster.connect(database.name)) as somebody:
        somebody.autocommit = False
        somebody.cursor().execute(f"UPDATE batched_background_migrations SET status = {becomes} WHERE id = {OURS}")
        future = background.submit(patient.act, "restart", OURS)
        assert tries_again(database)
        somebody.commit()
    answer = future.result(LONG)
    assert answer.status == (200 if becomes == 1 else 409)
    assert answer.json.get("migrations", []) == []
    attempts = "SELECT attempts FROM batched_background_migration_jobs WHERE status = 3"
    assert database.rows(attempts) == [{"attempts": 5}], "its jobs were touched all the same"


def test_a_restart_is_done_whole_or_not_at_all(database, background, hasty, scene):
    """Somebody holds a failed job's row: the migration must not be left active without its attempts."""
    scene(OUT_OF_ATTEMPTS, status=3)
    with contextlib.closing(database.cluster.connect(database.name)) as somebody:
        somebody.autocommit = False
        somebody.cursor().execute("SELECT 1 FROM batched_background_migration_jobs WHERE status = 3 FOR UPDATE")
        answer = answer_of(background.submit(hasty.act, "restart", OURS), LIMIT)
    assert_held(answer, [], "not_restarted", [OURS], in_flight=False)
    assert statuses(database)[OURS] == 3


def test_two_restarts_at_once(database, background, patient, second, scene):
    scene(OUT_OF_ATTEMPTS, status=3)
    futures = [background.submit(actor.act, "restart", OURS) for actor in (patient, second) for _ in range(2)]
    answers = [future.result(LONG) for future in futures]
    assert [answer.status for answer in answers] == [200] * 4
    assert sum(len(answer.json["migrations"]) for answer in answers) == 1


def test_a_restarted_migration_runs_to_its_end(database, patient, played, scene):
    """Its failed jobs have their attempts back; with the status alone it fails again at once."""
    scene(OUT_OF_ATTEMPTS)
    database.add_jobs(OURS, 3, 2, min_value=11, max_value=1000, attempts=5)
    assert played.run() == "failed"
    database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id > 2")
    assert (statuses(database)[OURS], database.migrations()[OURS - 1]["failure_error_code"]) == (3, 4)

    database.execute(f"UPDATE batched_background_migrations SET status = 1 WHERE id = {OURS}")
    assert played.run() == "failed", "the registry's restart was expected to be in vain"

    answer = patient.act("restart", OURS)
    assert answer.status == 200
    assert answer.json["migrations"] == changes([OURS], lambda _: 3, "active")
    row = database.migrations()[OURS - 1]
    assert (row["status"], row["failure_error_code"]) == (1, None)
    attempts = "SELECT status, attempts FROM batched_background_migration_jobs ORDER BY id"
    assert [tuple(job.values()) for job in database.rows(attempts)] == [(3, 0), (2, 1), (3, 0), (3, 0)]

    assert [played.run() for _ in range(4)] == ["job finished"] * 3 + ["finished"]
    assert statuses(database)[OURS] == 2
    assert database.count_jobs(OURS, 3) == 0


def test_a_restarted_migration_may_fail_again(database, patient, played, scene):
    scene(OUT_OF_ATTEMPTS, status=3)
    database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id > 2")
    played.job_fails = lambda job: True
    assert patient.act("restart", OURS).status == 200
    assert [played.run() for _ in range(6)] == ["job failed"] * 5 + ["failed"]
    assert statuses(database)[OURS] == 3
