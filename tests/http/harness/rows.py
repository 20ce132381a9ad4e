"""What contract section 2 says of a row, computed a second time, from psycopg2's values."""

import datetime
from decimal import Decimal

STATUS = {0: "paused", 1: "active", 2: "finished", 3: "failed", 4: "running"}
ERROR = {
    0: "unknown",
    1: "invalid_bbm_table",
    2: "invalid_bbm_column",
    3: "invalid_job_signature",
    4: "max_job_retry",
    5: "invalid_batching_strategy",
}
JOB_FINISHED, JOB_FAILED = 2, 3
TIMES = ("created_at", "updated_at", "started_at", "finished_at")

# Computed from the present moment; a test of its own looks after it.
PASSED_OVER = {"estimated_seconds_remaining"}


def expected_migration(row, finished_jobs, failed_jobs):
    """The object to be served for this row, of whatever age of the schema."""
    migration = {
        "id": row["id"],
        "name": row["name"],
        "status": STATUS.get(row["status"], "unknown"),
        "job_signature_name": row["job_signature_name"],
        "target_table": row["table_name"],
        "target_column": row["column_name"],
        "batch_size": row["batch_size"],
        "sub_batch_size": row.get("sub_batch_size"),
        "min_value": row["min_value"],
        "max_value": row["max_value"],
        "batching_strategy": row.get("batching_strategy") or "",
        "finished_jobs": finished_jobs,
        "failed_jobs": failed_jobs,
        "total_tuple_count": row.get("total_tuple_count"),
        "error_code": row.get("failure_error_code"),
        "error": ERROR.get(row.get("failure_error_code")),
        **{name: row.get(name) for name in TIMES},
    }
    progress, capped = expected_progress(row, finished_jobs)
    migration.update(progress=progress, capped=capped)
    return {name: value for name, value in migration.items() if value is not None}


def expected_progress(row, finished_jobs):
    """(progress, capped), both None where it cannot be known."""
    if STATUS.get(row["status"]) == "finished":
        return 100.0, False
    total = row.get("total_tuple_count")
    if total is None or total <= 0:
        return None, None
    progress = min(finished_jobs * row["batch_size"], total) / total * 100
    return (99.9, True) if progress >= 100 else (progress, False)


def served_migration(migration):
    """A served object made comparable: times as datetimes, progress as a float."""
    comparable = {name: value for name, value in migration.items() if name not in PASSED_OVER}
    for name in TIMES:
        if name in comparable:
            comparable[name] = read_time(comparable[name])
    if "progress" in comparable:
        assert is_number(comparable["progress"])
        comparable["progress"] = float(comparable["progress"])
    return comparable


def is_number(value):
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def read_time(text):
    """RFC 3339 in UTC, and nothing looser."""
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)


def of_database(database):
    """Every migration of this database as it is to be served."""
    return [
        expected_migration(
            row,
            database.count_jobs(row["id"], JOB_FINISHED),
            database.count_jobs(row["id"], JOB_FAILED),
        )
        for row in database.migrations()
    ]
