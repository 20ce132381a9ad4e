"""Free TCP ports. A port is free only until another program takes it, so the start is tried again."""

import socket


class PortTaken(Exception):
    """The server found its port in use: another program won the race for it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_free_port(start, attempts=5):
    """Calls start(port) until it does not lose the race; gives back what it gives."""
    for _ in range(attempts - 1):
        try:
            return start(free_port())
        except PortTaken:
            continue
    return start(free_port())


def accepts(address):
    """Whether somebody listens at address, a socket path or (host, port)."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
