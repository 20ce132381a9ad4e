"""confined.py UNIT PROGRAM [ARGUMENT...]: what a systemd unit forbids, without systemd.

Applies those restrictions of the unit that a process can put on itself, and becomes the program.
What is applied and what cannot be is listed here; a directive that stands in neither list is an
error, so that the unit cannot change unnoticed. Needs libseccomp (systemd itself does).
"""

import ctypes
import ctypes.util
import errno
import os
import resource
import subprocess
import sys

ALLOW = 0x7FFF0000
FAIL = 0x00050000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
NAMESPACES = 0x7E020080  # all of CLONE_NEW*
MOUNT_SETATTR, AT_RECURSIVE, MOUNT_READ_ONLY = 442, 0x8000, 1
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
EQUAL, MASKED = 4, 7

# Done by namespaces, where the kernel lets this user have them.
IN_NAMESPACES = {"ProtectSystem", "PrivateUsers", "PrivateIPC", "PrivateMounts", "ProtectHostname"}
# Done by the seccomp filter, limits and prctl.
APPLIED = {
    "CapabilityBoundingSet", "NoNewPrivileges", "RestrictAddressFamilies", "RestrictNamespaces",
    "RestrictRealtime", "MemoryDenyWriteExecute", "SystemCallArchitectures", "SystemCallFilter",
    "SystemCallErrorNumber", "UMask", "LimitNOFILE", "LimitCORE",
}  # fmt: skip
# Takes a manager, or hides what the test itself lies in.
NOT_HERE = {
    "ProtectHome", "PrivateTmp", "PrivateDevices", "DevicePolicy", "ProtectClock", "ProtectKernelTunables",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectProc", "ProcSubset",
    "RestrictSUIDSGID", "LockPersonality", "RemoveIPC", "KeyringMode", "AmbientCapabilities", "NoExecPaths",
    "ExecPaths", "IPAddressDeny", "IPAddressAllow", "TasksMax", "MemoryMax",
}  # fmt: skip
# No restriction.
OTHER = {
    "Type", "ExecStart", "ExecReload", "StandardInput", "StandardOutput", "StandardError", "User", "Group",
    "EnvironmentFile", "Restart", "RestartSec", "WatchdogSec", "TimeoutStartSec", "TimeoutStopSec",
    "LogRateLimitIntervalSec", "LogRateLimitBurst",
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def directives(unit):
    with open(unit, encoding="utf-8") as file:
        lines = file.read().split("[Service]")[1].split("\n[")[0].splitlines()
    found = {}
    for line in lines:
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def groups():
    """systemd's own groups of system calls."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True).stdout
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = set()
        elif name and line.startswith("    ") and not line.strip().startswith("#"):
            found[name].add(line.strip())
    return found


def expand(name, known):
    if not name.startswith("@"):
        return {name}
    return set().union(*(expand(member, known) for member in known[name]))


def allowed_calls(filters):
    known = groups()
    calls = expand("@default", known)
    for line in filters:
        names = set().union(*(expand(name, known) for name in line.lstrip("~").split()))
        calls = calls - names if line.startswith("~") else calls | names
    return calls


class Filter:
    def __init__(self, number):
        self.lib = ctypes.CDLL(ctypes.util.find_library("seccomp"))
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(FAIL | number))

    def allow(self, name, *comparisons):
        self._rule(ALLOW, name, comparisons)

    def refuse(self, name, number):
        self._rule(FAIL | number, name, ())

    def _rule(self, action, name, comparisons):
        call = self.lib.seccomp_syscall_resolve_name(name.encode())
        if call >= 0:
            array = (Comparison * len(comparisons))(*comparisons)
            code = self.lib.seccomp_rule_add_array(self.context, action, call, len(comparisons), array)
            assert code == 0, f"{name}: {code}"

    def load(self):
        code = self.lib.seccomp_load(self.context)
        assert code == 0, f"seccomp_load: {code}"


def masked(argument, mask, value=0):
    return Comparison(argument, MASKED, mask, value)


def filter_calls(unit):
    calls = allowed_calls(unit["SystemCallFilter"])
    wanted = Filter(getattr(errno, unit["SystemCallErrorNumber"][0]))
    # A filter of libseccomp has one answer where nothing fits, so these are let pass by argument.
    for family in unit["RestrictAddressFamilies"][0].split():
        wanted.allow("socket", Comparison(0, EQUAL, FAMILIES[family], 0))
    for name, argument in (("mprotect", 2), ("pkey_mprotect", 2)):
        wanted.allow(name, masked(argument, PROT_EXEC))
    wanted.allow("mmap", masked(2, PROT_EXEC))
    wanted.allow("mmap", masked(2, PROT_EXEC | PROT_WRITE, PROT_EXEC))
    wanted.allow("clone", masked(0, NAMESPACES))
    # No filter can look into clone3's arguments; where it is not there, glibc falls back to clone.
    wanted.refuse("clone3", errno.ENOSYS)
    special = {"socket", "mprotect", "pkey_mprotect", "mmap", "clone", "clone3", "unshare", "setns", "shmat"}
    for name in sorted(calls - special):
        wanted.allow(name)
    wanted.load()


def enter_namespaces():
    """False where the kernel does not let this user."""
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0:
        return False
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as out:
            out.write(text)
    attributes = (ctypes.c_uint64 * 4)(MOUNT_READ_ONLY, 0, 0, 0)
    code = libc.syscall(MOUNT_SETATTR, -100, b"/", AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    return code == 0


def confine(unit):
    unknown = set(unit) - IN_NAMESPACES - APPLIED - NOT_HERE - OTHER
    assert not unknown, f"this test does not know of {unknown}"
    os.umask(int(unit["UMask"][0], 8))
    for name, number in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)):
        limit = int(unit[name][0])
        resource.setrlimit(number, (limit, limit))
    if not enter_namespaces():
        print("confined: no namespaces for this user", file=sys.stderr)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    filter_calls(unit)


if __name__ == "__main__":
    confine(directives(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
