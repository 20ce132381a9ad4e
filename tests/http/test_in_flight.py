"""Whether a worker is in a run, and at which migration, as the list and one migration say it: contract sections 2 and 7."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.fastcgi import Connection, parameters
from harness.postgres import SERVICE_ROLE
from harness.rows import read_time
from harness.worker import ATTEMPT, CHECK, CHOOSE, COMMIT, COUNT, LOCK, MARK, SELECT, WORK, worker

OURS, OTHER = 2, 3
FIRST_RUN = (LOCK, SELECT, CHECK, MARK, COUNT, CHOOSE, ATTEMPT, WORK, COMMIT)
NEXT_RUN = (LOCK, SELECT, CHECK, CHOOSE, ATTEMPT, WORK, COMMIT)


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        yield database


@pytest.fixture(scope="module")
def role(servers, database):
    """A role that may see when others' transactions began."""
    name = servers.unique("monitor")
    database.execute(f"CREATE ROLE {name} LOGIN; GRANT pg_read_all_stats TO {name}; GRANT {SERVICE_ROLE} TO {name}")
    return name


@pytest.fixture(scope="module")
def informed(servers, database, role):
    with servers.service(database.name, changes={"database": {"user": role}}) as service:
        yield service


@pytest.fixture(scope="module")
def plain(servers, database):
    with servers.service(database.name) as service:
        yield service


@pytest.fixture
def scene(database):
    def set_up(status=1, jobs=()):
        database.clear()
        for identity, state in {1: 2, OURS: status, OTHER: 0 if status == 4 else 3, 4: 0}.items():
            database.add_migration(f"m{identity}", id=identity, status=state, max_value=40)
        for low, high, state in jobs:
            database.add_jobs(OURS, state, 1, min_value=low, max_value=high, attempts=1)

    set_up()
    return set_up


@pytest.fixture
def ask(token):
    def ask(service, path=routes.LIST, query="", **more):
        return fastcgi.ask(service.address, parameters("GET", path, token, QUERY_STRING=query, **more))

    return ask


def seen(ask, service):
    """(job_in_flight, the migrations that it is said of), the same wherever it is read."""
    answer = ask(service).json
    since = {migration["id"]: migration.get("in_flight_since") for migration in answer["migrations"]}
    some = ask(service, query="status=paused,active,finished,failed,running").json
    assert some == answer
    for identity in (OURS, OTHER):
        one = ask(service, routes.one(identity)).json
        assert one["job_in_flight"] == answer["job_in_flight"]
        assert one["migration"].get("in_flight_since") == since[identity]
    return answer["job_in_flight"], {identity: moment for identity, moment in since.items() if moment}


def started(played):
    with played.connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def test_no_worker(ask, informed, scene):
    assert seen(ask, informed) == (False, {})


@pytest.mark.parametrize("status, steps, jobs", [(1, FIRST_RUN, ()), (4, NEXT_RUN, ((1, 10, 2),))], ids=["first run", "next run"])
def test_at_each_step_of_a_run(ask, database, informed, plain, scene, status, steps, jobs):
    """From its first write on, the migration is known; before that, nothing is guessed."""
    scene(status, jobs)
    marked = steps[steps.index(MARK if status == 1 else CHOOSE) + 1 :]
    with worker(database) as played:
        for step in steps:
            played.until(step)
            in_flight, where = seen(ask, informed)
            assert in_flight is (step != LOCK), step
            assert list(where) == ([OURS] if step in marked else []), step
            if where:
                assert read_time(where[OURS]) == started(played)
            assert seen(ask, plain) == (in_flight, {}), "a role that may not see the time makes none up"
        played.finish()
    assert seen(ask, informed) == (False, {})


def test_a_failed_job_that_is_tried_again_leaves_no_mark(ask, database, informed, scene):
    scene(4, ((1, 40, 3),))
    with worker(database) as played:
        played.until(WORK)
        assert seen(ask, informed) == (True, {})


def test_a_worker_that_holds_two_is_said_of_none(ask, database, informed, scene):
    """As the registry's command does, which runs jobs of several in one transaction."""
    with worker(database) as played:
        played.until(WORK)
        played.connection.cursor().execute(f"UPDATE batched_background_migrations SET updated_at = now() WHERE id = {OTHER}")
        assert seen(ask, informed) == (True, {})


