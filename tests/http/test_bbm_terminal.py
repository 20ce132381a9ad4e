"""bbm on a terminal: colours, questions, a screen that is redrawn, and Ctrl-C; and the same without one."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from harness.command import SHELLS, Command, with_key
from harness.hostile import HostileServer, answer
from harness.process import wait_until
from harness.timing import longer


class Terminal:
    """A pseudo terminal with bbm on it; what it has printed so far is `text`."""

    def __init__(self, bbm, *arguments, size=(24, 80), **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.child = subprocess.Popen(
            bbm.argv(*arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm", **bbm.environment, **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""

    def read(self, seconds=0.1):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return False
        try:
            part = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            part = b""
        self.text += part.decode("utf-8", "replace")
        return bool(part)

    def wait_for(self, pattern, seconds=30):
        def found():
            self.read()
            return re.search(pattern, self.text)

        assert wait_until(found, seconds), self.text

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """The exit code, once it has ended by itself."""
        end = time.monotonic() + longer(30)
        while self.child.poll() is None or self.read(0):
            self.read()
            assert time.monotonic() < end, self.text
        return self.child.returncode

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)


@pytest.fixture(params=SHELLS, ids=" ".join)
def bbm(request, site, keys, tmp_path):
    site.database.clear()
    for number, status in ((1, 2), (2, 4), (3, 1), (4, 3), (5, 0)):
        site.database.add_migration(f"migration number {number}", id=number, status=status, total_tuple_count=1000)
    site.database.add_jobs(2, 2, 25)
    return Command(f"http://127.0.0.1:{site.client.port}", tmp_path, request.param, **with_key(keys, tmp_path))


@pytest.fixture
def terminal():
    with contextlib.ExitStack() as stack:

        def start(*arguments, **more):
            opened = Terminal(*arguments, **more)
            stack.callback(opened.close)
            return opened

        yield start


def statuses(site):
    return {row["id"]: row["status"] for row in site.database.migrations()}


# Colour and width


def test_colour_only_on_a_terminal(bbm, terminal):
    on = terminal(bbm, "list")
    assert on.end() == 0 and "\x1b[32mrunning" in on.text
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        off = terminal(bbm, "list", **{name: value})
        assert off.end() == 0 and "\x1b" not in off.text and "running" in off.text
    assert terminal(bbm, "list", NO_COLOR="").end() == 0
    assert b"\x1b" not in bbm("list", TERM="xterm").stdout


@pytest.mark.parametrize("columns", [40, 80])
def test_the_width_is_the_terminal_s(bbm, terminal, columns, site):
    site.database.execute("UPDATE batched_background_migrations SET name = name || repeat(' long', 40)")
    on = terminal(bbm, "list", size=(24, columns))
    assert on.end() == 0
    lines = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in on.text.split("\r\n")]
    assert columns - 10 < max(map(len, lines)) <= columns


# A question


@pytest.mark.parametrize("reply, done", [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("\x04", False)])
def test_all_asks_on_a_terminal(bbm, site, terminal, reply, done):
    on = terminal(bbm, "pause", "--all")
    on.wait_for(r"pause these 2\? \[y/N\] ")
    assert "2  migration number 2, running" in on.text and "3  migration number 3, active" in on.text
    before = statuses(site)
    on.type(reply)
    assert on.end() == (0 if done else 1)
    assert (statuses(site) != before) == done
    assert ("Paused 2 migrations" if done else "nothing was changed") in on.text


def test_nothing_is_asked_where_nothing_is_to_be_done(bbm, site, terminal):
    site.database.execute("UPDATE batched_background_migrations SET status = 2")
    on = terminal(bbm, "pause", "--all")
    assert on.end() == 0 and "Nothing to pause." in on.text


# watch


def test_watch_redraws_the_screen(bbm, site, terminal):
    on = terminal(bbm, "watch", "--every", "1")
    on.wait_for(r"25\.0 %")
    assert on.text.startswith("\x1b[?1049h\x1b[?25l"), "another screen, no cursor"
    site.database.add_jobs(2, 2, 25)
    on.wait_for(r"50\.0 %")
    assert "\x1b[2J" not in on.text and on.text.count("\x1b[H") >= 2, "redrawn, not wiped"
    on.type("\x03")
    assert on.end() == 0
    tail = on.text[on.text.rindex("\x1b[?1049l") :]
    assert on.text.count("\x1b[?25h") == 1 and "50.0 %" in tail, "the last state stays"


def test_watch_keeps_to_the_screen(bbm, site, terminal):
    for number in range(6, 40):
        site.database.add_migration(f"m{number}", id=number)
    on = terminal(bbm, "watch", "--every", "1", size=(10, 60))
    on.wait_for(r"more than has room[\s\S]*\x1b\[J")  # a whole frame: Ctrl-C prints the list once more
    on.type("\x03")
    assert on.end() == 0
    frame = on.text.split("\x1b[H")[1].split("\x1b[J")[0]
    assert frame.count("\n") <= 10


def test_watch_without_a_terminal_prints_what_changes(bbm, site):
    with subprocess.Popen(bbm.argv("watch", "--every", "1"), stdout=subprocess.PIPE, env=bbm.environment) as child:
        first = [child.stdout.readline() for _ in range(4)]
        assert b"running  25.0 %  0 failed  migration number 2" in first[0]
        site.database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 3")
        assert b"3  paused" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
        assert child.stdout.read() == b""


def test_watch_says_when_the_server_is_away(tmp_path, terminal):
    turns = iter(range(1))
    listed = answer(200, {"migrations": [{"id": 1, "name": "m", "status": "active"}]})
    with HostileServer(lambda request: listed if next(turns, None) is not None else answer(502)) as server:
        on = terminal(Command(server.url, tmp_path, BBM_TOKEN="x"), "watch", "--every", "1")
        on.wait_for("NO ANSWER since")
        on.type("\x03")
        assert on.end() == 0


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_as_it_was(bbm, terminal, number, code, tmp_path):
    (tmp_path / "scratch").mkdir()
    on = terminal(bbm, "watch", TMPDIR=str(tmp_path / "scratch"))
    on.wait_for("migration number 2")
    on.child.send_signal(number)
    assert on.end() == code
    assert "\x1b[?1049l" in on.text and "\x1b[?25h" in on.text
    assert os.listdir(tmp_path / "scratch") == []


def test_ctrl_c_ends_a_wait(bbm, terminal, tmp_path):
    (tmp_path / "scratch").mkdir()
    on = terminal(bbm, "wait", 2, TMPDIR=str(tmp_path / "scratch"))
    on.wait_for("2  running")
    on.type("\x03")
    assert on.end() == 130
    assert os.listdir(tmp_path / "scratch") == []


def test_json_on_a_terminal_holds_no_escape(tmp_path, terminal):
    """The server's own bytes, but C1 and marks that turn text are no part of what a terminal gets."""
    body = '{"migrations":[{"id":1,"name":"a\x9b31m\u202eb\u2066c\u200f\x7f"}]}'.encode()
    with HostileServer(lambda request: answer(200, body)) as server:
        on = terminal(Command(server.url, tmp_path, BBM_TOKEN="x"), "list", "-o", "json")
        assert on.end() == 0
    assert '"name":"a31mbc"' in on.text
