"""What must hold (issue 16): each goal with what was measured, prepared and not."""

import statistics

import report
from comparison import FLOOR, LIST_ROW, MIGRATIONS, ONE_ROW, PHP, PREPARED, SAME_ROW, UNPREPARED, WAYS
from growth import GROWN_MIGRATIONS

HOLDS = {"≥": lambda a, b: a >= b, "≤": lambda a, b: a <= b, "<": lambda a, b: a < b}
BUSY = (32, 64)  # clients


class Goal:
    def __init__(self, what, sign, bound, values):
        """values: by way, one for each round."""
        self.what, self.sign, self.bound, self.values = what, sign, bound, values

    def cells(self):
        return [self.what, f"{self.sign} {self.bound:g}", *(cell for way in WAYS for cell in self._verdict(way))]

    def _verdict(self, way):
        values = self.values.get(way)
        if not values:
            return "", ""
        met = HOLDS[self.sign](statistics.median(values), self.bound)
        return report.cell(values, 2), "yes" if met else "NO"


def both(values):
    return {way: values(way) for way in WAYS}


def against_others(figures):
    """PHP-FPM: the better of its two in each round."""
    for clients in BUSY:
        php = [(LIST_ROW, name, clients) for name in PHP]
        ratios = both(lambda way, n=clients, php=php: figures.ratios((LIST_ROW, way, n), php, "rate"))
        yield Goal(f"list / PHP-FPM's, requests/s, {clients} clients", "≥", 5, ratios)
    for way, bound in ((UNPREPARED, 0.6), (PREPARED, 0.7)):
        for clients in BUSY:
            ratios = figures.ratios((LIST_ROW, way, clients), (LIST_ROW, FLOOR, clients), "rate")
            yield Goal(f"list / bare libfcgi program, requests/s, {clients} clients", "≥", bound, {way: ratios})
    for row in (ONE_ROW, SAME_ROW):
        for clients in BUSY:
            php = [(ONE_ROW, name, clients) for name in PHP]
            ratios = figures.ratios((row, PREPARED, clients), php, "rate")
            yield Goal(f"{row} / PHP-FPM's, requests/s, {clients} clients", "≥", 2.5, {PREPARED: ratios})


def growing_lists(figures, growth):
    least = (MIGRATIONS, growth.jobs[0])
    for migrations, bound in zip(GROWN_MIGRATIONS, (2.5, 8)):
        for whose, measure in (("ours", "cpu program"), ("PostgreSQL's", "cpu PostgreSQL")):
            for clients in growth.clients:
                ratios = both(lambda way, m=migrations, cpu=measure, n=clients: figures.ratios(
                    ("growth", (m, growth.jobs[0]), way, n), ("growth", least, way, n), cpu))  # fmt: skip
                yield Goal(f"list of {migrations:,} / of {MIGRATIONS}, CPU, {whose}, clients: {clients}", "≤", bound, ratios)


def own_share(figures, clients):
    for number in clients:
        ratios = both(lambda way, n=number: figures.ratios(
            (LIST_ROW, way, n), (LIST_ROW, way, n), "cpu program", "cpu PostgreSQL"))  # fmt: skip
        yield Goal(f"list: CPU, ours / PostgreSQL's, clients: {number}", "≤", 1, ratios)


def many_jobs(figures, growth):
    least, most = (MIGRATIONS, growth.jobs[0]), (MIGRATIONS, growth.jobs[-1])
    if least == most:
        return
    for clients in growth.clients:
        ratios = both(lambda way, n=clients: figures.ratios(("growth", most, way, n), ("growth", least, way, n), "p50"))
        yield Goal(f"{most[1]:,} / {least[1]:,} jobs, p50, clients: {clients}", "≤", 1.2, ratios)


def life_of_one(figures, life):
    for name in life.starts:
        values = both(lambda way, name=name: figures.values(("start", name, way), "start"))
        yield Goal(f"start to the first answer, {name}, ms", "<", 50, values)
    for name in life.loaded:
        values = both(lambda way, name=name: figures.values(("memory", name, way), "VmRSS", 1 / 1024))
        yield Goal(f"RSS after a load, {name}, MiB", "<", 12, values)


def goals(figures, parts, clients):
    if "comparison" in parts:
        yield from against_others(figures)
    if "growth" in parts:
        yield from growing_lists(figures, parts["growth"])
    if "comparison" in parts:
        yield from own_share(figures, clients)
    if "growth" in parts:
        yield from many_jobs(figures, parts["growth"])
    if "life" in parts:
        yield from life_of_one(figures, parts["life"])


def goals_table(figures, parts, clients):
    """Only the goals for which something was measured. The counts are exact, or the run has failed."""
    lines = [goal.cells() for goal in goals(figures, parts, clients) if any(goal.values.values())]
    if "growth" in parts:
        lines.append(["counts compared with a full count", "equal", "equal", "yes", "equal", "yes"])
    return report.table(["what must hold", "goal", UNPREPARED, "met", PREPARED, "met"], lines)
