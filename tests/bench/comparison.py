"""Side by side: this service with and without prepared statements, PHP-FPM with PDO's emulated prepares
and its own, the bare libfcgi program, and pgbench with this service's statements."""

import json
import os
import time

import measure
import report
from harness import tokens
from harness.postgres import SERVICE_ROLE
from harness.routes import LIST, action, jobs, one

THREADS = 8
# The web server may keep that many connections open to each: nginx's processes, 32 each, twice.
FLOOR_THREADS = 64 * (os.cpu_count() or 1)

MIGRATIONS, JOBS = 10, 100
# For what needs many rows: pages of jobs, and changes of one migration, spread so that clients do not
# only wait for each other's row. Even, so that both of wrk's threads take a migration's pause and resume.
MANY_MIGRATIONS, MANY_JOBS = 192, 28_800

PREPARED, UNPREPARED = "prepared", "not prepared"
WAYS = {UNPREPARED: False, PREPARED: True}
PHP_EMULATED, PHP_PREPARED = "PHP-FPM, emulated prepares", "PHP-FPM, prepared by PDO"
PHP = {PHP_EMULATED: True, PHP_PREPARED: False}
FLOOR = "bare libfcgi program"
PGBENCH_MODES = ("simple", "extended", "prepared")


class Row:
    """What is asked of this service, and how to know that the answers are right."""

    def __init__(self, name, asked, many=False, token="good", status=200, changed=None):
        self.name = name
        self.asked = asked
        self.many = many  # of the database with many migrations
        self.token = token
        self.status = status
        self.changed = changed  # all writes change something, or none does


EACH = range(1, MIGRATIONS + 1)
EACH_OF_MANY = range(1, MANY_MIGRATIONS + 1)
ROWS = [
    Row("list", [f"GET {LIST}"]),
    Row("one of ten", [f"GET {one(number)}" for number in EACH]),
    Row("the same one", [f"GET {one(1)}"]),
    Row("jobs page", [f"GET {jobs(number)}" for number in EACH_OF_MANY], many=True),
    # As data.sql has them, 8 and 10 are paused, 6 runs and 9 is active.
    Row("pause and resume, nothing to do",
        [f"POST {action(*what)}" for what in (("pause", 8), ("pause", 10), ("resume", 9), ("resume", 6))], changed=False),
    # All are paused before the first is resumed.
    Row("pause and resume of one that changes",
        [f"POST {action(name, number)}" for name in ("pause", "resume") for number in EACH_OF_MANY],
        many=True, changed=True),
    Row("a refused token (expired)", [f"GET {LIST}"], token="expired", status=401),
    Row("metrics", ["GET /-/metrics"], token=None),
]  # fmt: skip
LIST_ROW, ONE_ROW, SAME_ROW = ROWS[0].name, ROWS[1].name, ROWS[2].name


class Ours:
    """This service: one process for the small database, one for that with many migrations."""

    def __init__(self, stage, stack, name, few, many):
        self.name, self.stage, self.many = name, stage, many
        changes = stage.changes(WAYS[name], THREADS)
        self.sites = {False: stack.enter_context(stage.site(few, changes)),
                      True: stack.enter_context(stage.site(many, changes))}  # fmt: skip
        expired = tokens.sign(stage.servers.keys.trusted, tokens.claims(exp=int(time.time()) - 3600))
        self.tokens = {"good": stage.token(), "expired": expired, None: None}

    def load(self, row, clients, seconds):
        site, token = self.sites[row.many], self.tokens[row.token]
        # A log of gigabytes is written to the disk while others are measured.
        os.truncate(site.service.server.log, 0)
        before = self.statuses(site)
        figures = site.load(row.asked, clients, seconds, token, refused=row.status >= 400)
        self.check(row, before, self.statuses(site))
        if row.changed is not None:
            self.check_changes(row, site.service.written())
        if row.changed:
            restore(self.many)
        return figures

    def statuses(self, site):
        """How many answers of each status, without those to GET /-/metrics."""
        samples = self.stage.ask(site.service.address, "/-/metrics").samples
        requests = {name: int(number) for name, number in samples.items() if name.startswith("bbm_fcgi_requests_total{")}
        return {name: number for name, number in requests.items() if '"/-/metrics"' not in name}

    def check(self, row, before, after):
        wrong = {name: number - before.get(name, 0) for name, number in after.items()
                 if number > before.get(name, 0) and f'status="{row.status}"' not in name}  # fmt: skip
        if wrong:
            raise RuntimeError(f"not all answers are {row.status}: {wrong}")

    def check_changes(self, row, log):
        whole, _, _ = log.rpartition("\n")  # the last line may be half written
        writes = [json.loads(line) for line in whole.splitlines() if '"method":"POST"' in line]
        changed = sum(1 for entry in writes if entry.get("changed"))
        # With many clients a resume may overtake the pause before it.
        right = changed >= 0.9 * len(writes) if row.changed else changed == 0
        if not writes or not right:
            raise RuntimeError(f"{changed} of {len(writes)} requests changed something")


