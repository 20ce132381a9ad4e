"""The program under test: configuration, start, stop, log."""

import copy
import json
import os
import re
import signal
import socket
import subprocess

from . import tokens
from .ports import accepts
from .postgres import PASSWORD, SERVICE_ROLE
from .process import Server, clean_environment, sanitizer_report, wait_until
from .timing import SLOWNESS, longer, milliseconds
from .workspace import as_servers_user

REMOVED = object()
STOP_SECONDS = 5
# By default a request waits for a thread for a second.
WAITS = {"queuetimeout": milliseconds(longer(1))} if SLOWNESS != 1 else {}


def base_configuration(cluster, dbname, bundle, listen):
    """A registry's configuration, and the listening address."""
    return {
        "version": "0.1",
        "log": {"level": "info", "formatter": "json"},
        "database": {
            "enabled": True,
            "host": "127.0.0.1",
            "port": cluster.port,
            "user": SERVICE_ROLE,
            "password": PASSWORD,
            "dbname": dbname,
            "sslmode": "disable",
            "connecttimeout": milliseconds(longer(5)),
        },
        "auth": {
            "token": {
                "realm": tokens.REALM,
                "service": tokens.SERVICE,
                "issuer": tokens.ISSUER,
                "rootcertbundle": bundle,
            }
        },
        "fcgi": {"listen": listen, "threads": 4, **WAITS},
    }


def changed(configuration, changes):
    """A copy with the changes merged in; REMOVED removes a key."""
    result = copy.deepcopy(configuration)
    _merge(result, changes or {})
    return result


def _merge(target, changes):
    for key, value in changes.items():
        if value is REMOVED:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.setdefault(key, {}), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def to_yaml(configuration, depth=0):
    """Block style for maps, JSON's style for what stands in them (YAML reads that too)."""
    lines = []
    for key, value in configuration.items():
        if isinstance(value, dict) and value:
            lines += [f"{'  ' * depth}{key}:", to_yaml(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {json.dumps(value)}")
    return "\n".join(lines) + ("\n" if depth == 0 else "")


def run_program(program, *arguments, environment=None, stdin=subprocess.DEVNULL):
    """Runs the program to its end, for options with which it ends by itself."""
    return subprocess.run(
        as_servers_user([program, *arguments]),
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=longer(15),
        check=False,
        cwd="/",
        env=clean_environment(environment),
    )


class Service:
    """A running bbm-fcgi. Its log is checked when it is stopped."""

    def __init__(self, name, program, configuration_file, listen, log, environment=None, stdin=None):
        self.address = listen
        self.configuration_file = configuration_file
        argv = [program, *(["-c", configuration_file] if configuration_file else [])]
        self.server = Server(name, argv, log, environment, stdin if stdin is not None else subprocess.DEVNULL)
        self.server.wait_ready(lambda: accepts(listen))

    def written(self):
        return self.server.written()

    def terminate(self):
        self.server.send(signal.SIGTERM)

    def stop(self):
        """SIGTERM must stop it soon, with exit code 0, no sanitizer's report and no secret in the log."""
        code = self.server.stop(seconds=STOP_SECONDS)
        text = self.written()
        report = sanitizer_report(text)
        assert report is None, f"{self.server.name}: {report}\n{text[-4000:]}"
        assert code == 0, f"{self.server.name} ended with {code} on SIGTERM:\n{text[-4000:]}"
        assert_keeps_secrets(text)
        assert "sandbox: the system call" not in text, f"{self.server.name} was denied a call:\n{text[-4000:]}"

    def lines(self):
        return self.written().splitlines()

    def request_lines(self, correlation_id):
        """Waits for the log lines with this id, which are written after the answer."""
        wait_until(lambda: correlation_id in self.written(), seconds=5)
        return [line for line in self.lines() if correlation_id in line]

    def entry(self, correlation_id):
        """The one JSON log line of the request with this id."""
        lines = self.request_lines(correlation_id)
        assert len(lines) == 1, f"{len(lines)} log lines have the id {correlation_id}: {lines}"
        return json.loads(lines[0])


def assert_keeps_secrets(text):
    """No token, no part of one, no password, no SQL."""
    for token in tokens.minted:
        for part in token.split(".")[1:]:
            assert len(part) < 8 or part not in text, f"a token stands in the log: {part}"
    assert PASSWORD not in text, "the database password stands in the log"
    statement = re.search(r"\b(SELECT|UPDATE|INSERT|DELETE)\s", text)
    assert statement is None, f"SQL stands in the log: {text[statement.start():][:200]}"


def listening_socket(address):
    """A socket as spawn-fcgi and systemd hand it over: bound and listening, for descriptor 0."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    return listener
