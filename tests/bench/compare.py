"""Compares builds of the program with each other: the list through nginx, side by side.

    tests/bench/compare.py [--rounds N] [--seconds N] [--clients N] [--migrations N] NAME=PROGRAM...

Each build has a service and an nginx of its own on one database. The rounds are interleaved, so that
what else the machine does hits all alike. Prints medians with the least and the greatest, and the ratio
of the requests/s to the first build's.
"""

import argparse
import contextlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))

import report  # noqa: E402
from harness.program import install_program  # noqa: E402
from harness.routes import LIST  # noqa: E402
from harness.servers import Servers  # noqa: E402
from stage import PATIENT, Stage  # noqa: E402

JOBS, THREADS = 10_000, 8


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--migrations", type=int, default=10)
    parser.add_argument("--request", action="append", metavar="'METHOD PATH'", help="in turn; the list if not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the section database")
    parser.add_argument("builds", nargs="+", metavar="NAME=PROGRAM")
    return parser.parse_args()


def site(stage, stack, database, program, settings):
    program = install_program(stage.servers.workspace.folder(stage.servers.unique("build")), program)
    changes = {"fcgi": {"threads": THREADS, **PATIENT}, "database": settings}
    return stack.enter_context(stage.site(database, changes, program))


def main():
    asked = options()
    figures = report.Figures()
    settings = dict(pair.split("=", 1) for pair in asked.set)
    with contextlib.ExitStack() as stack:
        stage = Stage(stack.enter_context(Servers()))
        database = stack.enter_context(stage.database(asked.migrations, JOBS))
        builds = [build.split("=", 1) for build in asked.builds]
        sites = {name: site(stage, stack, database, path, settings) for name, path in builds}
        for number in range(asked.rounds + 1):
            for name in sites if number % 2 else reversed(sites):
                os.truncate(sites[name].service.server.log, 0)
                load = sites[name].load(asked.request or [f"GET {LIST}"], asked.clients, asked.seconds, stage.token())
                if number > 0:  # the first warms up
                    figures.add(name, load)
    first = builds[0][0]
    rows = [[name, *report.load_cells(figures, name), report.cell(figures.ratios(name, first, "rate"), 2)] for name in sites]
    print(report.table(["build", *report.LOAD, "ratio"], rows))


main()
