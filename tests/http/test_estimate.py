"""estimated_seconds_remaining (contract, section 2): from the migration's own pace, or left out."""

import pytest
from harness import routes
from harness.rows import JOB_FAILED, JOB_FINISHED

INT64_MAX = 2**63 - 1
MINUTE, DAY = 60, 86400

# 100 batches, and a job each minute.
HUNDRED = {"total_tuple_count": 1000, "batch_size": 10}


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("read")


@pytest.fixture
def estimate(site, token):
    """Adds a migration with jobs at these gaps, in seconds, and returns its estimate; None where there is none."""

    def ask(gaps, statuses=None, **columns):
        columns = {"status": 4, **HUNDRED, **columns}
        identity = site.database.add_migration(site_name(site), **columns)
        since = 0
        for number, gap in enumerate([0, *gaps] if gaps is not None else []):
            since += gap
            status = statuses[number] if statuses else JOB_FINISHED
            site.database.execute(
                "INSERT INTO batched_background_migration_jobs (batched_background_migration_id, min_value, max_value,"
                " status, created_at) VALUES (%s, 1, 10, %s, timestamptz '2026-01-01' + %s * interval '1 second')",
                (identity, status, since),
            )
        return estimate_of(site, token, identity)

    return ask


def site_name(site):
    return f"m{site.database.rows('SELECT count(*) AS n FROM batched_background_migrations')[0]['n']}"


def estimate_of(site, token, identity):
    migration = site.client.get(routes.one(identity), token).json["migration"]
    listed = site.client.get(routes.LIST, token).json["migrations"]
    assert [other for other in listed if other["id"] == identity] == [migration]
    seconds = migration.get("estimated_seconds_remaining")
    assert seconds is None or type(seconds) is int
    return seconds


@pytest.mark.parametrize("jobs, seconds", [(3, 97 * MINUTE), (10, 90 * MINUTE), (21, 79 * MINUTE), (50, 50 * MINUTE), (99, MINUTE)])
def test_batches_left_times_pace_of_latest_jobs(estimate, jobs, seconds):
    assert estimate([MINUTE] * (jobs - 1)) == seconds


@pytest.mark.parametrize("status, there", [(0, False), (1, True), (2, False), (3, False), (4, True), (5, False)])
def test_only_active_and_running_have_an_estimate(estimate, status, there):
    assert (estimate([MINUTE] * 9, status=status) is not None) is there


@pytest.mark.parametrize("gaps", [None, [], [MINUTE]], ids=["no job", "one", "two"])
def test_fewer_than_three_jobs_have_no_pace(estimate, gaps):
    assert estimate(gaps) is None


@pytest.mark.parametrize("total", [None, 0, -5])
def test_migration_without_a_size(estimate, total):
    assert estimate([MINUTE] * 9, total_tuple_count=total) is None


@pytest.mark.parametrize("total", [100, 99, 1])
def test_estimated_size_that_is_used_up(estimate, total):
    assert estimate([MINUTE] * 9, total_tuple_count=total) is None


def test_partial_batch_counts_whole(estimate):
    assert estimate([MINUTE] * 9, total_tuple_count=101) == MINUTE
    assert estimate([0.5] * 9, total_tuple_count=101) == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"max_value": INT64_MAX},
        {"min_value": -INT64_MAX - 1, "max_value": INT64_MAX},
        {"min_value": 0, "max_value": 0, "batching_strategy": "NullKeySetBatchingStrategy"},
    ],
    ids=["no upper bound", "no bounds", "NullKeySet"],
)
def test_bounds_do_not_matter(estimate, columns):
    assert estimate([MINUTE] * 9, **columns) == 90 * MINUTE


@pytest.mark.parametrize("total", [INT64_MAX, 2**53 + 1])
def test_huge_size(estimate, total):
    """Between 1 and 10^15 seconds, or left out."""
    seconds = estimate([MINUTE] * 9, total_tuple_count=total, batch_size=1)
    assert seconds is None or 0 < seconds <= 10**15


@pytest.mark.parametrize("batch_size", [0, -10])
def test_batch_size_that_is_not_positive(estimate, batch_size):
    assert estimate([MINUTE] * 9, batch_size=batch_size) is None


def test_pause_is_one_gap_of_many(estimate):
    assert estimate([MINUTE] * 8 + [3 * DAY] + [MINUTE] * 11) == 79 * MINUTE
    assert estimate([MINUTE] * 4 + [3 * DAY]) == 94 * MINUTE
    assert estimate([3 * DAY] + [MINUTE] * 4) == 94 * MINUTE


