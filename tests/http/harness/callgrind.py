"""A service under callgrind, which counts instructions: one dump from each request to the next."""

import contextlib
import glob
import os
import re
import shutil
import sys

from .fastcgi import Connection
from .process import wait_until

# What a request is counted from: nothing of the next one is done before.
BOUNDARY = "service_answer"
# callgrind writes files, and is slow.
CHANGES = {"threads": 1, "timeout": "60s", "readtimeout": "60s", "sandbox": "off"}


def need_valgrind(tool):
    if not shutil.which("valgrind"):
        sys.exit(f"{tool}: valgrind is missing")


class Dumps:
    """Of a service that has one thread and one client."""

    def __init__(self, service, out):
        self.service = service
        self.out = out
        self.requests = 0

    def wait(self):
        """Until each request's first dump is written."""
        wait_until(lambda: len(glob.glob(self.out + ".*")) >= self.requests, seconds=60)

    def paths(self):
        """One for each request, after the service has ended: the first dump is what came before the first
        request, and the one that is written at the end is the last request's."""
        return [f"{self.out}.{number}" for number in range(2, self.requests + 1)] + [self.out]


@contextlib.contextmanager
def service_under_callgrind(servers, database, changes=None, options=()):
    """Gives the connection's function `request` beside the dumps."""
    folder = servers.workspace.folder(servers.unique("callgrind"))
    out = os.path.join(folder, "out")
    command = f"valgrind --tool=callgrind --callgrind-out-file={out} --dump-before={BOUNDARY} {' '.join(options)}"
    wrapper = servers.workspace.file(servers.unique("wrapper"), f'#!/bin/sh\nexec {command} {servers.program} "$@"\n', 0o755)
    changes = {**(changes or {}), "fcgi": {**CHANGES, **(changes or {}).get("fcgi", {})}}
    with servers.service(database.name, changes=changes, program=wrapper) as service:
        dumps = Dumps(service, out)
        with Connection(service.address, timeout=60) as connection:

            def request(params, body=b""):
                dumps.requests += 1
                return connection.request(params, body)

            yield dumps, request
            dumps.wait()


def total(path):
    with open(path, encoding="utf-8") as dump:
        return next(int(line.split()[1]) for line in dump if line.startswith(("summary:", "totals:")))


NAME = re.compile(r"\((\d+)\)(?: (.*))?")


class Names:
    """callgrind writes a name once, and then its number."""

    def __init__(self):
        self.known = {}

    def read(self, text):
        number, name = NAME.fullmatch(text).groups()
        if name is not None:
            self.known[number] = name
        return self.known[number]


def own_costs(path):
    """(object, function, instructions of its own) of each function; with --separate-callers its name
    is followed by its callers', nearest first, each behind a '."""
    functions, objects, costs = Names(), Names(), {}
    where, skip = [None, None], False
    with open(path, encoding="utf-8", errors="replace") as dump:
        for line in dump:
            key, equals, value = line.rstrip("\n").partition("=")
            if equals:
                if key == "ob":
                    where[0] = objects.read(value)
                elif key == "cob":
                    objects.read(value)
                elif key == "fn":
                    where[1] = functions.read(value)
                elif key == "cfn":
                    functions.read(value)
                elif key == "calls":
                    skip = True  # the line after it has what the called function cost
            elif line[:1] in "0123456789+-*" and not skip:
                costs[tuple(where)] = costs.get(tuple(where), 0) + int(line.split()[1])
            elif line[:1] in "0123456789+-*":
                skip = False
    return [(os.path.basename(object or ""), function, cost) for (object, function), cost in costs.items()]
