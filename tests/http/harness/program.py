"""The program as tests start it: with BBM_TEST_WRAPPER before it, such as valgrind (tests/memcheck)."""

import contextlib
import os
import shlex
import shutil

from .postgres import REPOSITORY

WRAPPER = shlex.split(os.environ.get("BBM_TEST_WRAPPER", ""))


def build_folder():
    return os.environ.get("BBM_BUILD") or os.path.join(REPOSITORY, "build")


def built(*path):
    """The command for one of the test programs, which end by themselves."""
    return [*WRAPPER, os.path.join(build_folder(), *path)]


def install_program(folder, source=None, wrapped=True):
    """A copy of the program in this folder, or a script that starts it there, for the servers' user."""
    source = source or os.path.join(build_folder(), "bbm-fcgi")
    program = os.path.join(folder, "bbm-fcgi")
    if not (WRAPPER and wrapped):
        _copy(source, program)
        return program
    # The init script and mod_fcgid know only the program's name, so the wrapper hides behind it.
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
    """The ids of all processes that run this program. Zombies do not."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _runs(entry, program)]


def _runs(pid, program):
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/{pid}/exe") == program:
            return True
        if WRAPPER:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                return _behind(program).encode() in line.read().split(b"\0")
    return False
