#!/usr/bin/python3
"""A long run: reads, writes, refusals and faults in turn, and a table of what the process holds.

    make soak SOAK_SECONDS=1800

Ends with an error where an answer was wrong or late, or where memory or descriptors did not stay
flat once the first fifth was over.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))

from harness.faults import Census, Load, Relay, frozen  # noqa: E402
from harness.house import House  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.postgres import SERVICE_ROLE, Cluster  # noqa: E402

THREADS, TIMEOUT = 4, 2
LATEST = 10  # seconds; late enough for a busy machine, and early for one that hangs
LIMITS = {"threads": THREADS, "timeout": f"{TIMEOUT}s", "queuetimeout": "500ms"}
GROWTH = 4096  # kB that may still come after the first fifth


def crash(cluster, _relay):
    cluster.crash()
    time.sleep(1)
    cluster.start_again()


def silence(_cluster, relay):
    relay.go_silent()
    time.sleep(TIMEOUT + 1)
    relay.speak_again()


def cut(_cluster, relay):
    relay.close()
    time.sleep(1)
    relay.open()


def freeze(cluster, _relay):
    with frozen(cluster.server):
        time.sleep(TIMEOUT + 1)


def end_sessions(cluster, _relay):
    for _ in range(5):
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SERVICE_ROLE}'")
        time.sleep(0.2)


FAULTS = (end_sessions, cut, crash, silence, freeze)


def soak(house, seconds):
    cluster = Cluster(house.workspace, "soaked", {"synchronous_commit": "on"})
    database = cluster.create_database("soak", sample=True)
    database.close()
    relay = Relay(free_port(), ("127.0.0.1", cluster.port))
    relay.open()
    changes = {"fcgi": LIMITS, "database": {"port": relay.port, "connecttimeout": "2s"}, "log": {"level": "error"}}
    rows, wrong = [], []
    try:
        with house.service(database.name, changes=changes) as service:
            start = time.monotonic()
            pid = service.server.child.pid
            turn = 0
            while time.monotonic() - start < seconds:
                with Load(service, house.keys, pause=0.02) as load:
                    time.sleep(min(20, seconds / 20))
                    FAULTS[turn % len(FAULTS)](cluster, relay)
                    time.sleep(2)
                try:
                    load.assert_right(LATEST)
                except AssertionError as failure:
                    wrong.append(f"round {turn}, {FAULTS[turn % len(FAULTS)].__name__}: {failure} {load.faults[:3]}")
                time.sleep(TIMEOUT + 0.5)
                statuses = [status for _, status, _, _ in load.answers]
                row = (
                    time.monotonic() - start, FAULTS[turn % len(FAULTS)].__name__, len(statuses),
                    statuses.count(200), statuses.count(401), statuses.count(503), load.slowest(), Census(service),
                )  # fmt: skip
                rows.append(row)
                print(line_of(row), flush=True)
                turn += 1
            assert service.server.child.pid == pid and service.server.child.poll() is None
    finally:
        relay.close()
        cluster.server.send(signal.SIGCONT)
        cluster.stop()
    return rows, wrong


def line_of(row):
    seconds, fault, requests, good, refused, unavailable, slowest, census = row
    return (
        f"{seconds:7.0f} {fault:>13} {requests:8} {good:8} {refused:6} {unavailable:6} {slowest:8.2f}"
        f" {census.descriptors:5} {census.threads:7} {census.kilobytes:8}"
    )


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    print(f"{'seconds':>7} {'fault':>13} {'requests':>8} {'200':>8} {'401':>6} {'503':>6} {'slowest':>8}"
          f" {'files':>5} {'threads':>7} {'kB':>8}")  # fmt: skip
    with House() as house:
        rows, wrong = soak(house, seconds)
    settled = rows[max(1, len(rows) // 5) - 1 :]
    first, last = settled[0][-1], settled[-1][-1]
    most = max(row[-1].descriptors for row in settled)
    print(f"{sum(row[2] for row in rows)} requests; settled at {first}; at the end {last}")
    if wrong:
        sys.exit("\n".join(["wrong answers:", *wrong]))
    if last.kilobytes > first.kilobytes + GROWTH or most > first.descriptors + 2:
        sys.exit("it grew")


if __name__ == "__main__":
    main()
