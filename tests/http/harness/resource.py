"""What a process holds: descriptors, threads, memory."""

import os

from .process import wait_until
from .program import WRAPPER


class ResourceUsage:
    """Of a running service, at this moment."""

    def __init__(self, service):
        pid = service.server.child.pid
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        self.threads = len(os.listdir(f"/proc/{pid}/task"))
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            self.kilobytes = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024

        # A sanitizer and valgrind keep freed memory for a while: then the number says nothing.
        with open(f"/proc/{pid}/exe", "rb") as program:
            text = program.read()
            self.sanitized = bool(WRAPPER) or b"__asan_init" in text or b"__tsan_init" in text

    def __repr__(self):
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.kilobytes} kB"


def settled_usage(service, descriptors):
    """The usage after the requests in progress are done: at most so many descriptors are open."""
    wait_until(lambda: ResourceUsage(service).descriptors <= descriptors, seconds=5)
    return ResourceUsage(service)
