"""What one process takes: to its first answer, and of memory after a load with all its threads."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import measure
import report
from comparison import JOBS, MIGRATIONS, THREADS, WAYS
from growth import REGISTRY
from harness.postgres import SERVICE_ROLE
from harness.process import Server, wait_until
from harness.routes import jobs

STARTS = 3  # in a round
# Migrations, jobs, and one job of how many failed, of the unfinished half: about 30,000 failed ones.
MANY_FAILED = (REGISTRY, 1_500_000, 25)


class Life:
    title = "life"

    def __init__(self, stage, stack, asked):
        self.stage = stage
        self.request = stage.request_file()
        small = {number: stack.enter_context(stage.database(number, JOBS)) for number in (MIGRATIONS, REGISTRY)}
        self.starts = {f"list of {number}": database for number, database in small.items()}
        failed = stack.enter_context(stage.database(*MANY_FAILED))
        count = failed.rows("SELECT count(*) AS n FROM public.batched_background_migration_jobs WHERE status = 3")[0]["n"]
        self.loaded = {
            f"list of {REGISTRY}": small[REGISTRY],
            f"list of {REGISTRY}, {count:,} failed of {MANY_FAILED[1]:,} jobs": failed,
        }

    def round(self, figures, number):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            for name, database in self.starts.items():
                for _ in range(STARTS):
                    figures.add(("start", name, way), {"start": self.start(database, way) * 1e3})
            for name, database in self.loaded.items():
                figures.add(("memory", name, way), self.memory(database, way))

    def start(self, database, way):
        """Seconds from before the process is made until it has answered a list."""
        servers = self.stage.servers
        listen = servers.socket_path()
        configuration = servers.configuration(database.name, listen, self.stage.changes(WAYS[way], THREADS))
        file = servers.write_configuration(configuration)
        log = os.path.join(servers.workspace.path, servers.unique("start"))
        start = time.monotonic()
        server = Server("service", [servers.program, "-c", file], log)
        try:
            while server.child.poll() is None:
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    self.stage.ask(listen)
                    return time.monotonic() - start
                time.sleep(0.0002)
            raise RuntimeError(server.written())
        finally:
            server.stop()

    def memory(self, database, way):
        with self.stage.servers.service(database.name, self.stage.changes(WAYS[way], THREADS)) as service:
            self.warm(database, service)
            load = measure.straight(self.stage.load, service.address, 4 * THREADS, 1, self.request)
            if load["failures"]:
                raise RuntimeError(f"{load['failures']} of {load['requests']} requests failed")
            time.sleep(1)  # at rest, it gives back what the load has left
            return measure.resident_kib(service.server.child.pid)

    def warm(self, database, service):
        """Has all threads serve at once, each with its connection: none has an answer before all have asked."""
        self.stage.ask(service.address)  # the jobs are counted from here on, and the token known
        request = self.stage.request_file(jobs(1))  # not coalesced
        measure.straight(self.stage.load, service.address, 1, 0.1, request)
        with ThreadPoolExecutor(1) as client:
            with database.locked():
                load = client.submit(measure.straight, self.stage.load, service.address, THREADS, 0.1, request)
                if not wait_until(lambda: connected(database) == THREADS):
                    raise RuntimeError(f"fewer than {THREADS} threads asked the database")
            load.result()

    def tables(self, figures):
        starts = [[f"{name}, {way}", figures.cell(("start", name, way), "start", digits=1)]
                  for name in self.starts for way in WAYS]  # fmt: skip
        memory = [
            [f"{name}, {way}", figures.cell(("memory", name, way), "VmRSS"), figures.cell(("memory", name, way), "RssAnon")]
            for name in self.loaded
            for way in WAYS
        ]
        return [
            f"One process, {THREADS} threads: from its start to the first answer, connection and preparation included.",
            report.table(["start", "to the first answer, ms"], starts),
            "Its memory after a load, all threads warm.",
            report.table(["after a load", "RSS, KiB", "of that anonymous, KiB"], memory),
        ]


def connected(database):
    """The service's connections to it."""
    statement = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND usename = %s"
    return database.rows(statement, (database.name, SERVICE_ROLE))[0]["n"]
