"""Clients and workers at random on one database, and every answer set against what really was.

A trigger writes down each change of a migration's state and who made it, and each client
takes a snapshot of the database before its request and after the answer. So afterwards it
is known, with no clock, in which states each row was in between. Every answer must have been true at some moment in between, no change may be one
that contract section 3 forbids, and none that a service made may be missing from all
answers. BBM_TEST_SEED repeats the choices (not the timing), BBM_TEST_SECONDS goes on
for longer.
"""

import contextlib
import os
import random
import threading
import time

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.postgres import SERVICE_ROLE
from harness.rows import STATUS
from harness.slowness import longer, milliseconds
from harness.worker import COMMIT, WORK, Worker

SEED = int(os.environ.get("BBM_TEST_SEED") or random.SystemRandom().randrange(10**6))
SECONDS = float(os.environ.get("BBM_TEST_SECONDS") or 8)
STEPS = 2000
TIMEOUT = longer(0.5)  # of the services
CLIENTS, WORKERS = 4, 2
UNFINISHED = 8  # migrations that are kept going

NUMBER = {name: number for number, name in STATUS.items()}
BY_SERVICE = {(1, 0), (4, 0), (0, 1), (3, 1)}
# With no look at the present state: so also from what it was not when the run began.
BY_WORKER = {(1, 4), (0, 4), (1, 3), (0, 3), (4, 3), (1, 2), (0, 2), (4, 2)}
CONFLICTS = {"pause": {2, 3}, "resume": {2, 3}, "restart": {0, 2}}
KEY = {"pause": "not_paused", "resume": "not_resumed", "restart": "not_restarted"}

HISTORY = f"""
CREATE TABLE history (number bigserial, id bigint, old int, new int, who text, code int, xid bigint, at timestamptz);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO public.history (id, old, new, who, code, xid, at) VALUES (
        NEW.id, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status,
        CASE session_user WHEN '{SERVICE_ROLE}' THEN 'service' ELSE current_setting('application_name') END,
        NEW.failure_error_code, pg_current_xact_id()::text::bigint, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER note_new AFTER INSERT ON batched_background_migrations FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER UPDATE ON batched_background_migrations FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note();
CREATE TABLE some_table (id bigint);
SET application_name = 'scene';
"""


class Change:
    """One committed change of one row's state."""

    def __init__(self, row):
        self.id, self.old, self.new, self.who, self.code, self.xid = (
            row[name] for name in ("id", "old", "new", "who", "code", "xid")
        )
        self.at = row["at"].timestamp()  # for those who read a failure
        self.told = False

    def __repr__(self):
        return f"{self.at % 1000:.4f} {self.id}: {self.old} to {self.new} by the {self.who}"


class Snapshot:
    """Which transactions had been committed at a moment: PostgreSQL's own account of it."""

    def __init__(self, text):
        _, self.end, running = text.split(":")
        self.end = int(self.end)
        self.running = {int(xid) for xid in running.split(",") if xid}

    def shows(self, change):
        return change.xid < self.end and change.xid not in self.running


class History:
    def __init__(self, database):
        self.changes = [Change(row) for row in database.rows("SELECT * FROM history ORDER BY number")]
        self.of = {}
        for change in self.changes:
            self.of.setdefault(change.id, []).append(change)

    def ids_before(self, ask):
        return [identity for identity, changes in self.of.items() if ask.before.shows(changes[0])]

    def window(self, identity, ask):
        """The changes that were in force at some moment of this request, as indices."""
        changes = self.of.get(identity, [])
        return [
            number
            for number, change in enumerate(changes)
            if ask.after.shows(change)
            and (number + 1 == len(changes) or not ask.before.shows(changes[number + 1]))
        ]

    def states(self, identity, ask):
        return {self.of[identity][number].new for number in self.window(identity, ask)}

    def stays_paused(self, identity, ask):
        """Whether at some moment it did not run, and then nobody but a service set it going again."""
        changes = self.of[identity]
        for number in self.window(identity, ask):
            if changes[number].new in (1, 4):
                continue
            going = next((change for change in changes[number + 1 :] if change.new in (1, 4)), None)
            if going is None or going.who == "service":
                return True
        return False


