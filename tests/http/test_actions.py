"""Pause and resume of all, contract section 3: exactly the rows that they should change."""

import contextlib
import datetime
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import routes
from harness.rows import STATUS

UNKNOWN = (5, -1)
STATES = (*STATUS, *UNKNOWN)
ACTIONS = (
    (routes.PAUSES, {1, 4}, 0, routes.PAUSED),
    (routes.RESUMES, {0}, 1, routes.RESUMED),
)
LONG_AGO = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)

# Where a row lies and who wrote it last: these change even when it is set to what it was.
SNAPSHOT = "SELECT *, ctid::text AS place, xmin::text AS writer FROM {} ORDER BY id"


@pytest.fixture(scope="module", params=[False, True], ids=["without history", "with history"])
def site(servers, request):
    with servers.database(history=request.param) as database, servers.site(database) as site:
        yield site


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("write")


@pytest.fixture
def two_of_each_state(site):
    """One that was changed long ago and one that never was, with a job each."""
    site.database.clear()
    for status in STATES:
        for moment in (None, LONG_AGO):
            identity = site.database.add_migration(
                f"{status} since {moment}", status=status, updated_at=moment, failure_error_code=3, total_tuple_count=9
            )
            site.database.add_jobs(identity, 3, 1, attempts=2)


def snapshot(database, table="batched_background_migrations"):
    return {row["id"]: row for row in database.rows(SNAPSHOT.format(table))}


PLACES = [
    (base + path + "/", eligible, becomes, message)
    for paths, eligible, becomes, message in ACTIONS
    for path in paths
    for base in routes.BASES
]


@pytest.fixture(params=PLACES, ids=lambda place: place[0])
def action(request):
    """Path, statuses that are eligible, status that they get, message."""
    return request.param


def test_the_eligible_rows_change_and_no_other(site, token, two_of_each_state, action):
    path, eligible, becomes, _ = action
    before, jobs = snapshot(site.database), snapshot(site.database, "batched_background_migration_jobs")
    started = site.database.rows("SELECT clock_timestamp() AS now")[0]["now"]

    assert site.client.post(path, token).status == 200

    after = snapshot(site.database)
    ended = site.database.rows("SELECT clock_timestamp() AS now")[0]["now"]
    assert set(after) == set(before)
    for identity, row in before.items():
        if row["status"] in eligible:
            assert started <= after[identity]["updated_at"] <= ended
            written = ("updated_at", "place", "writer")
            expected = {**row, "status": becomes, **{name: after[identity][name] for name in written}}
            assert after[identity] == expected
        else:
            assert after[identity] == row, "written to, though it was not eligible"
    assert snapshot(site.database, "batched_background_migration_jobs") == jobs


def test_the_answer_names_what_was_changed(site, token, two_of_each_state, action):
    path, eligible, becomes, message = action
    rows = site.database.migrations()
    answer = site.client.post(path, token)
    assert answer.status == 200
    assert answer.header("Content-Type") == "application/json"
    assert answer.json["success"] is True
    assert answer.json["message"] == message
    assert answer.json["job_in_flight"] is False
    assert sorted(answer.json["migrations"], key=lambda migration: migration["id"]) == [
        {
            "id": row["id"],
            "name": row["name"],
            "previous_status": STATUS[row["status"]],
            "status": STATUS[becomes],
        }
        for row in rows
        if row["status"] in eligible
    ]


def test_a_second_time_changes_nothing(site, token, two_of_each_state, action):
    path, _, _, message = action
    assert site.client.post(path, token).json["migrations"] != []
    before = snapshot(site.database)
    answer = site.client.post(path, token)
    assert (answer.status, answer.json["success"], answer.json["message"]) == (200, True, message)
    assert answer.json["migrations"] == []
    assert snapshot(site.database) == before


def test_without_any_migration(site, token, action):
    site.database.clear()
    path, _, _, message = action
    answer = site.client.post(path, token)
    assert (answer.status, answer.json["message"], answer.json["migrations"]) == (200, message, [])


def test_pause_then_resume_makes_what_ran_active(site, token, two_of_each_state):
    before = snapshot(site.database)
    site.client.post(routes.PAUSE, token)
    site.client.post(routes.RESUME, token)
    for identity, row in snapshot(site.database).items():
        old = before[identity]["status"]
        assert row["status"] == (1 if old in (0, 1, 4) else old)


def test_other_methods_change_nothing(site, token, two_of_each_state, action):
    path = action[0]
    before = snapshot(site.database)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        site.client.request(method, path, token)
    assert snapshot(site.database) == before


@pytest.mark.parametrize(
    "lock, elsewhere, in_flight",
    [
        ("pg_advisory_xact_lock(1)", False, True),
        ("pg_advisory_xact_lock(1)", True, False),
        ("pg_advisory_xact_lock(2)", False, False),
        ("pg_advisory_xact_lock(0, 1)", False, False),
        ("pg_advisory_xact_lock(1, 1)", False, False),
        ("pg_advisory_xact_lock((1::bigint << 32) + 1)", False, False),
    ],
    ids=["a worker", "one of another database", "other number", "pair", "other pair", "other high half"],
)
def test_the_answer_says_whether_a_worker_is_in_a_run(servers, site, token, two_of_each_state, action, lock, elsewhere, in_flight):
    dbname = "postgres" if elsewhere else site.database.name
    with contextlib.closing(servers.cluster.connect(dbname)) as worker:
        worker.autocommit = False
        worker.cursor().execute(f"SELECT {lock}")
        assert site.client.post(action[0], token).json["job_in_flight"] is in_flight
        worker.rollback()
        assert site.client.post(action[0], token).json["job_in_flight"] is False


def test_several_hundred_are_changed_and_reported(site, token):
    site.database.clear()
    site.database.execute(
        "INSERT INTO batched_background_migrations (name, status, max_value, batch_size, job_signature_name,"
        " table_name, column_name) SELECT 'm' || n, 1, 1, 1, 'j', 't', 'c' FROM generate_series(1, 600) AS n"
    )
    changed = site.client.post(routes.PAUSE, token).json["migrations"]
    assert sorted(migration["id"] for migration in changed) == list(range(1, 601))
    assert {row["status"] for row in site.database.migrations()} == {0}


def test_two_at_the_same_moment_report_each_change_once(site, token):
    """Two callers: a row that one has paused must not be in the other's answer."""
    for _ in range(5):
        site.database.clear()
        for number in range(20):
            site.database.add_migration(f"m{number}", status=1 if number % 2 else 4)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: site.client.post(routes.PAUSE, token), range(4)))
        assert [answer.status for answer in answers] == [200] * 4
        reported = sorted(migration["id"] for answer in answers for migration in answer.json["migrations"])
        assert reported == list(range(1, 21))
