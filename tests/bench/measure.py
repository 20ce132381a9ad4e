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
            with contextlib.suppress(FileNotFoundError):
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
    if figures["failures"]:
        raise RuntimeError(f"{figures['failures']} of {figures['requests']} requests failed")
    for name, pid in servers.items():
        spent = cpu_seconds(pid) - before[name]
        if spent * TICKS >= 5:  # fewer ticks say nothing
            figures[f"cpu {name}"] = spent * 1e6 / figures["requests"]
    figures["rate"] = figures["requests"] / figures["seconds"]
    return figures


def wrk(port, connections, seconds, asked, token=None):
    """Through the web server."""
    argv = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s",
            "-s", os.path.join(HERE, "wrk.lua")]  # fmt: skip
    if token:
        argv += ["-H", f"Authorization: Bearer {token}"]
    return json.loads(run([*argv, f"http://127.0.0.1:{port}", "--", *asked]).splitlines()[-1])


def straight(program, address, connections, seconds, request):
    """FastCGI without a web server; `request` is a file."""
    return json.loads(run([program, address, str(connections), str(seconds), request]))


def pgbench(cluster, dbname, role, connections, seconds, script, folder):
    """The database alone. Its log of single transactions is where the latencies come from."""
    log = os.path.join(folder, "pgbench")
    argv = [f"{cluster.bin}/pgbench", "-n", "-M", "extended", "-c", str(connections), "-j", "2",
            "-T", str(seconds), "-f", script, "-l", "--log-prefix", log,
            "-h", "127.0.0.1", "-p", str(cluster.port), "-U", role, dbname]  # fmt: skip
    run(argv)
    latencies = []
    for name in os.listdir(folder):
        if name.startswith("pgbench."):
            path = os.path.join(folder, name)
            with open(path, encoding="ascii") as lines:
                latencies += [int(line.split()[2]) for line in lines]
            os.remove(path)
    latencies.sort()
    return {
        "requests": len(latencies),
        "failures": 0,
        "seconds": seconds,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }
