"""Figures of a load on one server: rate, latency, and the CPU that processes spend on it."""

import contextlib
import json
import os
import re
import subprocess

from harness.process import clean_environment

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
# Some kernels have none; a tick is 10 ms, and what is shorter is lost.
IN_NANOSECONDS = os.path.exists("/proc/self/schedstat")


def cpu_seconds(pid):
    """Of a server: of its process, its children, and the children that it had."""
    total, children = None, _children(pid)
    while total is None:
        total = _own(pid) + sum(_ticks(pid)[2:]) / TICKS
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += _own(child)
        # One that ended meanwhile may have been counted twice, or not at all.
        now = _children(pid)
        if now != children:
            total, children = None, now
    return total


def _own(pid):
    """Seconds of all threads."""
    if not IN_NANOSECONDS:
        return sum(_ticks(pid)[:2]) / TICKS
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as spent:
            total += int(spent.read().split()[0])
    return total / 1e9


def _ticks(pid):
    """utime, stime, cutime, cstime."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return [int(field) for field in stat.read().rpartition(")")[2].split()[11:15]]


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return [int(child) for child in children.read().split()]


def resident_kib(pid):
    """RSS, and what of it is the process's own alone."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        sizes = dict(line.split(":", 1) for line in status)
    return {name: int(sizes[name].split()[0]) for name in ("VmRSS", "RssAnon")}


def run(argv, folder=None):
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=300, cwd=folder, env=clean_environment()
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def watch(servers, load):
    """The load's own figures, and the CPU a request of each server: name to pid."""
    before = {name: cpu_seconds(pid) for name, pid in servers.items()}
    figures = load()
    if figures["failures"] or not figures["requests"]:
        raise RuntimeError(f"{figures['failures']} of {figures['requests']} requests failed")
    for name, pid in servers.items():
        spent = cpu_seconds(pid) - before[name]
        if spent >= 0.005:  # less is not the load's
            figures[f"cpu {name}"] = spent * 1e6 / figures["requests"]
    figures["rate"] = figures["requests"] / figures["seconds"]
    return figures


def wrk(port, connections, seconds, asked, token=None, refused=False):
    """Through the web server. `refused`: every answer must be one with a status of 400 and more."""
    threads = str(min(2, connections))
    argv = ["wrk", "-t", threads, "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s",
            "-s", os.path.join(HERE, "wrk.lua")]  # fmt: skip
    if token:
        argv += ["-H", f"Authorization: Bearer {token}"]
    figures = json.loads(run([*argv, f"http://127.0.0.1:{port}", "--", threads, *asked]).splitlines()[-1])
    count = figures.pop("refused")
    figures["failures"] += figures["requests"] - count if refused else count
    return figures


def straight(program, address, connections, seconds, request):
    """FastCGI without a web server; `request` is a file."""
    return json.loads(run([program, address, str(connections), str(seconds), request]))


class Pgbench:
    """The database alone, with the statements of a script. pgbench's log of single transactions is
    where the latencies come from."""

    def __init__(self, cluster, dbname, role, script, folder):
        self.cluster = cluster
        self.folder = folder
        self.argv = [f"{cluster.bin}/pgbench", "-n", "-f", script, "-l", "--log-prefix", os.path.join(folder, "pgbench"),
                     "-h", "127.0.0.1", "-p", str(cluster.port), "-U", role, dbname]  # fmt: skip
        self.connecting = {}

    def load(self, mode, clients, seconds):
        """With the CPU of PostgreSQL for each transaction, without what the connections have cost."""
        if (mode, clients) not in self.connecting:
            self.connecting[mode, clients], *_ = self._run(mode, clients, ["-t", "1"])
        spent, rate, latencies = self._run(mode, clients, ["-T", str(seconds)])
        count = len(latencies)
        if count < 2 * clients and seconds < 60:
            return self.load(mode, clients, 2 * seconds)  # its time began before the connections were made
        if count == 0:
            raise RuntimeError("pgbench made no transaction")
        return {
            "requests": count,
            "rate": rate,
            "p50": latencies[count // 2],
            "p99": latencies[count * 99 // 100],
            "cpu PostgreSQL": max(0, spent - self.connecting[mode, clients]) * 1e6 / count,
        }

    def _run(self, mode, clients, length):
        """Seconds of the CPU, transactions/s, and latencies in microseconds, ascending."""
        before = cpu_seconds(self.cluster.server.child.pid)
        text = run([*self.argv[:1], "-M", mode, "-c", str(clients), "-j", str(min(2, clients)), *length, *self.argv[1:]])
        spent = cpu_seconds(self.cluster.server.child.pid) - before
        latencies = []
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            with open(path, encoding="ascii") as lines:
                latencies += [int(line.split()[2]) for line in lines]
            os.remove(path)
        rate = re.search(r"tps = ([\d.]+) \(without initial connection time\)", text)
        return spent, float(rate[1]) if rate else 0, sorted(latencies)
