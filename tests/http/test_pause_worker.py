"""Pause, resume and restart against a worker in the middle of its run, contract section 7.

The worker is stopped before a chosen statement, the action is sent, and then the worker
stays there ("stuck"), goes on, or is rolled back. What has to hold, whatever the moment:
(a) the answer comes in a bounded time; (b) after a 200 to a pause no migration runs that
was not resumed since; (c) the answer says whether a worker is in a run; (d) else a 503
says what was done and what was not. The registry's plain UPDATE goes through the same
cases, to show that they can fail.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

import psycopg2.extras
import pytest
from harness import fastcgi, routes
from harness.answer import conflict_body, error_body
from harness.fastcgi import parameters
from harness.postgres import SERVICE_ROLE
from harness.process import wait_until
from harness.rows import STATUS
from harness.slowness import longer, milliseconds
from harness.worker import ATTEMPT, CHECK, CHOOSE, COMMIT, COUNT, LOCK, MARK, SELECT, WORK, worker

# The migration that the worker takes, one that it does not, and how many there are.
OURS, OTHER, ALL = 2, 100, range(1, 194)

SHORT, LONG = longer(0.4), longer(15)  # seconds that the two services have for an answer
LIMIT = SHORT + longer(3)  # the bound that is checked: a loaded machine is no fault


class Violation(AssertionError):
    """What section (a) to (d) forbids: an answer too late, or one that was not kept."""


class Kind:
    """A migration as the worker finds it, the steps its run has, and what that can come to."""

    def __init__(self, name, status, steps, ends_in=None, jobs=(), **columns):
        self.name = name
        self.status = status
        self.steps = steps
        self.ends_in = ends_in
        self.jobs = jobs
        self.columns = columns

    def __repr__(self):
        return self.name

    def in_danger(self, step):
        """Chosen, and to be set running whatever its state is by then."""
        return self.status == 1 and step in (CHECK, MARK)

    def is_held(self, step):
        """The worker has updated the migration and not yet committed."""
        if self.ends_in is not None and step == COMMIT:
            return True
        return self.status == 1 and step in self.steps[self.steps.index(CHECK) + 2 :]

    def comes_to_its_end(self, step):
        """Held in a run that, going on, ends it: there is nothing left then to pause or resume."""
        return self.ends_in is not None and self.is_held(step)


FIRST_RUN = (LOCK, SELECT, CHECK, MARK, COUNT, CHOOSE, ATTEMPT, WORK, COMMIT)
NEXT_RUN = (LOCK, SELECT, CHECK, CHOOSE, ATTEMPT, WORK, COMMIT)
ONE_JOB = ((1, 10, 2, 1),)  # min_value, max_value, status, attempts
ALL_JOBS = ((1, 10, 2, 1), (11, 1000, 2, 1))
USED_UP = ((1, 10, 3, 5), (11, 1000, 2, 1))
KINDS = (
    Kind("active", 1, FIRST_RUN),
    Kind("running", 4, NEXT_RUN, jobs=ONE_JOB),
    Kind("active and all done", 1, (LOCK, SELECT, CHECK, MARK, CHOOSE, COMMIT), 2, ALL_JOBS),
    Kind("running and all done", 4, (LOCK, SELECT, CHECK, CHOOSE, COMMIT), 2, ALL_JOBS),
    Kind("running and out of attempts", 4, (LOCK, SELECT, CHECK, CHOOSE, COMMIT), 3, USED_UP),
    Kind("active on no table", 1, (LOCK, SELECT, CHECK, COMMIT), 3, table_name="public.gone"),
)
ACTIVE, RUNNING, DONE_AT_ONCE, DONE, OUT_OF_ATTEMPTS, NO_TABLE = KINDS
# Where the runs of two kinds are still alike, one is enough.
CASES = [
    *((ACTIVE, step) for step in ACTIVE.steps),
    *((RUNNING, step) for step in RUNNING.steps),
    (DONE_AT_ONCE, MARK), (DONE_AT_ONCE, CHOOSE), (DONE_AT_ONCE, COMMIT),
    (DONE, CHOOSE), (DONE, COMMIT),
    (OUT_OF_ATTEMPTS, CHOOSE), (OUT_OF_ATTEMPTS, COMMIT),
    (NO_TABLE, CHECK), (NO_TABLE, COMMIT),
]  # fmt: skip
TARGETS = {"all": None, "this one": OURS, "another": OTHER}
TARGETED = [
    (*case, name)
    for case in CASES
    for name in TARGETS
    if name == "all" or case[1] in (LOCK, MARK, WORK, COMMIT) or case == (RUNNING, CHOOSE)
]


# Whom the tests ask


class Asked:
    """The service."""

    def __init__(self, service, token, seconds):
        self.service = service
        self.token = token
        self.seconds = seconds

    def act(self, name, identity=None):
        return fastcgi.ask(self.service.address, parameters("POST", routes.action(name, identity), self.token))


class PlainUpdate:
    """The registry's own API: an UPDATE of what is eligible, with no limit and no second look."""

    seconds = SHORT
    status = 200

    def __init__(self, database):
        self.database = database
        self.json = None

    def act(self, name, identity=None):
        assert name == "pause"
        with contextlib.closing(self.database.cluster.connect(self.database.name)) as connection:
            cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
            cursor.execute(
                "UPDATE batched_background_migrations SET status = 0"
                " WHERE status IN (1, 4) AND (%(id)s IS NULL OR id = %(id)s) RETURNING id",
                {"id": identity},
            )
            self.json = {"migrations": [dict(row) for row in cursor.fetchall()]}
        return self


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("write")


