"""Clients and workers at random on one database.

A trigger notes each change of a migration's state and who made it, and each client
takes a snapshot of the database before its request and after the answer. So afterwards it
is known, with no clock, in which states each row was in between.
"""

import contextlib
import os
import random
import threading
import time

from . import fastcgi, routes
from .fastcgi import parameters
from .postgres import SERVICE_ROLE
from .rows import STATUS
from .timing import longer, milliseconds
from .worker import COMMIT, WORK, Worker

SEED = int(os.environ.get("BBM_TEST_SEED") or random.SystemRandom().randrange(10**6))
SECONDS = float(os.environ.get("BBM_TEST_SECONDS") or 6)
STEPS = 2000
TIMEOUT = longer(0.5)  # of the services
CLIENTS, WORKERS = 4, 2
UNFINISHED = 8  # migrations that are kept going

NUMBER = {name: number for number, name in STATUS.items()}
BY_SERVICE = {(1, 0), (4, 0), (0, 1), (3, 1)}
# A worker does not look at the present state: the state may have changed since its run began.
BY_WORKER = {(1, 4), (0, 4), (1, 3), (0, 3), (4, 3), (1, 2), (0, 2), (4, 2)}
CONFLICTS = {"pause": {2, 3}, "resume": {2, 3}, "restart": {0, 2}}
KEY = {"pause": "not_paused", "resume": "not_resumed", "restart": "not_restarted", "undo": "not_resumed"}

TRIGGERS = f"""
CREATE TABLE noted (number bigserial, id bigint, old int, new int, who text, code int, xid bigint, at timestamptz,
    moment timestamptz);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO public.noted (id, old, new, who, code, xid, at, moment) VALUES (
        NEW.id, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status,
        CASE session_user WHEN '{SERVICE_ROLE}' THEN 'service' ELSE current_setting('application_name') END,
        NEW.failure_error_code, pg_current_xact_id()::text::bigint, clock_timestamp(), NEW.updated_at);
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
        self.moment = row["moment"]  # updated_at, which is the action's own moment
        self.reported = False

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


class Changes:
    def __init__(self, database):
        self.all = [Change(row) for row in database.rows("SELECT * FROM noted ORDER BY number")]
        self.of = {}
        for change in self.all:
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
    ACTIONS = ["pause"] * 8 + ["resume"] * 6 + ["restart"] * 3 + ["list"] * 3 + ["one"] * 2 + ["jobs"] + ["dry"] * 2
    WITH_HISTORY = ["undo"] * 4 + ["history"]

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
        action = self.choose.choice(self.ACTIONS + (self.WITH_HISTORY if self.play.history else []))
        identity = self.choose.choice(self.play.ids)
        if action in ("list", "history") or action in ("pause", "resume", "dry") and self.choose.random() < 0.25:
            identity = None
        if action == "undo" and not self.play.pauses:
            action, identity = "list", None
        if action == "undo":
            identity = self.choose.choice(self.play.pauses[-6:])
        ask = Ask(action, identity)
        ask.ask(self.snapshot, lambda: self.send(action, identity))
        self.asked.append(ask)
        if action == "pause" and ask.status == 200 and "action_id" in ask.json:
            self.play.pauses.append(ask.json["action_id"])
        self.steps += 1
        time.sleep(self.choose.choice((0, 0, 0.002, 0.01)))

    def send(self, action, identity):
        method, path, query = "POST", routes.action(action, identity), ""
        if action == "undo":
            path, query = routes.RESUME, f"action_id={identity}"
        elif action == "dry":
            path, query = routes.action(self.choose.choice(("pause", "resume")), identity), "dry_run=true"
        elif action not in CONFLICTS:
            paths = {"list": routes.LIST, "history": routes.actions(), "one": routes.one(identity), "jobs": routes.jobs(identity)}
            method, path = "GET", paths[action]
        return fastcgi.ask(self.address, parameters(method, path, self.play.token, QUERY_STRING=query))


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
    def __init__(self, database, token, history):
        self.database = database
        self.token = token
        self.history = history
        self.pauses = []  # action ids
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


@contextlib.contextmanager
def playing(servers, keys, history):
    """The whole play; what the tests look at is what it leaves behind."""
    print(f"BBM_TEST_SEED={SEED}")
    changes = {"fcgi": {"timeout": milliseconds(TIMEOUT)}}
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(servers.database(history=history))
        database.execute(TRIGGERS)
        services = [stack.enter_context(servers.service(database.name, changes=changes)) for _ in range(2)]
        play = Play(database, keys.token("*"), history)
        play.replenish()
        play.clients = [Client(number, play, services[number % 2]) for number in range(CLIENTS)]
        play.workers = [Runner(CLIENTS + number, play) for number in range(WORKERS)]
        run(play)
        for connection in [c.connection for c in play.clients] + [w.worker.connection for w in play.workers]:
            connection.close()
        play.changes = Changes(database)
        play.recorded = database.history() if history else []
        play.asked = sorted((ask for client in play.clients for ask in client.asked), key=lambda ask: ask.end)
        yield play
