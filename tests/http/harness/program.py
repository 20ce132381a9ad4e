"""The program as tests start it: behind what BBM_TEST_WRAPPER says, such as valgrind (tests/memcheck)."""

import contextlib
import os
import shlex
import shutil

from .postgres import REPOSITORY

WRAPPER = shlex.split(os.environ.get("BBM_TEST_WRAPPER", ""))


def build_folder():
    return os.environ.get("BBM_BUILD") or os.path.join(REPOSITORY, "build")


def built(*path):
    """One of the test programs, which end by themselves, as what to start."""
    return [*WRAPPER, os.path.join(build_folder(), *path)]


def install_program(folder, source=None, wrapped=True):
    """A copy of the program in this folder, or what starts it there; the servers' user may."""
    source = source or os.path.join(build_folder(), "bbm-fcgi")
    program = os.path.join(folder, "bbm-fcgi")
    if not (WRAPPER and wrapped):
        _copy(source, program)
        return program
    # By whatever the program is started then: the init script and mod_fcgid know but its name.
    os.mkdir(behind := os.path.join(folder, "behind"))
    os.chmod(behind, 0o755)
    _copy(source, os.path.join(behind, "bbm-fcgi"))
    with open(program, "w", encoding="utf-8") as script:
        script.write(f'#!/bin/sh\nexec {shlex.join(WRAPPER)} {shlex.quote(_behind(program))} "$@"\n')
    os.chmod(program, 0o755)
    return program


def _copy(source, target):
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)


def _behind(program):
    folder, name = os.path.split(program)
    return os.path.join(folder, "behind", name)


def processes_of(program):
    """The ids of all processes that run this program; zombies have none."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _runs(entry, program)]


def _runs(pid, program):
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/{pid}/exe") == program:
            return True
        if WRAPPER:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                return _behind(program).encode() in line.read().split(b"\0")
    return False