class Ask:
    """A request and its answer."""

    def __init__(self, action, identity):
        self.action = action
        self.id = identity

    def ask(self, snapshot, send):
        self.before = snapshot()
        self.start = time.time()
        answer = send()
        self.end = time.time()
        self.after = snapshot()
        self.status = answer.status
        self.json = answer.json

    def saw(self, change):
        """Whether the change was committed between request and answer."""
        return self.after.shows(change) and not self.before.shows(change)

    def __repr__(self):
        return f"{self.start % 1000:.4f} to {self.end % 1000:.4f} {self.action} {self.id}: {self.status} {self.json}"


class Actor:
    """A thread with its own choices; what it meets is kept."""

    def __init__(self, number, play):
        self.play = play
        self.choose = random.Random(f"{SEED} {number}")
        self.steps = 0
        self.error = None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.play.ending.is_set():
                self.act()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error
            self.play.ending.set()


class Client(Actor):
    ACTIONS = ["pause"] * 8 + ["resume"] * 8 + ["restart"] * 3 + ["list"] * 3 + ["one"] * 2 + ["jobs"]

    def __init__(self, number, play, service):
        super().__init__(number, play)
        self.address = service.address
        self.asked = []
        self.connection = play.database.cluster.connect(play.database.name)

    def snapshot(self):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_snapshot()::text")
            return Snapshot(cursor.fetchone()[0])

    def act(self):
        action = self.choose.choice(self.ACTIONS)
        identity = self.choose.choice(self.play.ids)
        if action == "list" or action in ("pause", "resume") and self.choose.random() < 0.25:
            identity = None
        ask = Ask(action, identity)
        ask.ask(self.snapshot, lambda: fastcgi.ask(self.address, parameters(*self.target(action, identity), self.play.token)))
        self.asked.append(ask)
        self.steps += 1
        time.sleep(self.choose.choice((0, 0, 0.002, 0.01)))

    @staticmethod
    def target(action, identity):
        if action in CONFLICTS:
            return "POST", routes.action(action, identity)
        return "GET", {"list": routes.LIST, "one": routes.one(identity), "jobs": routes.jobs(identity)}[action]


class Runner(Actor):
    """A worker that hesitates, is rolled back or gets stuck wherever it likes."""

    def __init__(self, number, play):
        super().__init__(number, play)
        self.worker = Worker(play.database, job_fails=lambda _: self.choose.random() < 0.3)
        self.worker.connection.cursor().execute("SET application_name = 'worker'")
        self.worker.connection.commit()
        self.runs = []  # from before the lock to after it, and the same within it
        self.finished = []  # migration, from before to after the commit of a finished job

    def act(self):
        worker, started, locked = self.worker, time.time(), None
        worker.begin()
        rolls_back = self.choose.random() < 0.05
        while worker.next is not None and not (rolls_back and worker.next == WORK):
            self.hesitate()
            ending, before = worker.next == COMMIT, time.time()
            worker.step()
            self.steps += 1
            if locked is None:
                locked = time.time()
        if rolls_back and worker.next is not None:
            ending, before = True, time.time()
            worker.rollback()
        if ending:
            self.runs.append((started, time.time(), locked, before, worker.migration))
        if worker.outcome == "job finished":
            self.finished.append((worker.migration["id"], before, time.time()))

    def hesitate(self):
        dice = self.choose.random()
        if dice < 0.003:
            time.sleep(TIMEOUT * 1.4)
        elif dice < 0.05:
            time.sleep(self.choose.uniform(0, 0.03))
        elif dice < 0.4:
            time.sleep(self.choose.uniform(0, 0.004))


