"""Compares this service with what else could answer, and says how far each goal is met.

Never fails for being slow, but where an answer is wrong. Writes build/bench.md besides what it prints.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))

import report  # noqa: E402
from comparison import Comparison  # noqa: E402
from goals import goals_table  # noqa: E402
from growth import GROWN_JOBS, Growth  # noqa: E402
from harness.program import build_folder  # noqa: E402
from harness.servers import Servers  # noqa: E402
from life import Life  # noqa: E402
from stage import Stage  # noqa: E402

PARTS = {part.title: part for part in (Comparison, Growth, Life)}
TOKENS = "tokens"


def options():
    parser = argparse.ArgumentParser(
        prog="tests/bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of all that is compared (5)")
    parser.add_argument("--seconds", type=int, default=1, help="for each measurement in a round (1)")
    parser.add_argument("--jobs", type=int, default=max(GROWN_JOBS), help="highest number (10 million)")
    parser.add_argument("--clients", type=numbers, default=[1, 8, 32, 64], help="(1,8,32,64)")
    parser.add_argument("--only", action="append", choices=[*PARTS, TOKENS], help="this part; may be given again")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seconds < 1 or asked.jobs < min(GROWN_JOBS):
        parser.error(f"a round, a second and {min(GROWN_JOBS):,} jobs are the least")
    asked.only = asked.only or [*PARTS, TOKENS]
    return asked


def numbers(text):
    values = sorted({int(value) for value in text.split(",")})
    if values[0] < 1:
        raise ValueError("a client is the least")
    return values


def say(text):
    print(text, file=sys.stderr, flush=True)


def token_costs():
    """What tokens cost, good and bad ones of each kind, counted by callgrind in a run of its own."""
    say("counting what tokens cost")
    counted = subprocess.run(
        [sys.executable, "-B", os.path.join(HERE, "..", "token_cost")], capture_output=True, text=True, check=False
    )
    return [
        "Tokens: instructions of the process, by kind (`make cost`).",
        f"```\n{(counted.stdout or counted.stderr).strip()}\n```",
    ]


def measured(asked, start):
    """The report's pieces."""
    figures = report.Figures()
    with contextlib.ExitStack() as stack:
        stage = Stage(stack.enter_context(Servers()))
        parts = {title: part(stage, stack, asked) for title, part in PARTS.items() if title in asked.only}
        for number in range(asked.rounds):
            say(f"round {number + 1} of {asked.rounds}, after {time.monotonic() - start:.0f} s")
            for part in parts.values():
                part.round(figures, number)
    return [
        "In brackets the least and the greatest; ratios are those of each round.",
        goals_table(figures, parts, asked.clients),
        *(piece for part in parts.values() for piece in part.tables(figures)),
    ]


def main():
    asked = options()
    start = time.monotonic()
    pieces = measured(asked, start) if asked.only != [TOKENS] else []
    if TOKENS in asked.only:
        pieces += token_costs()
    head = (
        f"Medians of {asked.rounds} rounds, {asked.seconds} s for each measurement;"
        f" {os.cpu_count()} processors, {time.monotonic() - start:.0f} s in all."
    )
    text = "\n\n".join(["# Benchmark", head, *pieces])
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
