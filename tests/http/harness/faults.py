"""For tests of outages: servers that are frozen or killed, and a load whose answers are all checked."""

import contextlib
import itertools
import os
import signal
import socket
import threading
import time

from . import fastcgi, routes
from .fastcgi import parameters
from .process import wait_until


def processes_of(server):
    """A server's process and its children, by pid."""
    parent = server.child.pid
    found = [parent]
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{int(name)}/stat", encoding="ascii", errors="replace") as stat:
                if int(stat.read().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(name))
    return found


def signal_all(server, number):
    for pid in processes_of(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def frozen(server):
    """The server stopped in the middle of whatever it did: the kernel still takes its connections."""
    signal_all(server, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(server, signal.SIGCONT)


class Load:
    """Clients that ask all the time and remember each answer: reads, pauses, and one who may do nothing."""

    def __init__(self, service, keys, clients=4, pause=0.005):
        self.service = service
        self.answers = []  # (what, status, seconds, answer)
        self.faults = []
        self._answered = [0] * clients
        self._ending = threading.Event()
        read, write = keys.token("read"), keys.token("write")
        asks = (
            ("read", "GET", routes.LIST, read),
            ("write", "POST", routes.PAUSE, write),
            ("read", "GET", routes.one(1), read),
            ("write", "POST", routes.RESUME, write),
            ("refused", "POST", routes.PAUSE, None),
            ("alive", "GET", "/-/liveness", None),
        )
        self._threads = [threading.Thread(target=self._run, args=(asks, n, pause)) for n in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, asks, start, pause):
        for turn in itertools.count(start):
            if self._ending.is_set():
                return
            what, method, path, token = asks[turn % len(asks)]
            began = time.monotonic()
            try:
                answer = fastcgi.ask(self.service.address, parameters(method, path, token))
                self.answers.append((what, answer.status, time.monotonic() - began, answer))
            except (OSError, AssertionError) as fault:
                self.faults.append(f"{what} {path} after {time.monotonic() - began:.2f} s: {fault!r}")
            self._answered[start] += 1
            self._ending.wait(pause)

    def go_on(self, number=6):
        """Waits until each client has been answered so often, the first time what it waits for now."""
        goals = [answered + number for answered in self._answered]
        assert wait_until(lambda: all(now >= goal for now, goal in zip(self._answered, goals)), seconds=30), self.faults

    def seen(self, what):
        return {status for kind, status, _, _ in self.answers if kind == what}

    def slowest(self, what=None):
        return max((seconds for kind, _, seconds, _ in self.answers if what in (None, kind)), default=0)

    def assert_right(self, seconds):
        """Whatever went on: each answer was right for its time, and came in time."""
        assert self.faults == []
        assert self.seen("read") <= {200, 503}
        assert self.seen("write") <= {200, 503}
        assert self.seen("refused") <= {401}
        assert self.seen("alive") <= {200}
        assert self.slowest() < seconds, f"one took {self.slowest():.2f} s"
        for _, status, _, answer in self.answers:
            body = answer.json
            if status == 503:
                assert body["errors"][0]["code"] == "UNAVAILABLE" and answer.header("Retry-After")


def listens(port, host="127.0.0.1"):
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
