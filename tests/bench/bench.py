"""Compares this service with what else could answer, and says how far each goal is met.

Never fails for being slow. Writes build/bench.md besides what it prints.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))

import measure  # noqa: E402
import report  # noqa: E402
from harness.servers import Servers  # noqa: E402
from harness.postgres import SERVICE_ROLE  # noqa: E402
from harness.process import Server, wait_until  # noqa: E402
from harness.program import build_folder  # noqa: E402
from harness.routes import LIST, PAUSE, RESUME, one  # noqa: E402
from stage import Stage, fill  # noqa: E402

THREADS = 8
CLIENTS, MORE = 32, 64  # of the web server
# The web server may keep that many connections open to each: nginx's processes, 16 each, twice.
FLOOR_THREADS = 32 * (os.cpu_count() or 1)

PHP, FLOOR = "list, PHP-FPM", "floor: libfcgi, a constant"
MANY = f", {MORE} clients"
STRAIGHT = "list, straight FastCGI"
ALONE = "list, straight FastCGI, one client"

MIGRATIONS, JOBS = 10, 100
REGISTRY = 193  # migrations of a registry of 4.39
GROWN_MIGRATIONS = (10, REGISTRY, 1000)
GROWN_JOBS = (10_000, 1_000_000, 10_000_000)

FULL_COUNT = (
    "SELECT batched_background_migration_id, count(*) FILTER (WHERE status = 2),"
    " count(*) FILTER (WHERE status = 3) FROM public.batched_background_migration_jobs GROUP BY 1"
)


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of all that is compared (5)")
    parser.add_argument("--seconds", type=int, default=3, help="for each measurement in a round (3)")
    parser.add_argument("--jobs", type=int, default=max(GROWN_JOBS), help="highest number (10 million)")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seconds < 1 or asked.jobs < min(GROWN_JOBS):
        parser.error(f"a round, a second and {min(GROWN_JOBS):,} jobs are the least")
    return asked


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- side by side ----


class Comparison:
    """Everything that answers the same list, side by side."""

    def __init__(self, stage, stack, asked):
        self.stage, self.asked = stage, asked
        enter = stack.enter_context
        self.database = enter(stage.database(MIGRATIONS, JOBS))
        # However slow the machine, slow is not failed.
        changes = {"fcgi": {"threads": THREADS, "timeout": "60s"}}
        self.service = enter(stage.servers.service(self.database.name, changes))
        answer = stage.ask(self.service.address)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        floor, floor_socket = enter(stage.floor(f"Status: 200 OK\r\n{head}\r\n".encode() + answer.body, FLOOR_THREADS))
        php, php_socket, script = enter(stage.php(self.database, THREADS))
        self.nginx = enter(stage.nginx(self.service, floor_socket, php_socket, script))
        self.request = stage.request_file()
        self.script = stage.statements(self.database)
        self.folder = stage.servers.workspace.folder("pgbench")
        ours, cluster = self.service.server.child.pid, stage.servers.cluster.server.child.pid
        nginx = self.nginx.server.child.pid
        here = {"program": ours, "PostgreSQL": cluster, "nginx": nginx}
        there = {**here, "program": php.child.pid}
        below = {"program": floor.child.pid, "nginx": nginx}
        self.subjects = {
            "list": (self.web(f"GET {LIST}"), here),
            "list" + MANY: (self.web(f"GET {LIST}", clients=MORE), here),
            "one": (self.web(f"GET {one(1)}"), here),
            "pause and resume": (self.web(f"POST {PAUSE}", f"POST {RESUME}"), here),
            PHP: (self.web("GET /php", token=False), there),
            PHP + MANY: (self.web("GET /php", token=False, clients=MORE), there),
            FLOOR: (self.web("GET /floor"), below),
            FLOOR + MANY: (self.web("GET /floor", clients=MORE), below),
            STRAIGHT: (self.straight(THREADS), {"program": ours, "PostgreSQL": cluster}),
            ALONE: (self.straight(1), {"program": ours, "PostgreSQL": cluster}),
            "ceiling: pgbench, the list's SQL": (self.pgbench, {"PostgreSQL": cluster}),
        }

    def web(self, *asked, token=True, clients=CLIENTS):
        def load(seconds):
            bearer = self.stage.servers.keys.token("*") if token else None
            return measure.wrk(self.nginx.port, clients, seconds, asked, bearer)

        return load

    def straight(self, clients):
        return lambda seconds: measure.straight(self.stage.load, self.service.address, clients, seconds, self.request)

    def pgbench(self, seconds):
        cluster = self.stage.servers.cluster
        return measure.pgbench(cluster, self.database.name, SERVICE_ROLE, THREADS, seconds, self.script, self.folder)

    def round(self, figures):
        for subject, (load, servers) in self.subjects.items():
            figures.add(subject, measure.watch(servers, lambda load=load: load(self.asked.seconds)))
            if subject == "pause and resume":
                # What it has left behind, dead rows included, is not for those that follow.
                self.database.clear()
                fill(self.database, MIGRATIONS, JOBS)


def comparison_table(figures, comparison):
    head = ["", "requests/s", "p50, ms", "p99, ms", "CPU, µs/request", "PostgreSQL's", "nginx's"]
    return report.table(
        head,
        [
            [
                subject,
                figures.cell(subject, "rate"),
                figures.cell(subject, "p50", 1e-3, 2),
                figures.cell(subject, "p99", 1e-3, 2),
                figures.cell(subject, "cpu program"),
                figures.cell(subject, "cpu PostgreSQL"),
                figures.cell(subject, "cpu nginx"),
            ]
            for subject in comparison.subjects
        ],
    )


# ---- growth ----


class Growth:
    """The list of one service on databases of several sizes."""

    def __init__(self, stage, stack, asked):
        self.stage = stage
        jobs = [number for number in GROWN_JOBS if number <= asked.jobs]
        sizes = [(MIGRATIONS, number) for number in jobs]
        sizes += [(number, jobs[0]) for number in GROWN_MIGRATIONS if number != MIGRATIONS]
        self.databases = {}
        for migrations, number in sizes:
            say(f"filling: {migrations} migrations, {number:,} jobs")
            database = stack.enter_context(stage.database(migrations, number))
            self.databases[self.name(migrations, number)] = database
        self.least, self.most = self.name(MIGRATIONS, jobs[0]), self.name(MIGRATIONS, jobs[-1])
        self.request = stage.request_file()

    @staticmethod
    def name(migrations, jobs):
        return f"{migrations:,} migrations, {jobs:,} jobs"

    def round(self, figures):
        for name, database in self.databases.items():
            figures.add(name, self.measure(database))

    def measure(self, database):
        changes = {"fcgi": {"threads": 1, "timeout": "120s"}}
        count = timed(lambda: count_all(self.stage.servers.cluster, database))
        with self.stage.servers.service(database.name, changes) as service:
            first = timed(lambda: self.stage.ask(service.address))
            servers = {
                "program": service.server.child.pid,
                "PostgreSQL": self.stage.servers.cluster.server.child.pid,
            }
            warm = measure.watch(
                servers, lambda: measure.straight(self.stage.load, service.address, 1, 1, self.request)
            )
        return {"full count": count * 1e3, "first": first * 1e3, **warm}


def timed(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def count_all(cluster, database):
    with contextlib.closing(cluster.connect(database.name, SERVICE_ROLE)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(FULL_COUNT)
            cursor.fetchall()


def growth_table(figures, growth):
    head = ["list of", "p50, ms", "p99, ms", "CPU, µs/request", "PostgreSQL's", "first, ms", "one full count, ms"]
    return report.table(
        head,
        [
            [
                name,
                figures.cell(name, "p50", 1e-3, 2),
                figures.cell(name, "p99", 1e-3, 2),
                figures.cell(name, "cpu program"),
                figures.cell(name, "cpu PostgreSQL"),
                figures.cell(name, "first", digits=1),
                figures.cell(name, "full count", digits=1),
            ]
            for name in growth.databases
        ],
    )


# ---- start and memory ----


class Life:
    """What one process takes: to its first answer, and of memory when all its threads are warm."""

    FEW, MANY = THREADS, 4 * THREADS
    LISTS = (MIGRATIONS, REGISTRY)

    def __init__(self, stage, stack, asked):
        self.stage, self.asked = stage, asked
        self.databases = {number: stack.enter_context(stage.database(number, JOBS)) for number in self.LISTS}
        self.request = stage.request_file()

    @staticmethod
    def name(migrations):
        return f"list of {migrations}"

    def round(self, figures):
        for number, database in self.databases.items():
            for _ in range(3):
                figures.add(self.name(number), {"start": self.start(database) * 1e3})
            few, many = self.memory(database, self.FEW), self.memory(database, self.MANY)
            thread = (many["VmRSS"] - few["VmRSS"]) / (self.MANY - self.FEW)
            figures.add(self.name(number), {"few": few["VmRSS"], "anonymous": few["RssAnon"],
                                            "many": many["VmRSS"], "thread": thread})  # fmt: skip

    def start(self, database):
        """Seconds from before the process is made until it has answered a list."""
        servers = self.stage.servers
        listen = servers.socket_path()
        configuration = servers.configuration(database.name, listen, {"fcgi": {"threads": THREADS}})
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

    def memory(self, database, threads):
        with self.stage.servers.service(database.name, {"fcgi": {"threads": threads, "timeout": "60s"}}) as service:
            self.warm(database, service, threads)
            measure.straight(self.stage.load, service.address, 4 * threads, 1, self.request)
            time.sleep(1)  # at rest, it gives back what the load has left
            return measure.resident_kib(service.server.child.pid)

    def warm(self, database, service, threads):
        """Has all threads serve at once, each with its connection: none has an answer before all have asked."""
        request = self.stage.request_file(one(1))
        measure.straight(self.stage.load, service.address, 1, 0.1, request)  # the token is known from here on
        with ThreadPoolExecutor(1) as client:
            with database.locked():
                load = client.submit(measure.straight, self.stage.load, service.address, threads, 0.1, request)
                if not wait_until(lambda: connected(database) == threads):
                    raise RuntimeError(f"fewer than {threads} threads asked the database")
            load.result()


def connected(database):
    """The service's connections to it."""
    statement = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND usename = %s"
    return database.rows(statement, (database.name, SERVICE_ROLE))[0]["n"]