class Play:
    def __init__(self, database, token):
        self.database = database
        self.token = token
        self.ids = []
        self.ending = threading.Event()

    def replenish(self):
        """As a registry does that brings new migrations along."""
        unfinished = self.database.rows("SELECT count(*) AS n FROM batched_background_migrations WHERE status <> 2")
        for _ in range(unfinished[0]["n"], UNFINISHED):
            name = f"m{len(self.ids)}"
            table = "public.gone" if len(self.ids) % 5 == 4 else "public.some_table"
            new = self.database.add_migration(name, status=1, max_value=60, total_tuple_count=60, table_name=table)
            self.ids = [*self.ids, new]


@pytest.fixture(scope="module")
def played(house, keys):
    """The whole play; what the tests look at is what it leaves behind."""
    print(f"BBM_TEST_SEED={SEED}")
    changes = {"fcgi": {"timeout": milliseconds(TIMEOUT)}}
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(house.database())
        database.execute(HISTORY)
        services = [stack.enter_context(house.service(database.name, changes=changes)) for _ in range(2)]
        play = Play(database, keys.token("*"))
        play.replenish()
        play.clients = [Client(number, play, services[number % 2]) for number in range(CLIENTS)]
        play.workers = [Runner(CLIENTS + number, play) for number in range(WORKERS)]
        run(play)
        for connection in [c.connection for c in play.clients] + [w.worker.connection for w in play.workers]:
            connection.close()
        play.history = History(database)
        play.asked = sorted((ask for client in play.clients for ask in client.asked), key=lambda ask: ask.end)
        yield play


def run(play):
    actors = play.clients + play.workers
    for actor in actors:
        actor.thread.start()
    started = time.monotonic()
    while not play.ending.is_set():
        time.sleep(0.02)
        play.replenish()
        took = time.monotonic() - started
        if took > 3 * SECONDS or took > SECONDS and sum(actor.steps for actor in actors) >= STEPS:
            play.ending.set()
    for actor in actors:
        actor.thread.join(30)
    for actor in actors:
        if actor.error:
            raise actor.error


def why(play, ask, identity):
    """For a failure: the answer, and what became of that row around it."""
    around = [c for c in play.history.of.get(identity, []) if ask.start - 3 < c.at < ask.end + 3]
    return "\n".join([f"BBM_TEST_SEED={SEED}", repr(ask), *map(repr, around)])


def actions(play, *kinds):
    return [ask for ask in play.asked if ask.action in (kinds or CONFLICTS)]


def detail(ask):
    return ask.json["errors"][0].get("detail", {})


def left_by(ask):
    """What a 503 says was not done; nothing where it could not even begin."""
    return detail(ask).get(KEY[ask.action], []) if ask.status == 503 else []


def covered(play, ask):
    return [ask.id] if ask.id is not None else play.history.ids_before(ask)


def test_enough_happened(played):
    """Else the rest would prove little."""
    steps = sum(actor.steps for actor in played.clients + played.workers)
    answers = {status: sum(ask.status == status for ask in played.asked) for status in (200, 409, 503)}
    undone = sum((change.old, change.new) == (0, 4) for change in played.history.changes)
    print(f"{steps} steps, answers {answers}, {len(played.history.changes)} changes, {undone} of them over a pause")
    assert sum(answers.values()) == len(played.asked)
    assert steps >= STEPS / 3 and min(answers[200], answers[409]) > 10 and undone > 0


def test_no_forbidden_change(played):
    for change in played.history.changes:
        if change.who != "scene":
            allowed = BY_SERVICE if change.who == "service" else BY_WORKER
            assert (change.old, change.new) in allowed, f"BBM_TEST_SEED={SEED}: {change}"
        if (change.old, change.new) == (3, 1):
            assert change.code is None
    for changes in played.history.of.values():
        for before, after in zip(changes, changes[1:]):
            assert before.new == after.old, f"BBM_TEST_SEED={SEED}: {before}, {after}"


def test_every_answer_came_in_time(played):
    for ask in played.asked:
        assert ask.end - ask.start < TIMEOUT + 3, ask


def test_a_200_to_a_pause_holds(played):
    for ask in actions(played, "pause"):
        if ask.status == 200:
            for identity in covered(played, ask):
                assert played.history.stays_paused(identity, ask), why(played, ask, identity)


