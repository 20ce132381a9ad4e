"""A server as a child process: started, waited for, stopped by its pid."""

import os
import signal
import subprocess
import time

from .timing import longer
from .workspace import as_servers_user

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:exitcode=99",
    "LSAN_OPTIONS": "exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99",
}
SANITIZER_REPORTS = (
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "MemorySanitizer",
    "runtime error:",
)


class DidNotStart(Exception):
    """The server ended, or was not ready in time; has what it wrote."""


def clean_environment(extra=None):
    """Only what a server needs: no REGISTRY_* and PG* variables of the caller."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    for name, value in SANITIZER_OPTIONS.items():
        environment[name] = os.environ.get(name, value)
    # Where a build for coverage leaves its counters: the servers' user may not write beside it.
    for name in ("GCOV_PREFIX", "GCOV_PREFIX_STRIP"):
        if name in os.environ:
            environment[name] = os.environ[name]
    environment.update(extra or {})
    return environment


def wait_until(condition, seconds=10, pause=0.01):
    """Returns the first true value of condition(), or its last false one when the time is up."""
    end = time.monotonic() + longer(seconds)
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def sanitizer_report(text):
    return next((line for line in text.splitlines() if any(r in line for r in SANITIZER_REPORTS)), None)


class Server:
    """A child whose output goes to a file."""

    def __init__(self, name, argv, log, environment=None, stdin=subprocess.DEVNULL, folder="/"):
        self.name = name
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                as_servers_user(argv),
                stdin=stdin,
                stdout=out,
                stderr=out,
                cwd=folder,
                env=clean_environment(environment),
                start_new_session=True,
            )

    def written(self):
        with open(self.log, "rb") as log:
            return log.read().decode("utf-8", "backslashreplace")

    def wait_ready(self, ready, seconds=20):
        def ended_or_ready():
            return self.child.poll() is not None or ready()

        if not wait_until(ended_or_ready, seconds) or self.child.poll() is not None:
            self.kill()
            raise DidNotStart(f"{self.name} (exit code {self.child.returncode}):\n{self.written()}")

    def send(self, number):
        if self.child.poll() is None:
            self.child.send_signal(number)

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Returns the exit code. A server that does not end in time is killed, and that is an error."""
        self.send(number)
        try:
            return self.child.wait(longer(seconds))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {longer(seconds)} s:\n{self.written()[-2000:]}") from None

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
