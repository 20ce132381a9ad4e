"""A network before the database, which delays, goes silent, loses answers and cuts connections."""

import select
import time

from .proxy import Proxy


class Relay(Proxy):
    """A network that does what networks do."""

    def __init__(self, port, target, host="127.0.0.1"):
        super().__init__(port, target, host)
        self.delay = 0  # seconds that each piece takes
        self.silent = self.went_silent = False
        self.swallow = None  # after these bytes to the server, nothing comes back from it
        self.cut_before = None  # before these bytes reach the server, the connection is cut
        self.cut_before = None  # a connection that sends these bytes is cut, and they do not arrive

    def go_silent(self):
        """Nothing passes any more; what is connected now never will again, and connecting takes for ever."""
        self.silent = self.went_silent = True
        self.listener.listen(0)

    def speak_again(self):
        self.listener.listen(64)
        self.silent = False

    def _accept_one(self, listener):
        while True:
            select.select([listener], [], [])
            if not self.silent:
                return super()._accept_one(listener)
            time.sleep(0.02)

    def _relay(self, near, far):
        silent = mute = False
        with near, far:
            while self.listener is not None or not silent:
                silent = silent or self.silent
                if silent:
                    time.sleep(0.05)
                    continue
                readable, _, _ = select.select([near, far], [], [], 0.1)
                for source in readable:
                    if self.silent:
                        break
                    try:
                        part = source.recv(65536)
                        time.sleep(self.delay)
                        if source is near and self.cut_before and self.cut_before in part:
                            return
                        if source is near and self.cut_before and self.cut_before in part:
                            far.sendall(part[: part.index(self.cut_before)])
                            return
                        if source is near and self.swallow and self.swallow in part:
                            mute = True
                        if source is near or not mute:
                            (far if source is near else near).sendall(part)
                    except OSError:
                        return
                    if not part:
                        return
