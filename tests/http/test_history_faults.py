"""Every fault of the database at each step of a change with a history: both or neither, and the answer true."""

import contextlib
import random
import threading
import time

import psycopg2
import pytest
from harness import fastcgi, routes
from harness.relay import Relay
from harness.fastcgi import parameters
from harness.history import Desk
from harness.play import TRIGGERS, Changes
from harness.ports import free_port
from harness.process import wait_until
from harness.scene import UNAVAILABLE
from harness.timing import longer, milliseconds

KEY = {"HTTP_X_REQUEST_ID": "the-request"}
SECONDS = 5

# What is sent to the server, in the order in which a pause sends it: the look for a history, for a request that
# this one repeats, at the worker, the change with its record, and the end of its transaction.
STEPS = (b"has_schema_privilege", b"10 minutes", b"has_chosen", b"READ WRITE", b"INSERT INTO bbm_fcgi", b"COMMIT")


@pytest.fixture
def relay(servers):
    relay = Relay(free_port(), ("127.0.0.1", servers.cluster.port))
    relay.open()
    yield relay
    relay.close()


@pytest.fixture
def database(servers):
    with servers.database(history=True) as database:
        for identity in range(1, 6):
            database.add_migration(f"m{identity}", id=identity, status=1)
        yield database


@pytest.fixture
def desk(servers, database, relay, keys):
    """Statements are not prepared, so that each is seen on its way."""
    changes = {
        "database": {"port": relay.port, "preparedstatements": False},
        "fcgi": {"threads": 1, "timeout": milliseconds(longer(1.5))},
    }
    with servers.service(database.name, changes=changes) as service:
        yield Desk(database, service, keys)


def assert_both_or_neither(database):
    """What is paused is recorded as paused, and nothing else."""
    paused = {row["id"] for row in database.migrations() if row["status"] == 0}
    recorded = [change["migration_id"] for action in database.history() for change in action["changes"]]
    assert sorted(recorded) == sorted(paused)
    return paused


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.decode())
@pytest.mark.parametrize("fault", ["cut_before", "swallow"])
def test_a_connection_that_ends_at_a_step(database, desk, relay, fault, step):
    setattr(relay, fault, step)
    answer = desk.act("pause", **KEY)
    setattr(relay, fault, None)
    assert answer.status == 503, "a fault was not met"
    paused = assert_both_or_neither(database)
    unknown = "not known" in str(answer.json["errors"][0].get("detail"))
    assert unknown or not paused, "changed, and said not to be"
    entry = desk.service.entry("the-request")
    assert entry["outcome"] == ("unknown" if unknown else "failed")

    again = desk.act("pause", **KEY)
    assert again.status == 200 and len(again.json["migrations"]) == 5
    assert again.json.get("repeated", False) is bool(paused)
    assert assert_both_or_neither(database) == {1, 2, 3, 4, 5}
    assert [action["id"] for action in database.history()] == [again.json["action_id"]]


@pytest.mark.parametrize("fault", ["cut_before", "swallow"])
def test_a_dry_run_that_is_lost_has_changed_nothing(database, desk, relay, fault):
    setattr(relay, fault, b"SKIP LOCKED")
    answer = desk.act("pause", None, "dry_run=true", **KEY)
    setattr(relay, fault, None)
    assert (answer.status, answer.json) == (503, UNAVAILABLE)
    assert desk.service.entry("the-request")["outcome"] == "failed"
    assert assert_both_or_neither(database) == set()


@pytest.mark.parametrize("fault", ["cut_before", "swallow"])
def test_an_undo_that_is_lost(database, desk, relay, fault):
    number = desk.done("pause")
    setattr(relay, fault, b"INSERT INTO bbm_fcgi")
    answer = desk.undo(number, **KEY)
    setattr(relay, fault, None)
    assert answer.status == 503
    resumed = {identity for identity, status in desk.states().items() if status == 1}
    assert resumed == {change["migration_id"] for action in database.history()[1:] for change in action["changes"]}
    assert desk.undo(number, **KEY).json.get("repeated", False) is bool(resumed)
    assert set(desk.states().values()) == {1} and len(database.history()) == 2