def life_table(figures):
    measures = [
        ("start to first answer, ms", "start", 1),
        (f"RSS after a load, {Life.FEW} threads, KiB", "few", 0),
        ("of that anonymous, KiB", "anonymous", 0),
        (f"RSS after a load, {Life.MANY} threads, KiB", "many", 0),
        ("each further thread, KiB", "thread", 0),
    ]
    names = [Life.name(number) for number in Life.LISTS]
    return report.table(
        ["one process", *names],
        [[label, *(figures.cell(name, what, digits=digits) for name in names)] for label, what, digits in measures],
    )


def token_costs():
    """What tokens cost, good and bad ones of each kind, counted by callgrind in a run of its own."""
    say("counting what tokens cost")
    counted = subprocess.run(
        [sys.executable, "-B", os.path.join(HERE, "..", "token_cost")], capture_output=True, text=True, check=False
    )
    return f"```\n{(counted.stdout or counted.stderr).strip()}\n```"


# ---- what must hold ----


def goals(figures, growth):
    """(what, value, at least or at most, the bound), from medians."""
    median = figures.median

    def to(other, clients=""):
        return median("list" + clients, "rate") / median(other + clients, "rate")

    lists = [Life.name(number) for number in Life.LISTS]
    return [
        ("1. list / PHP-FPM, requests/s", to(PHP), "≥", 2.0),
        ("1. list / PHP-FPM, requests/s" + MANY, to(PHP, MANY), "≥", 2.0),
        ("1. list / floor, requests/s", to(FLOOR), "≥", 0.5),
        ("1. list / floor, requests/s" + MANY, to(FLOOR, MANY), "≥", 0.5),
        *((f"2. CPU of the process / of PostgreSQL, {name}", median(name, "cpu program") / median(name, "cpu PostgreSQL"), "<", 1.0) for name in (ALONE, STRAIGHT)),
        (f"3. {growth.most} / {growth.least}, p50", median(growth.most, "p50") / median(growth.least, "p50"), "≤", 2.0),
        (f"3. {growth.most}: first / one full count", median(growth.most, "first") / median(growth.most, "full count"), "≤", 1.0),
        *((f"4. RSS with {Life.FEW} threads, {name}, MiB", median(name, "few") / 1024, "<", 12) for name in lists),
        *((f"4. each further thread, {name}, KiB", median(name, "thread"), "<", 256) for name in lists),
        *((f"5. start to first answer, {name}, ms", median(name, "start"), "<", 50) for name in lists),
    ]  # fmt: skip