def test_other_locks_beside_the_worker_s(servers, ask, token, database, informed, scene):
    """The number 1 is anybody's to lock, in pairs and shared."""
    locks = ("pg_advisory_xact_lock(0, 1)", "pg_advisory_xact_lock(1, 1)", "pg_advisory_xact_lock((1::bigint << 32) + 1)")
    with contextlib.ExitStack() as stack:
        for name in (database.name, "postgres"):
            for lock in locks:
                holder = stack.enter_context(contextlib.closing(servers.cluster.connect(name)))
                holder.autocommit = False
                holder.cursor().execute(f"SELECT {lock}, pg_current_xact_id()")
        played = stack.enter_context(worker(database))
        played.until(WORK)
        assert seen(ask, informed) == (True, {OURS: seen(ask, informed)[1][OURS]})
        pause = fastcgi.ask(informed.address, parameters("POST", routes.action("pause", OTHER), token))
        assert pause.status == 409 and ask(informed).json["job_in_flight"] is True


def test_a_job_of_a_migration_that_is_paused_meanwhile(ask, token, database, informed, scene):
    """What an operator wants to know: it is paused, and its job still runs."""
    scene(4, ((1, 10, 2),))
    with worker(database) as played:
        played.until(WORK)
        assert fastcgi.ask(informed.address, parameters("POST", routes.PAUSE, token)).json["job_in_flight"] is True
        assert seen(ask, informed)[0] is True
        played.finish()
    assert seen(ask, informed) == (False, {})


def test_the_list_that_is_kept_says_it_truly(ask, database, informed, scene):
    """No row changes while a run begins and ends: what is said of it does."""
    scene(1)
    tags = set()
    for _ in range(3):
        first = ask(informed)
        assert first.json["job_in_flight"] is False
        tags.add(first.header("ETag"))
        with worker(database) as played:
            played.until(CHECK)
            during = ask(informed, HTTP_IF_NONE_MATCH=first.header("ETag"))
            assert (during.status, during.json["job_in_flight"]) == (200, True)
            played.until(WORK)
            later = ask(informed, HTTP_IF_NONE_MATCH=during.header("ETag"))
            assert later.status == 200 and later.header("ETag") not in tags
            played.rollback()
    assert len(tags) == 1


@pytest.mark.parametrize(
    "lock, elsewhere, in_flight",
    [
        ("pg_advisory_xact_lock(1)", False, True),
        ("pg_advisory_xact_lock(1)", True, False),
        ("pg_advisory_xact_lock_shared(1)", False, False),
        ("pg_advisory_xact_lock(2)", False, False),
        ("pg_advisory_xact_lock(0, 1)", False, False),
        ("pg_advisory_xact_lock((1::bigint << 32) + 1)", False, False),
    ],
)
def test_which_lock_is_the_worker_s(servers, ask, database, informed, scene, lock, elsewhere, in_flight):
    name = "postgres" if elsewhere else database.name
    with contextlib.closing(servers.cluster.connect(name)) as holder:
        holder.autocommit = False
        holder.cursor().execute(f"SELECT {lock}")
        assert seen(ask, informed) == (in_flight, {})


def test_without_a_migration(ask, database, plain):
    database.clear()
    assert ask(plain).json == {"migrations": [], "job_in_flight": False}
    with contextlib.closing(database.cluster.connect(database.name)) as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT pg_advisory_xact_lock(1)")
        assert ask(plain).json == {"migrations": [], "job_in_flight": True}


def test_lists_that_share_a_statement_are_true(database, token, plain, scene):
    """Asked after the lock was taken, each says so; asked after it was given back, none does."""
    def lists(_):
        with Connection(plain.address) as connection:
            return {connection.request(parameters("GET", routes.LIST, token)).json["job_in_flight"] for _ in range(20)}

    with contextlib.closing(database.cluster.connect(database.name)) as holder, ThreadPoolExecutor(8) as pool:
        holder.autocommit = False
        for _ in range(5):
            holder.cursor().execute("SELECT pg_advisory_xact_lock(1)")
            assert list(pool.map(lists, range(8))) == [{True}] * 8
            holder.rollback()
            assert list(pool.map(lists, range(8))) == [{False}] * 8
