"""A TCP relay in front of PostgreSQL, which can be closed and opened again."""

import contextlib
import select
import socket
import threading


class Proxy:
    """Relays connections made to its port; while it is closed, nobody listens there."""

    def __init__(self, port, target, host="127.0.0.1"):
        self.host = host
        self.port = port
        self.target = target
        self.listener = None
        self._pairs = []
        self._threads = []

    def open(self):
        self.listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(64)
        self._start(self._accept, self.listener)

    def close(self):
        """No new connections, and an end to the old ones."""
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        self.cut()
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()

    def cut(self):
        """Ends every connection under way, as a failing network does."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self, listener):
        while True:
            try:
                near = self._accept_one(listener)
            except (OSError, ValueError):
                return
            try:
                far = socket.create_connection(self.target)
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            self._start(self._relay, near, far)

    def _accept_one(self, listener):
        return listener.accept()[0]

    def _relay(self, near, far):
        with near, far:
            while True:
                readable, _, _ = select.select([near, far], [], [])
                for source in readable:
                    try:
                        part = source.recv(65536)
                        (far if source is near else near).sendall(part)
                    except OSError:
                        return
                    if not part:
                        return
