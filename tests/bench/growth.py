"""The list on databases of several sizes, prepared and not, and its counts compared with a full count."""

import contextlib
import sys
import time

import report
from comparison import MIGRATIONS, THREADS, WAYS
from harness.postgres import SERVICE_ROLE
from harness.routes import LIST

REGISTRY = 193  # migrations of a registry of 4.39
GROWN_MIGRATIONS = (REGISTRY, 1000)
GROWN_JOBS = (10_000, 1_000_000, 10_000_000)
CLIENTS = (1, 32)  # of those that are asked for

FULL_COUNT = (
    "SELECT batched_background_migration_id, count(*) FILTER (WHERE status = 2),"
    " count(*) FILTER (WHERE status = 3) FROM public.batched_background_migration_jobs GROUP BY 1"
)
NEW_JOBS = (
    "INSERT INTO public.batched_background_migration_jobs (batched_background_migration_id, min_value, max_value, status)"
    " SELECT id, 1, 1000, status FROM (VALUES (2), (3)) AS job (status),"
    " (SELECT max(id) AS id FROM public.batched_background_migrations) AS last"
)


class Growth:
    title = "growth"

    def __init__(self, stage, stack, asked):
        self.stage, self.seconds = stage, asked.seconds
        self.clients = [number for number in CLIENTS if number in asked.clients] or asked.clients[:1]
        self.jobs = [number for number in GROWN_JOBS if number <= asked.jobs]
        self.sizes = [(MIGRATIONS, number) for number in self.jobs]
        self.sizes += [(number, self.jobs[0]) for number in GROWN_MIGRATIONS]
        self.databases = {}
        for migrations, number in self.sizes:
            print(f"filling: {migrations} migrations, {number:,} jobs", file=sys.stderr, flush=True)
            self.databases[migrations, number] = stack.enter_context(stage.database(migrations, number))

    def round(self, figures, number):
        for size, database in self.databases.items():
            start = time.monotonic()
            counts = count_all(self.stage.servers.cluster, database)
            figures.add(("full count", size), {"time": (time.monotonic() - start) * 1e3})
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                self.measure(figures, size, way, database, counts)

    def measure(self, figures, size, way, database, counts):
        """counts: those of a full count, which it keeps right when it adds jobs."""
        with self.stage.site(database, self.stage.changes(WAYS[way], THREADS)) as site:
            start = time.monotonic()
            answer = self.stage.ask(site.service.address)
            first = time.monotonic() - start
            check_counts(answer, counts, f"first list of {size}, {way}")
            figures.add(("first", size, way), {"time": first * 1e3})
            for clients in self.clients:
                load = site.load([f"GET {LIST}"], clients, self.seconds, self.stage.token())
                figures.add(("growth", size, way, clients), load)
            database.execute(NEW_JOBS)
            _, finished, failed = counts[-1]
            counts[-1] = (size[0], finished + 1, failed + 1)
            check_counts(self.stage.ask(site.service.address), counts, f"last list of {size}, {way}")

    def tables(self, figures):
        lines = []
        for size in self.sizes:
            for way in WAYS:
                for clients in self.clients:
                    name = f"{size[0]:,} migrations, {size[1]:,} jobs, {way}, {clients}"
                    lines.append([name, *report.load_cells(figures, ("growth", size, way, clients)),
                                  figures.cell(("first", size, way), "time", digits=1),
                                  figures.cell(("full count", size), "time", digits=1)])  # fmt: skip
        return [
            f"Growth: the list through nginx, {THREADS} threads; the first list is that of a new process, without nginx."
            " The counts of the first list and of one after the load are those of a full count.",
            report.table(["list of; clients", *report.LOAD, "first list, ms", "one full count, ms"], lines),
        ]


def count_all(cluster, database):
    """Finished and failed jobs by migration, ascending."""
    with contextlib.closing(cluster.connect(database.name, SERVICE_ROLE)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(FULL_COUNT)
            return sorted(cursor.fetchall())


def check_counts(answer, counts, what):
    listed = [(m["id"], m["finished_jobs"], m["failed_jobs"]) for m in answer.json["migrations"]]
    if listed != counts:
        wrong = [pair for pair in zip(listed, counts) if pair[0] != pair[1]]
        raise RuntimeError(f"{what}: the counts are not those of a full count: {wrong[:5]}")
