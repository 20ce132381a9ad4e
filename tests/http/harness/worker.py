"""The registry's worker of contract section 7, played step by step on a connection of its own.

Nothing in it knows of the service: it sends the statements that the registry sends, and
each test decides between which two of them the world may go on.
"""

import contextlib

MIGRATIONS = "batched_background_migrations"
JOBS = "batched_background_migration_jobs"
MAX_ATTEMPTS = 5

# A run's steps in order; until() stops before the one it is given. "mark" only comes for a
# migration that was active, "count" only for one without a job.
LOCK, SELECT, CHECK, MARK, COUNT, CHOOSE, ATTEMPT, WORK, COMMIT = (
    "lock", "select", "check", "mark", "count", "choose", "attempt", "work", "commit",
)  # fmt: skip


class Worker:
    """One run at a time: begin(), until(step) as often as wanted, then finish() or rollback()."""

    def __init__(self, database, job_fails=lambda job: False, batch=10):
        self.connection = database.cluster.connect(database.name)
        self.connection.autocommit = False
        self.job_fails = job_fails
        self.batch = batch
        self.columns = self._columns()
        self.begin()

    def close(self):
        self.connection.close()

    def begin(self):
        self.migration = None
        self.job = None
        self.outcome = None
        self._coming = self._run()
        self.next = next(self._coming)

    def step(self):
        """Does the next step. Returns the name of the one after it: None after the commit."""
        self.next = next(self._coming, None)
        return self.next

    def until(self, step):
        while self.next not in (step, None):
            self.step()
        assert self.next == step, f"the run ended as {self.outcome} before {step}"

    def finish(self):
        """The rest of the run."""
        while self.next is not None:
            self.step()
        return self.outcome

    def run(self):
        """A whole run: what became of it, and None where there was nothing to do."""
        self.begin()
        return self.finish()

    def rollback(self):
        """As after three minutes, or at the worker's end: no trace is left."""
        self.connection.rollback()
        self.begin()

    # What it sends

    def _run(self):
        yield LOCK
        if not self._value("SELECT pg_try_advisory_xact_lock(1)"):
            self.outcome = "locked out"
            self.connection.commit()
            return
        yield from self._batch()
        yield COMMIT
        self.connection.commit()

    def _batch(self):
        yield SELECT
        self.migration = self._next_migration()
        if self.migration is None:
            self.outcome = "nothing to do"
            return
        yield CHECK
        error = self._check()
        if error:
            self._fail(error)
            return
        if self.migration["status"] == 1:
            yield MARK
            self._mark()
        if not self._has_job():
            yield COUNT
            self._count()
        yield CHOOSE
        if not self._choose():
            return
        yield ATTEMPT
        self._update(JOBS, "attempts = attempts + 1", self.job["id"])
        yield WORK
        self._end_job()

    def _next_migration(self):
        return self._row(
            f"SELECT * FROM {MIGRATIONS} WHERE status IN (1, 4)"
            " ORDER BY CASE status WHEN 4 THEN 0 ELSE 1 END, id LIMIT 1"
        )

    def _check(self):
        schema, table = self.migration["table_name"].split(".")
        found = "SELECT count(*) FROM information_schema.{} WHERE table_schema = %s AND table_name = %s"
        if not self._value(found.format("tables"), schema, table):
            return 1
        column = self.migration["column_name"]
        if not self._value(found.format("columns") + " AND column_name = %s", schema, table, column):
            return 2
        return None

    def _mark(self):
        known = {"failure_error_code": "NULL", "started_at": "now()"}
        more = "".join(f", {name} = {value}" for name, value in known.items() if name in self.columns)
        self._update(MIGRATIONS, f"status = 4, updated_at = now(){more}", self.migration["id"])

    def _count(self):
        if "total_tuple_count" in self.columns:
            self._update(MIGRATIONS, "total_tuple_count = 1000", self.migration["id"])

    def _fail(self, error):
        more = f", failure_error_code = {error}" if "failure_error_code" in self.columns else ""
        self._update(MIGRATIONS, f"status = 3, updated_at = now(){more}", self.migration["id"])
        self.outcome = "failed"

    def _choose(self):
        """The next job, or a failed one; where there is neither, the migration has come to its end."""
        last = self._value(f"SELECT max(max_value) FROM {JOBS} WHERE batched_background_migration_id = %s", self._id)
        if last is None or last < self.migration["max_value"]:
            self.job = self._insert_job(self.migration["min_value"] if last is None else last + 1)
            return True
        self.job = self._row(
            f"SELECT * FROM {JOBS} WHERE batched_background_migration_id = %s AND status = 3 ORDER BY id LIMIT 1", self._id
        )
        if self.job is None:
            more = ", finished_at = now()" if "finished_at" in self.columns else ""
            self._update(MIGRATIONS, f"status = 2, updated_at = now(){more}", self._id)
            self.outcome = "finished"
        elif self.job["attempts"] >= MAX_ATTEMPTS:
            self._fail(4)
        return self.outcome is None

    def _insert_job(self, start):
        end = min(start + self.batch - 1, self.migration["max_value"])
        return self._row(
            f"INSERT INTO {JOBS} (batched_background_migration_id, min_value, max_value, started_at)"
            " VALUES (%s, %s, %s, now()) RETURNING *",
            self._id, start, end,
        )  # fmt: skip

    def _end_job(self):
        if self.job_fails(self.job):
            self._update(JOBS, "status = 3, failure_error_code = 0, updated_at = now()", self.job["id"])
            self.outcome = "job failed"
        else:
            self._update(
                JOBS, "status = 2, failure_error_code = NULL, updated_at = now(), finished_at = now()", self.job["id"]
            )
            self.outcome = "job finished"

    # How it sends

    @property
    def _id(self):
        return self.migration["id"]

    def _has_job(self):
        return self._value(f"SELECT EXISTS (SELECT FROM {JOBS} WHERE batched_background_migration_id = %s)", self._id)

    def _update(self, table, assignments, identity):
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {assignments} WHERE id = %s", (identity,))

    def _row(self, statement, *arguments):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            row = cursor.fetchone()
            return row and dict(zip([column.name for column in cursor.description], row))

    def _value(self, statement, *arguments):
        row = self._row(statement, *arguments)
        return next(iter(row.values()))

    def _columns(self):
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {MIGRATIONS} LIMIT 0")
            names = {column.name for column in cursor.description}
        self.connection.commit()
        return names


@contextlib.contextmanager
def worker(database, **options):
    """A worker whose connection is closed, and run rolled back, at the end."""
    with contextlib.closing(Worker(database, **options)) as played:
        yield played