def restore(database):
    """All migrations active, as a registry has them at first, with no dead row left."""
    values = "status = 1, failure_error_code = NULL, finished_at = NULL"
    database.execute(f"UPDATE public.batched_background_migrations SET {values}")
    database.execute("VACUUM (FULL, ANALYZE) public.batched_background_migrations")


class Comparison:
    title = "comparison"

    def __init__(self, stage, stack, asked):
        self.stage, self.asked = stage, asked
        enter = stack.enter_context
        few = enter(stage.database(MIGRATIONS, JOBS))
        many = enter(stage.database(MANY_MIGRATIONS, MANY_JOBS))
        restore(many)
        self.ours = [Ours(stage, stack, name, few, many) for name in WAYS]
        address = self.ours[0].sites[False].service.address
        answers = {LIST_ROW: stage.ask(address), ONE_ROW: stage.ask(address, one(1))}
        self.php = {name: enter(stage.php(few, THREADS, emulate)) for name, emulate in PHP.items()}
        self.floors = {row: enter(stage.floor(answer, FLOOR_THREADS)) for row, answer in answers.items()}
        self.pgbench = {row: self.statements(few, path) for row, path in ((LIST_ROW, LIST), (ONE_ROW, one(1)))}
        check_answers(self)
        for site in (site for ours in self.ours for site in ours.sites.values()):
            site.load([f"GET {LIST}"], THREADS, 1, stage.token())
        for site in self.php.values():
            site.load([f"GET {path}" for path in php_paths(LIST_ROW)], THREADS, 1)

    def statements(self, database, path):
        folder = self.stage.servers.workspace.folder(self.stage.servers.unique("pgbench"))
        script = self.stage.statements(database, path)
        return measure.Pgbench(self.stage.servers.cluster, database.name, SERVICE_ROLE, script, folder)

    def loads(self, row):
        """Those who answer this row: a name, and what loads it with so many clients for so many seconds."""
        for ours in self.ours:
            yield ours.name, lambda *load, ours=ours: ours.load(row, *load)
        if row.name not in self.floors:
            return
        asked = [f"GET {path}" for path in php_paths(row.name)]
        for name, site in self.php.items():
            yield name, lambda *load, site=site: site.load(asked, *load)
        token, floor, pgbench = self.stage.token(), self.floors[row.name], self.pgbench[row.name]
        yield FLOOR, lambda *load: floor.load(row.asked, *load, token)
        for mode in PGBENCH_MODES:
            yield f"pgbench -M {mode}", lambda *load, mode=mode: pgbench.load(mode, *load)

    def round(self, figures, number):
        for row in ROWS:
            for clients in self.asked.clients:
                loads = list(self.loads(row))
                # Every second round in reverse order, so that nothing always follows the same load.
                for name, load in loads if number % 2 == 0 else reversed(loads):
                    try:
                        figures.add((row.name, name, clients), load(clients, self.asked.seconds))
                    except RuntimeError as failure:
                        raise RuntimeError(f"{row.name}, {name}, {clients} clients: {failure}") from failure

    def tables(self, figures):
        text = [
            f"Side by side, through nginx over a unix socket: {MIGRATIONS} migrations with {JOBS} jobs (jobs page and"
            f" what changes: {MANY_MIGRATIONS} with {MANY_JOBS:,}); {THREADS} threads or PHP-FPM children."
            " This service asks for tokens and logs every request, PHP-FPM does neither. pgbench has no web server"
            " before it; it sends what this service sends, parameters filled in."
        ]
        for row in ROWS:
            names = [name for name, _ in self.loads(row)]
            lines = [[f"{label(name)}, {clients}", *report.load_cells(figures, (row.name, name, clients))]
                     for clients in self.asked.clients for name in names]  # fmt: skip
            text.append(report.table([f"{row.name}; clients", *report.LOAD], lines))
        return text


def label(name):
    return f"bbm-fcgi, {name}" if name in WAYS else name


def php_paths(row):
    return ["/php/list.php"] if row == LIST_ROW else [f"/php/one.php?id={number}" for number in EACH]


def check_answers(comparison):
    """All answer the same, but for what this service adds."""
    token = comparison.stage.token()
    for row in (LIST_ROW, ONE_ROW):
        path = LIST if row == LIST_ROW else one(1)
        ours = [contender.sites[False].ask(f"GET {path}", token) for contender in comparison.ours]
        floor = comparison.floors[row].ask(f"GET {path}")
        assert all(answer == floor and answer[0] == 200 for answer in ours), f"{row}: the answers differ"
        expected = migrations(ours[0])
        for name, site in comparison.php.items():
            answer = site.ask(f"GET {php_paths(row)[0]}")
            assert answer[0] == 200, f"{name}: {answer}"
            for one_of_ours, other in zip(expected, migrations(answer), strict=True):
                assert other.items() <= one_of_ours.items(), f"{name}: {other} is not {one_of_ours}"


def migrations(answer):
    body = json.loads(answer[1])
    return body["migrations"] if "migrations" in body else [body["migration"]]