def test_a_record_that_is_refused_takes_the_change_with_it(database, desk):
    """As by a full disk, or a constraint that somebody has added."""
    database.execute("ALTER TABLE bbm_fcgi.changes ADD CHECK (migration_id <> 3)")
    answer = desk.act("pause")
    assert answer.status == 500
    left_open = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
    assert wait_until(lambda: database.rows(left_open) == []), "a transaction that has failed stays open"
    assert assert_both_or_neither(database) == set()
    database.execute("ALTER TABLE bbm_fcgi.changes DROP CONSTRAINT changes_migration_id_check")
    assert len(desk.act("pause").json["migrations"]) == 5


def test_a_session_that_ends_between_the_change_and_its_commit(database, desk):
    """What was not committed is not there, neither of the two."""
    database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;"
        "CREATE TRIGGER slow AFTER INSERT ON bbm_fcgi.changes FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    answers = []
    asking = threading.Thread(target=lambda: answers.append(desk.act("pause", 1)))
    asking.start()
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bbm_fcgi' AND datname = %s AND query ~ 'left_alone' AND wait_event = 'PgSleep'"
    while not database.rows(ended, (database.name,)) and asking.is_alive():
        pass
    asking.join()
    assert answers[0].status == 503
    assert assert_both_or_neither(database) == set()


# At random moments


class Client(threading.Thread):
    """Pauses, resumes and undoes all the time, and keeps the answers."""

    def __init__(self, service, token, ending, number):
        super().__init__()
        self.service, self.token, self.ending = service, token, ending
        self.choose = random.Random(number)
        self.answers = []

    def run(self):
        pauses = []
        while not self.ending.is_set():
            action = self.choose.choice(("pause", "resume", "undo"))
            query = f"action_id={self.choose.choice(pauses)}" if action == "undo" and pauses else ""
            path = routes.PAUSE if action == "pause" else routes.RESUME
            answer = fastcgi.ask(self.service.address, parameters("POST", path, self.token, QUERY_STRING=query))
            self.answers.append(answer)
            if action == "pause" and answer.status == 200 and "action_id" in answer.json:
                pauses.append(answer.json["action_id"])


@contextlib.contextmanager
def sessions_ended(database, ending):
    """Again and again, at any moment."""

    def end():
        with contextlib.closing(database.cluster.connect()) as connection, connection.cursor() as cursor:
            while not ending.wait(random.uniform(0.005, 0.05)):
                with contextlib.suppress(psycopg2.Error):
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = 'bbm_fcgi'",
                        (database.name,),
                    )

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_sessions_that_end_at_any_moment(servers, database, token):
    """What the triggers noted, and what is recorded, is the same."""
    database.execute(TRIGGERS)
    ending = threading.Event()
    with contextlib.ExitStack() as stack:
        services = [stack.enter_context(servers.service(database.name)) for _ in range(2)]
        clients = [Client(services[number % 2], token, ending, number) for number in range(4)]
        with sessions_ended(database, ending):
            for client in clients:
                client.start()
            time.sleep(SECONDS)
        for client in clients:
            client.join()
    statuses = [answer.status for client in clients for answer in client.answers]
    assert {200, 503} <= set(statuses) <= {200, 400, 503}, set(statuses)
    noted = {}
    for change in Changes(database).all:
        if change.who == "service":
            noted.setdefault(change.moment, {}).setdefault(change.id, (change.old, change.new))
    recorded = {
        action["at"]: {c["migration_id"]: (c["previous_status"], c["status"]) for c in action["changes"]}
        for action in database.history()
    }
    assert noted == recorded and len(recorded) > 10
    answered = {
        answer.json["action_id"]
        for client in clients
        for answer in client.answers
        if answer.status == 200 and "action_id" in answer.json
    }
    assert answered <= {action["id"] for action in database.history()}
