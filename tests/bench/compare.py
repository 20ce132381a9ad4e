"""Compares builds of the program with each other: list with 64 clients through nginx, side by side.

    tests/bench/compare.py [--rounds N] [--seconds N] [--clients N] [--migrations N] NAME=PROGRAM...

Each build has a service and an nginx of its own on one database. The rounds are interleaved, so that
what else the machine does hits all alike. Prints medians: requests/s, and processor time per request of
the service and of PostgreSQL; with the ratio to the first build.
"""

import argparse
import contextlib
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))

import measure  # noqa: E402
from harness.servers import Servers  # noqa: E402
from harness.program import install_program  # noqa: E402
from harness.routes import LIST  # noqa: E402
from stage import Stage  # noqa: E402

JOBS = 10_000


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--migrations", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the section database")
    parser.add_argument("builds", nargs="+", metavar="NAME=PROGRAM")
    return parser.parse_args()


class Contender:
    def __init__(self, stack, servers, database, name, program, settings):
        folder = servers.workspace.folder(servers.unique("build"))
        changes = {"fcgi": {"threads": 8, "timeout": "60s"}, "database": settings}
        self.name = name
        self.service = stack.enter_context(
            servers.service(database.name, changes, program=install_program(folder, program))
        )
        self.client = stack.enter_context(servers.nginx(self.service))
        self.figures = []

    def run(self, servers, asked):
        token = servers.keys.token("*")
        pids = {"service": self.service.server.child.pid, "postgres": servers.cluster.server.child.pid}
        self.figures.append(
            measure.watch(pids, lambda: measure.wrk(self.client.port, asked.clients, asked.seconds, [f"GET {LIST}"], token))
        )

    def median(self, name):
        return statistics.median(figures[name] for figures in self.figures)


def main():
    asked = options()
    settings = dict(pair.split("=", 1) for pair in asked.set)
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(Servers())
        database = stack.enter_context(Stage(servers).database(asked.migrations, JOBS))
        builds = [build.split("=", 1) for build in asked.builds]
        contenders = [Contender(stack, servers, database, name, path, settings) for name, path in builds]
        for number in range(asked.rounds + 1):
            for contender in contenders if number % 2 else reversed(contenders):
                contender.run(servers, asked)
                if number == 0:
                    contender.figures.clear()  # to warm up
        report(contenders)


def report(contenders):
    names = {"rate": "requests/s", "cpu service": "service us", "cpu postgres": "PostgreSQL us"}
    print("| build | " + " | ".join(names.values()) + " |")
    print("| --- |" + " ---: |" * len(names))
    first = contenders[0]
    for contender in contenders:
        cells = [f"{contender.median(name):,.1f} ({contender.median(name) / first.median(name):.2f})" for name in names]
        print(f"| {contender.name} | " + " | ".join(cells) + " |", flush=True)


main()
