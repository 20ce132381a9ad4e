"""The program in which the call fails that a test asks for: tests/fault/fail.c, and what it shares with us."""

import mmap
import os
import struct

from .program import build_folder, install_program

LAYOUT = struct.Struct("iiii40s40s")


class Plan:
    """Which call fails: the one at a number, counted from when it is armed; or all from there on that allocate.

    Inside: no call from fcgi/, but an allocation in a library, by the name of whose file it goes. Only: of
    functions, or libraries, that are so called; after a dash, of all others.
    """

    def __init__(self, house):
        folder = house.workspace.folder(house.unique("failing"))
        self.program = install_program(folder, os.path.join(build_folder(), "tests", "failing", "bbm-fcgi"))
        path = house.workspace.file(house.unique("plan"), bytes(LAYOUT.size), mode=0o666)
        self.environment = {"BBM_FAIL": path}
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, number, on=False, only="", inside=False):
        self._shared[:] = LAYOUT.pack(0, on, inside, 0, only.encode(), b"")
        self._shared[:4] = struct.pack("i", number)

    def disarm(self):
        """The function whose call has failed; None: none had the number."""
        self._shared[:4] = struct.pack("i", 0)
        return self.fired()

    def fired(self):
        _, _, _, fired, _, which = LAYOUT.unpack(self._shared[:])
        return which.partition(b"\0")[0].decode() if fired else None

    def walk(self, first=1, step=lambda number: 1, most=20000, **how):
        """Arms for each number in turn, until no call had it. Within a step, disarm() ends the failing."""
        number = first
        while number < most:
            self.arm(number, **how)
            yield number
            if self.disarm() is None:
                return
            number += step(number)
        raise AssertionError(f"a call failed {most} times in a row")
