"""Clients that ask without a pause, while something is done to the service."""

import threading
import time

from .client import send
from .timing import longer


class Load:
    """Every request and what came of it; as a context it runs while its block does."""

    def __init__(self, client, requests, threads=6, kept=True):
        """requests: (method, path, token) in turn; kept: on kept HTTP connections."""
        self.client, self.requests, self.kept = client, requests, kept
        self.answered, self.failures = 0, []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def go_on(self, number):
        """Waits until so many more have been answered."""
        goal, end = self.answered + number, time.monotonic() + longer(30)
        while self.answered < goal and time.monotonic() < end:
            time.sleep(0.01)
        assert self.answered >= goal, f"the load stands still: {self.failures[-3:]}"

    def _work(self, number):
        while not self._ended.is_set():
            number += 1
            try:
                if self.kept:
                    self._work_on_one_connection(number)
                else:
                    self._note(self.client.request(*self.requests[number % len(self.requests)]))
            except Exception as failure:  # whatever it is, it is what is looked for
                self._note(failure)

    def _work_on_one_connection(self, number):
        with self.client.connect() as connection:
            for turn in range(number, number + 50):
                if self._ended.is_set():
                    return
                self._note(send(connection, *self.requests[turn % len(self.requests)]))

    def _note(self, outcome):
        with self._lock:
            self.answered += 1
            if getattr(outcome, "status", None) != 200:
                self.failures.append(repr(outcome)[:300])
