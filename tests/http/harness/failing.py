"""Fault injection: the program of tests/fault, and the plan that it shares with the test."""

import mmap
import os
import struct

from .program import build_folder, install_program

LAYOUT = struct.Struct("iiii40s40s")


class Plan:
    """Which call fails: that with a number, counted from arm(); with `on`, all later allocations too.

    inside: allocations in libraries, named by the library's file, and no call from fcgi/. only: the
    functions or libraries with this prefix; after a dash, all others.
    """

    def __init__(self, servers):
        folder = servers.workspace.folder(servers.unique("failing"))
        self.program = install_program(folder, os.path.join(build_folder(), "tests", "failing", "bbm-fcgi"))
        path = servers.workspace.file(servers.unique("plan"), bytes(LAYOUT.size), mode=0o666)
        self.environment = {"BBM_FAIL": path}
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, number, on=False, only="", inside=False):
        self._shared[:] = LAYOUT.pack(0, on, inside, 0, only.encode(), b"")
        self._shared[:4] = struct.pack("i", number)

    def disarm(self):
        """Returns the function whose call has failed; None: there was no call with the number."""
        self._shared[:4] = struct.pack("i", 0)
        return self.fired()

    def fired(self):
        _, _, _, fired, _, which = LAYOUT.unpack(self._shared[:])
        return which.partition(b"\0")[0].decode() if fired else None

    def walk(self, first=1, step=lambda number: 1, most=20000, **how):
        """Arms for one number after the other, until there is no call with it. Within a step, disarm() ends the failing."""
        number = first
        while number < most:
            self.arm(number, **how)
            yield number
            if self.disarm() is None:
                return
            number += step(number)
        raise AssertionError(f"a call failed {most} times in a row")