def goals_table(figures, growth):
    holds = {"≥": lambda a, b: a >= b, "≤": lambda a, b: a <= b, "<": lambda a, b: a < b}
    return report.table(
        ["what must hold", "here", "goal", "met"],
        [
            [what, f"{value:,.2f}", f"{sign} {bound:g}", "yes" if holds[sign](value, bound) else "NO"]
            for what, value, sign, bound in goals(figures, growth)
        ],
    )


def main():
    asked = options()
    figures = report.Figures()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        stage = Stage(stack.enter_context(Servers()))
        parts = [part(stage, stack, asked) for part in (Comparison, Growth, Life)]
        comparison, growth, _ = parts
        for number in range(asked.rounds):
            say(f"round {number + 1} of {asked.rounds}")
            for part in parts:
                part.round(figures)
    text = "\n\n".join(
        [
            "# Benchmark",
            f"Medians of {asked.rounds} rounds, and in brackets the least and the greatest;"
            f" {os.cpu_count()} processors, {time.monotonic() - start:.0f} s in all.",
            goals_table(figures, growth),
            f"Side by side: {MIGRATIONS} migrations with {JOBS} jobs, {THREADS} threads, PHP-FPM children or"
            f" database connections each; through nginx with {CLIENTS} clients where no other number is given. This service asks for tokens"
            " and logs every request, PHP-FPM does neither.",
            comparison_table(figures, comparison),
            "Growth: straight FastCGI, one client, one thread; the first request is that of a new process.",
            growth_table(figures, growth),
            life_table(figures),
            "Tokens: instructions of the process, by kind (`make cost`).",
            token_costs(),
        ]
    )
    print(text)
    path = os.path.join(build_folder(), "bench.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    say(f"also in {path}")


def interrupted(_number, _frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
