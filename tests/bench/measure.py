"""Figures of a load on one server: rate, latency, and the CPU that processes spend on it."""

import contextlib
import json
import os
import subprocess

from harness.process import clean_environment

TICKS = os.sysconf("SC_CLK_TCK")
HERE = os.path.dirname(os.path.abspath(__file__))


def cpu_seconds(pid):
    """utime and stime of a server: of its process, its children, and the children that it had."""
    total, children = None, _children(pid)
    while total is None:
        total = sum(_times(pid, 4))
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += sum(_times(child, 2))
        # One that ended meanwhile may have been counted twice, or not at all.
        now = _children(pid)
        if now != children:
            total, children = None, now
    return total / TICKS


def _times(pid, number):
    """utime, stime, cutime, cstime: the first `number` of them, in ticks."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return [int(field) for field in stat.read().rpartition(")")[2].split()[11 : 11 + number]]


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
        if spent * TICKS >= 5:  # fewer ticks say nothing
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
            self.connecting[mode, clients], _ = self._run(mode, clients, ["-t", "1"])
        spent, latencies = self._run(mode, clients, ["-T", str(seconds)])
        count = len(latencies)
        return {
            "requests": count,
            "rate": count / seconds,
            "p50": latencies[count // 2],
            "p99": latencies[count * 99 // 100],
            "cpu PostgreSQL": max(0, spent - self.connecting[mode, clients]) * 1e6 / count,
        }

    def _run(self, mode, clients, length):
        """Seconds of the CPU, and latencies in microseconds, ascending."""
        before = cpu_seconds(self.cluster.server.child.pid)
        run([*self.argv[:1], "-M", mode, "-c", str(clients), "-j", str(min(2, clients)), *length, *self.argv[1:]])
        spent = cpu_seconds(self.cluster.server.child.pid) - before
        latencies = []
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            with open(path, encoding="ascii") as lines:
                latencies += [int(line.split()[2]) for line in lines]
            os.remove(path)
        if not latencies:
            raise RuntimeError("pgbench made no transaction")
        return spent, sorted(latencies)
