"""What the tests of actions against a worker stand on: 193 migrations, a worker that is stopped at a
chosen step, and two services, one that soon gives up and one that has time.

Its fixtures are imported where they are used.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

import psycopg2.extras
import pytest

from . import fastcgi, routes
from .answer import error_body
from .fastcgi import parameters
from .postgres import SERVICE_ROLE
from .process import wait_until
from .rows import STATUS
from .timing import longer, milliseconds
from .worker import ATTEMPT, CHECK, CHOOSE, COMMIT, COUNT, LOCK, MARK, SELECT, WORK, worker

# The migration that the worker takes, one that it does not, and how many there are.
OURS, OTHER, ALL = 2, 100, range(1, 194)

SHORT, LONG = longer(0.4), longer(15)  # seconds that the two services have for an answer
LIMIT = SHORT + longer(3)  # the bound that is checked: a loaded machine is no fault


class Violation(AssertionError):
    """What (a) to (d) of test_pause_worker.py forbid: an answer too late, or one that was not kept."""


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


# Who answers the tests


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
def database(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


@pytest.fixture(params=[True, False], ids=["with a history", "without one"])
def history(request, database):
    """A change without a record is another statement."""
    if not request.param:
        database.execute("ALTER SCHEMA bbm_fcgi RENAME TO away")
    yield request.param
    if not request.param:
        database.execute("ALTER SCHEMA away RENAME TO bbm_fcgi")


def _service(servers, database, token, seconds):
    with servers.service(database.name, changes={"fcgi": {"timeout": milliseconds(seconds)}}) as service:
        yield Asked(service, token, seconds)


@pytest.fixture(scope="module")
def hasty(servers, database, token):
    """A service that soon gives up."""
    yield from _service(servers, database, token, SHORT)


@pytest.fixture(scope="module")
def patient(servers, database, token):
    """One that has time: what could be had by waiting, it must get."""
    yield from _service(servers, database, token, LONG)


@pytest.fixture(scope="module")
def second(servers, database, token):
    """Another process on the same database."""
    yield from _service(servers, database, token, LONG)


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


# What the worker does after the action has had its first go


def finish(played):
    played.finish()


def roll_back(played):
    played.rollback()


def naming(value):
    return value if isinstance(value, str) else getattr(value, "name", None) or getattr(value, "__name__", None)


cases = pytest.mark.parametrize("kind, step, name", TARGETED, ids=naming)
goings_on = pytest.mark.parametrize("then", [finish, roll_back], ids=["goes on", "rolls back"])