@pytest.fixture(scope="module")
def database(house):
    with house.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


def _service(house, database, token, seconds):
    with house.service(database.name, changes={"fcgi": {"timeout": milliseconds(seconds)}}) as service:
        yield Asked(service, token, seconds)


@pytest.fixture(scope="module")
def hasty(house, database, token):
    """A service that soon gives up."""
    yield from _service(house, database, token, SHORT)


@pytest.fixture(scope="module")
def patient(house, database, token):
    """One that has time: what could be had by waiting, it must get."""
    yield from _service(house, database, token, LONG)


@pytest.fixture(scope="module")
def second(house, database, token):
    """Another process on the same database."""
    yield from _service(house, database, token, LONG)


@pytest.fixture
def played(database):
    with worker(database) as played:
        yield played


@pytest.fixture
def background():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def scene(database, played):  # the worker ends first: a plain UPDATE may still wait for it
    """193 migrations, of which 192 are active, the worker's among them as its kind is."""

    def set_up(kind, status=None):
        database.clear()
        database.execute(
            "INSERT INTO batched_background_migrations (name, status, max_value, batch_size, job_signature_name,"
            " table_name, column_name) SELECT 'm' || n, CASE n WHEN 1 THEN 2 ELSE 1 END, 1000, 10, 'j',"
            " 'public.some_table', 'id' FROM generate_series(1, 193) AS n"
        )
        columns = {"status": kind.status if status is None else status, **kind.columns}
        changes = ", ".join(f"{name} = %({name})s" for name in columns)
        database.execute(f"UPDATE batched_background_migrations SET {changes} WHERE id = {OURS}", columns)
        for start, end, state, attempts in kind.jobs:
            database.add_jobs(OURS, state, 1, min_value=start, max_value=end, attempts=attempts)

    return set_up


# What they look at


def statuses(database):
    return {row["id"]: row["status"] for row in database.migrations()}


def meant(target):
    """The ids that a pause of this target is about; id 1 is finished."""
    return [identity for identity in ALL if identity != 1] if target is None else [target]