def test_a_200_to_a_resume_or_restart_was_true(played):
    for ask in actions(played, "resume", "restart"):
        if ask.status == 200:
            for identity in covered(played, ask):
                states = played.history.states(identity, ask)
                assert states & ({1, 4} if ask.id else {1, 2, 3, 4}), why(played, ask, identity)


def test_a_409_was_true(played):
    for ask in actions(played):
        if ask.status == 409:
            named = NUMBER[detail(ask).split(";")[0].rsplit(" ", 1)[1]]
            assert named in CONFLICTS[ask.action] & played.history.states(ask.id, ask), why(played, ask, ask.id)


def test_a_503_names_what_was_not_done(played):
    wanted = {"pause": {1, 4}, "resume": {0}, "restart": {3}}
    for ask in actions(played):
        for left in left_by(ask):
            states = played.history.states(left["id"], ask)
            chosen = any(
                run[4] and run[4]["id"] == left["id"] and run[0] <= ask.end and run[1] >= ask.start
                for runner in played.workers
                for run in runner.runs
            )
            assert chosen or states & wanted[ask.action], why(played, ask, left["id"])


def told(ask):
    if ask.status == 200:
        return ask.json["migrations"]
    return detail(ask).get("migrations", []) if ask.status == 503 else []


def test_each_change_told_was_made_and_each_made_was_told(played):
    for ask in actions(played):
        for migration in told(ask):
            step = (NUMBER[migration["previous_status"]], NUMBER[migration["status"]])
            made = [
                change
                for change in played.history.of[migration["id"]]
                if change.who == "service" and (change.old, change.new) == step and not change.told and ask.saw(change)
            ]
            assert made, why(played, ask, migration["id"])
            made[0].told = True
    for change in played.history.changes:
        if change.who == "service" and not change.told:
            # A pause that had to pause a row twice tells it once; one that was late, as not done.
            assert any(named(ask, change.id) and ask.saw(change) for ask in actions(played)), change


def named(ask, identity):
    return identity in [migration["id"] for migration in [*told(ask), *left_by(ask)]]


def test_a_job_in_flight_was_told_truly(played):
    runs = sorted(run[:4] for runner in played.workers for run in runner.runs)
    for ask in actions(played):
        said = (ask.json if ask.status == 200 else detail(ask) if ask.status == 503 else {}).get("job_in_flight")
        if said is None:
            continue
        near = [run for run in runs if run[0] <= ask.end and run[1] >= ask.start]
        if said:
            assert near, ask
        else:
            assert not any(locked < ask.start and before > ask.end for _, _, locked, before in near), ask


def test_every_list_was_true(played):
    finished = {}
    for runner in played.workers:
        for identity, before, after in runner.finished:
            finished.setdefault(identity, []).append((before, after))
    for ask in played.asked:
        if ask.status != 200 or ask.action not in ("list", "one"):
            continue
        rows = ask.json["migrations"] if ask.action == "list" else [ask.json["migration"]]
        ids = [row["id"] for row in rows]
        assert set(covered(played, ask)) <= set(ids) and ids == sorted(set(ids))
        for row in rows:
            assert NUMBER[row["status"]] in played.history.states(row["id"], ask), why(played, ask, row["id"])
            jobs = finished.get(row["id"], [])
            least = sum(after < ask.start for _, after in jobs)
            most = sum(before <= ask.end for before, _ in jobs)
            assert least <= row["finished_jobs"] <= most, why(played, ask, row["id"])


def test_what_is_said_at_the_end_is_what_there_is(played):
    """Everything paused, and the workers run on: it stays so."""
    client = played.clients[0]
    assert fastcgi.ask(client.address, parameters("POST", routes.PAUSE, played.token)).status == 200
    with contextlib.closing(Worker(played.database)) as worker:
        assert worker.run() == "nothing to do"
    assert not {row["status"] for row in played.database.migrations()} & {1, 4}