def test_idle_nights(estimate):
    """A worker that backs off after every few jobs: most gaps are still those of work."""
    assert estimate(([MINUTE] * 4 + [DAY / 2]) * 4) == 79 * MINUTE


def test_old_jobs_do_not_count(estimate):
    assert estimate([DAY] * 20 + [MINUTE] * 20) == 59 * MINUTE
    assert estimate([MINUTE] * 20 + [DAY] * 20) == 59 * DAY


def test_several_jobs_in_one_transaction(estimate):
    """background-migrate run: five jobs at one instant, every five minutes."""
    seconds = estimate(([0] * 4 + [5 * MINUTE]) * 8)
    assert seconds == pytest.approx(59 * MINUTE, rel=0.3)


@pytest.mark.parametrize("gap", [0, -MINUTE], ids=["all at once", "a clock that steps back"])
def test_gaps_without_a_pace(estimate, gap):
    assert estimate([gap] * 20) is None


def test_clock_that_steps_back_once(estimate):
    assert estimate([MINUTE] * 5 + [-DAY] + [MINUTE] * 5) == 88 * MINUTE


FAR_APART = ["4713-01-01 BC", "145000-01-01", "294246-01-01"]


@pytest.mark.parametrize("times", [FAR_APART, FAR_APART[::-1], FAR_APART * 7, ["-infinity", "infinity", *FAR_APART]])
def test_times_at_the_ends_of_the_calendar(site, token, estimate, times):
    """Between 1 and 10^15 seconds, or left out; a sanitizer finds an overflow on the way."""
    estimate(None, total_tuple_count=INT64_MAX, batch_size=1)
    identity = site.database.rows("SELECT max(id) AS id FROM batched_background_migrations")[0]["id"]
    for number, created_at in enumerate(times, start=1):
        site.database.add_jobs(identity, JOB_FINISHED, 1, created_at=created_at)
        seconds = estimate_of(site, token, identity)
        assert seconds is None or 0 < seconds <= 10**15


def test_failed_jobs_are_left_to_do(estimate):
    assert estimate([MINUTE] * 9, [JOB_FINISHED] * 5 + [JOB_FAILED] * 5) == 95 * MINUTE


def test_after_a_restart(site, token, keys, estimate):
    """All batches exist and some have failed: these are left, at the pace from before."""
    assert estimate([MINUTE] * 99, [JOB_FINISHED] * 95 + [JOB_FAILED] * 5, status=3) is None
    identity = site.database.rows("SELECT max(id) AS id FROM batched_background_migrations")[0]["id"]
    assert site.client.post(routes.action("restart", identity), keys.token("write")).status == 200
    assert estimate_of(site, token, identity) == 5 * MINUTE
    site.database.execute(
        "UPDATE batched_background_migration_jobs SET status = 2, attempts = 1, finished_at = now() WHERE id ="
        " (SELECT min(id) FROM batched_background_migration_jobs WHERE status = 3"
        " AND batched_background_migration_id = %s)",
        (identity,),
    )
    assert estimate_of(site, token, identity) == 4 * MINUTE


def test_through_a_pause_and_a_resume(site, token, keys, estimate):
    assert estimate([MINUTE] * 9, status=1) == 90 * MINUTE
    identity = site.database.rows("SELECT max(id) AS id FROM batched_background_migrations")[0]["id"]
    site.client.post(routes.action("pause", identity), keys.token("write"))
    assert estimate_of(site, token, identity) is None
    site.client.post(routes.action("resume", identity), keys.token("write"))
    assert estimate_of(site, token, identity) == 90 * MINUTE


def test_other_migrations_jobs_do_not_count(site, token, estimate):
    assert estimate([MINUTE] * 9) == 90 * MINUTE
    identity = site.database.rows("SELECT max(id) AS id FROM batched_background_migrations")[0]["id"]
    estimate([DAY] * 30)
    assert estimate_of(site, token, identity) == 90 * MINUTE


def test_pace_follows_new_jobs(site, token, estimate):
    assert estimate([MINUTE] * 4) == 95 * MINUTE
    identity = site.database.rows("SELECT max(id) AS id FROM batched_background_migrations")[0]["id"]
    for number in range(1, 31):
        site.database.execute(
            "INSERT INTO batched_background_migration_jobs (batched_background_migration_id, min_value, max_value,"
            " status, created_at) SELECT %(id)s, 1, 10, 2, max(created_at) + interval '2 minutes'"
            " FROM batched_background_migration_jobs WHERE batched_background_migration_id = %(id)s",
            {"id": identity},
        )
        seconds = estimate_of(site, token, identity)
        left = 95 - number
        assert left * MINUTE <= seconds <= left * 2 * MINUTE
    assert seconds == left * 2 * MINUTE
