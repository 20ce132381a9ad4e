"""The task of three in the morning, by the lines that bbm(1) shows, against a played worker; and pauses that a run holds."""

import json
import os
import re
import subprocess
import threading

import pytest
from harness.command import BBM, SHELLS, Command, with_key
from harness.hostile import always, answer
from harness.postgres import REPOSITORY
from harness.process import wait_until
from harness.timing import longer, milliseconds
from harness.worker import CHOOSE, WORK, worker


def lines_of_the_manual():
    with open(os.path.join(REPOSITORY, "deploy", "man", "bbm.1"), encoding="utf-8") as file:
        page = file.read()
    block = page[page.index("Three in the morning") :].split(".nf\n")[1].split(".fi")[0]
    return block.replace("\\-", "-").splitlines()


def statuses(site):
    return {row["id"]: row["status"] for row in site.database.migrations()}


@pytest.fixture(scope="module")
def site(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        with servers.site(database, changes={"fcgi": {"timeout": milliseconds(longer(1))}}) as site:
            yield site


@pytest.fixture
def scene(site):
    """4 has failed, 6 runs with a failed job, 7 and 8 wait, 9 a colleague has paused."""
    site.database.clear()
    site.database.clear_history()
    site.database.execute("ALTER SEQUENCE bbm_fcgi.actions_id_seq RESTART")
    for number, status in ((4, 3), (6, 4), (7, 1), (8, 1), (9, 0)):
        site.database.add_migration(f"m{number}", id=number, status=status, total_tuple_count=1000)
    site.database.add_jobs(4, 3, 1, min_value=1, max_value=1000, attempts=5)
    site.database.add_jobs(6, 2, 1, min_value=1, max_value=10, attempts=1)
    site.database.add_jobs(6, 3, 1, min_value=11, max_value=20, attempts=1, failure_error_code=0)


@pytest.fixture(params=SHELLS, ids=" ".join)
def bbm(request, site, keys, tmp_path):
    return Command(f"http://127.0.0.1:{site.client.port}", tmp_path, request.param, **with_key(keys, tmp_path))


@pytest.fixture
def played(site):
    with worker(site.database, batch=500) as played:
        yield played


class Runs:
    """The worker, run after run, until the test has what it wants."""

    def __init__(self, played):
        self.played = played
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def _run(self):
        while not self.ending.wait(0.05):
            self.played.run()


def test_three_in_the_morning(site, scene, bbm, played, tmp_path):
    """Pause all with a reason; what is in flight; failed jobs; all but one on again; restart; wait; undo."""
    lines = lines_of_the_manual()
    assert len(lines) <= 8 and max(map(len, lines)) < 60
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bbm").write_text(f'#!/bin/sh\nexec {" ".join(bbm.shell)} {BBM} "$@"\n')
    (folder / "bbm").chmod(0o755)
    environment = {**bbm.environment, "PATH": f"{folder}:{bbm.environment['PATH']}"}

    def run(line):
        done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=longer(60), check=False)  # fmt: skip
        assert done.returncode == 0, (line, done)
        return done.stdout

    pause, look, jobs, resume, restart, wait, undo = lines
    played.until(WORK)  # a job of 6 is under way, and no row of a migration is held
    assert "Paused 3 migrations (action 1):" in run(pause)
    text = run(look)
    assert text.count("paused") == 5
    assert "A job is in flight" in text
    played.finish()
    assert re.search(r"(?m)^\d+ +failed +1 ", run(jobs))
    text = run(resume)
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("Res")] == [["Resumed", str(n)] for n in (6, 8, 9)]
    assert statuses(site) == {4: 3, 6: 1, 7: 0, 8: 1, 9: 1}
    assert "Restarted 4" in run(restart)
    with Runs(played):
        assert re.search("(?m)^4  finished  m4$", run(wait))
        assert "Resumed 1 migration (action 6):\n  7  m7, was paused\n" in run(undo)
        assert wait_until(lambda: set(statuses(site).values()) == {2}), "all of them run to their end"
    assert [row["reason"] for row in site.database.history()][:2] == ["INC-4711", None]
    assert {row["actor"] for row in site.database.history()} == {"alice"}


# What a worker's run holds


def test_a_partial_pause_says_what_is_paused_and_what_is_not(site, scene, bbm, played):
    site.database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 6")
    played.until(CHOOSE)  # it has marked 7, and holds it
    done = bbm("pause", "--all", "--yes")
    assert done.returncode == 4, done
    assert re.fullmatch(
        r"Paused 1 migration( \(action \d+\))?:\n  8  m8, was active\nA job is in flight; it runs to its end\.\n",
        done.stdout.decode(),
    )
    assert re.fullmatch(
        r"Not paused, because a worker holds it in a run:\n  7  m7\nTry again in \d+ s: bbm pause 7\n", done.stderr.decode()
    )
    assert statuses(site)[8] == 0
    done = bbm("pause", 7, 8, "-o", "json")
    assert done.returncode == 4
    bodies = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert bodies[0]["errors"][0]["detail"]["not_paused"][0]["id"] == 7
    assert bbm("pause", 7, "-q").returncode == 4
    assert bbm("pause", 7, "-o", "tsv").stdout == b"7\t\t\theld\tm7\n"
    played.finish()
    assert bbm.lines("pause", 7)[0].startswith("Paused 7 m7, was running")


def migration(number, status, **more):
    return {"id": number, "name": f"m{number}", "status": status, **more}


SINCE = {"in_flight_since": "2026-11-26T01:02:03.5Z"}


@pytest.mark.parametrize(
    "flying, held, line",
    [(True, {6: SINCE}, "A job is in flight: 6 since 2026-11-26 01:02:03Z."), (True, {}, "A job is in flight."),
     (False, {}, "No job is in flight."), (None, {}, None)],
)  # fmt: skip
def test_the_list_says_what_is_in_flight(tmp_path, flying, held, line):
    body = {"migrations": [migration(number, "running", **held.get(number, {})) for number in (5, 6)]}
    if flying is not None:
        body["job_in_flight"] = flying
    with always(answer(200, body)) as server:
        lines = Command(server.url, tmp_path, BBM_TOKEN="x").lines("list")
    assert lines[-1] == (line or "2 migrations: 2 running")


@pytest.mark.parametrize(
    "held, code",
    [({7: SINCE}, 4), ({6: SINCE}, 0), ({}, 4)],
    ids=["a job of it is in flight", "a job of another", "a job of one that is not known"],
)
def test_paused_means_that_no_job_of_it_is_in_flight(tmp_path, held, code):
    states = {6: "running", 7: "paused"}
    body = {"migrations": [migration(n, states[n], **held.get(n, {})) for n in states], "job_in_flight": True}
    with always(answer(200, body)) as server:
        done = Command(server.url, tmp_path, BBM_TOKEN="x")("wait", "7", "--for", "paused", "--timeout", "1", "--every", "1")
    assert done.returncode == code, done


def test_wait_until_paused_waits_for_the_job(site, scene, bbm, played):
    """A pause lets the job under way run to its end."""
    played.until(WORK)
    bbm.lines("pause", 6)
    assert bbm("wait", 6, "--for", "paused", "--timeout", "1", "--every", "1").returncode == 4
    assert bbm("wait", 6, "--for", "settled", "--timeout", "1", "--every", "1").returncode == 4
    played.finish()
    bbm.lines("wait", 6, "--for", "paused")
    bbm.lines("wait", 6, "--for", "settled")
