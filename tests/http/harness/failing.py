"""The program in which the call fails that a test asks for: tests/fault/fail.c, and what it shares with us."""

import mmap
import os
import shutil
import struct

from .service import build_folder
from .workspace import give_away

LAYOUT = struct.Struct("iii40s40s")


class Plan:
    """Which call fails: the one at a number, counted from when it is armed; or all from there on that allocate."""

    def __init__(self, house):
        folder = house.workspace.folder(house.unique("failing"))
        self.program = os.path.join(folder, "bbm-fcgi")
        shutil.copy(os.path.join(build_folder(), "tests", "failing", "bbm-fcgi"), self.program)
        path = house.workspace.file(house.unique("plan"), bytes(LAYOUT.size), mode=0o666)
        give_away(self.program)
        self.environment = {"BBM_FAIL": path}
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, number, on=False, only=""):
        self._shared[:] = LAYOUT.pack(0, on, 0, only.encode(), b"")
        self._shared[:4] = struct.pack("i", number)

    def disarm(self):
        """The function whose call has failed; None: none had the number."""
        self._shared[:4] = struct.pack("i", 0)
        return self.fired()

    def fired(self):
        _, _, fired, _, which = LAYOUT.unpack(self._shared[:])
        return which.partition(b"\0")[0].decode() if fired else None

    def walk(self, on=False, most=3000):
        """Arms for each number in turn, until no call had it. Within a step, disarm() ends the failing."""
        for number in range(1, most):
            self.arm(number, on)
            yield number
            if self.disarm() is None:
                return
        raise AssertionError(f"a call failed {most} times in a row")