def has_looked(database, future, since, target, held):
    """Whether the action has had its first go: what it could change is changed, or it waits."""
    if future.done():
        return True
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND"
        " (wait_event_type = 'Lock' OR usename = %s AND state = 'idle' AND query = %s AND query_start > %s)) AS is"
    )
    if held and not database.rows(waiting, (SERVICE_ROLE, "COMMIT", since))[0]["is"]:
        return False
    now = statuses(database)
    return held or all(now[identity] == 0 for identity in meant(target))


def wait_for_first_go(database, future, since, target, held):
    assert wait_until(lambda: has_looked(database, future, since, target, held)), "nothing happened"


def now_in(database):
    return database.rows("SELECT clock_timestamp() AS now")[0]["now"]


def answer_of(future, seconds):
    try:
        return future.result(seconds)
    except NotInTime:
        raise Violation(f"no answer within {seconds} s") from None


def assert_kept(database, played, kind, target):
    """After a 200: whatever the worker goes on to do, what was paused does not run."""
    played.finish()
    for _ in range(2):
        played.run()
    now = statuses(database)
    for identity in meant(target):
        allowed = {0, kind.ends_in} if identity == OURS else {0}
        if now[identity] not in allowed:
            raise Violation(f"{identity} was said to be paused and is {STATUS[now[identity]]}")


def changes(identities, previous, becomes):
    return [
        {"id": identity, "name": f"m{identity}", "previous_status": STATUS[previous(identity)], "status": becomes}
        for identity in identities
    ]


def assert_held(answer, done, key, left, in_flight=True):
    """A 503 that says what was done, and what was not."""
    assert answer.status == 503, answer
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Retry-After") == "30"
    detail = answer.json["errors"][0]["detail"]
    assert isinstance(detail.pop("reason"), str)
    assert ("action_id" in detail) is (done != [])
    detail.pop("action_id", None)
    assert detail == {
        "migrations": done,
        key: [{"id": identity, "name": f"m{identity}"} for identity in left],
        "job_in_flight": in_flight,
    }
    error = error_body("BBM_HELD", "a worker's run holds the migration", answer.json["errors"][0]["detail"])
    assert answer.json == error


# Pause


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


def finish(played):
    played.finish()


def roll_back(played):
    played.rollback()


def naming(value):
    return value if isinstance(value, str) else getattr(value, "name", None) or getattr(value, "__name__", None)


cases = pytest.mark.parametrize("kind, step, name", TARGETED, ids=naming)
goings_on = pytest.mark.parametrize("then", [finish, roll_back], ids=["goes on", "rolls back"])


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
    told = [migration["id"] for migration in answer.json["migrations"]]
    assert told == [identity for identity in meant(target) if not (too_late and identity == OURS)]
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


# Several at once


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
        told = [migration["id"] for answer in answers for migration in answer.json["migrations"]]
        assert set(told) == set(meant(None))
        assert_kept(database, played, ACTIVE, None)


@pytest.mark.parametrize("target", [None, OURS], ids=["all", "this one"])
def test_a_pause_that_finds_another_ones_fresh_work(database, background, patient, played, scene, target):
    """Its first look at the worker was before a second operator's pause, and the worker chose between.

    A table lock holds the pause up between its look and its change, without which the
    moment could not be had on purpose.
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
    """With no worker: whichever comes last, both are answered, and nothing is in between."""
    scene(ACTIVE)
    for _ in range(10):
        futures = [background.submit(actor.act, name) for actor in (patient, second) for name in ("pause", "resume")]
        assert [future.result(LONG + 3).status for future in futures] == [200] * 4
        assert set(statuses(database).values()) <= {0, 1, 2}
    assert patient.act("pause").status == 200
    assert {statuses(database)[identity] for identity in meant(None)} == {0}


def test_a_row_held_by_no_worker(database, background, hasty, patient, scene):
    """Somebody in psql: nothing is known of what he will do, so it is waited for and then told."""
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
            assert patient.act("pause", target).status == 200


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


# Resume


def resume_cases():
    """Paused behind the worker's back when it had chosen, and then the run went on to a step."""
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


# Restart


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
