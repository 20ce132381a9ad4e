"""How often a write goes to the database and back: each time costs a network's delay."""

import contextlib
import os
import select
import threading

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.proxy import Proxy

# No change, a change; of a request that cannot be a repeat, and of one that can.
PLAIN = {"pause": (3, 3), "resume": (2, 2)}
RECORDED = {"pause": (3, 3), "resume": (2, 2)}
MAYBE_REPEATED = {"pause": (5, 4), "resume": (4, 3)}


class Counter(Proxy):
    """A network that counts how often the client speaks after the server; and that can fail behind
    something that the server says."""

    round_trips = 0
    ends_behind = fault = None

    def __init__(self, *place):
        super().__init__(*place)
        self.silence = threading.Event()

    def close(self):
        self.silence.set()
        super().close()

    def _relay(self, near, far):
        speaker = far
        with near, far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    try:
                        part = source.recv(65536)
                        self.round_trips += source is near and speaker is far
                        speaker = source
                        if source is far and self.ends_behind and self.ends_behind in part:
                            part = part[: part.index(self.ends_behind) + len(self.ends_behind)]
                            fault, self.ends_behind = self.fault, None
                            near.sendall(part)
                            if fault == "silent":
                                self.silence.wait()
                            return
                        (far if source is near else near).sendall(part)
                    except OSError:
                        return
                    if not part:
                        return


pytestmark = pytest.mark.skipif(bool(os.environ.get("BBM_TEST_DATABASE")), reason="the counter stands where the proxy would")


@pytest.fixture(scope="module", params=[False, True], ids=["not prepared", "prepared"])
def prepared(request):
    return request.param


@contextlib.contextmanager
def behind_a_counter(servers, prepared, history, **fcgi):
    """A database with two migrations, a service, and the network between them."""
    with servers.database(history=history) as database:
        for identity in (1, 2):
            database.add_migration(f"migration {identity}", id=identity, status=1)
        counter = Counter(free_port(), ("127.0.0.1", servers.cluster.port))
        counter.open()
        place = {"port": counter.port, "preparedstatements": prepared}
        try:
            with servers.service(database.name, changes={"database": place, "fcgi": {"threads": 1, **fcgi}}) as service:
                yield database, service, counter
        finally:
            counter.close()


@contextlib.contextmanager
def counted(servers, token, prepared, history):
    """A function that sends a write and gives how many round trips it took, and its answer."""
    with behind_a_counter(servers, prepared, history) as (_, service, counter), fastcgi.Connection(service.address) as connection:

        def write(action, identity, **more):
            before = counter.round_trips
            answer = connection.request(parameters("POST", routes.action(action, identity), token, **more))
            assert answer.status == 200, answer
            return counter.round_trips - before, answer.json["migrations"]

        for action in ("pause", "pause", "resume", "resume"):  # connects, and prepares
            write(action, None, HTTP_X_REQUEST_ID=f"warming-up-{action}")
        yield write


@pytest.mark.parametrize("identity", [None, 1], ids=["all", "one"])
@pytest.mark.parametrize(
    "history, ids, bounds",
    [(False, False, PLAIN), (False, True, PLAIN), (True, False, RECORDED), (True, True, MAYBE_REPEATED)],
    ids=["plain", "plain, with an id", "recorded", "recorded, with an id"],
)
def test_round_trips_of_a_write(servers, token, prepared, identity, history, ids, bounds):
    with counted(servers, token, prepared, history) as write:
        for number, action in enumerate(("pause", "resume") * 2):
            unchanged, changed = bounds[action]
            more = {"HTTP_X_REQUEST_ID": f"first-{number}"} if ids else {}
            trips, migrations = write(action, identity, **more)
            assert len(migrations) == (1 if identity else 2)
            assert trips <= changed, f"{action} that changes something"
            more = {"HTTP_X_REQUEST_ID": f"second-{number}"} if ids else {}
            trips, migrations = write(action, identity, **more)
            assert migrations == []
            assert trips <= unchanged, f"{action} that changes nothing"


@pytest.mark.parametrize("fault", ["cut", "silent"])
def test_what_comes_back_behind_a_change_is_lost(servers, token, prepared, fault):
    """The change is committed, and the look at the worker that was sent along has no answer."""
    with behind_a_counter(servers, prepared, True, timeout="1s") as (database, service, counter):
        pause = parameters("POST", routes.PAUSE, token)
        assert fastcgi.ask(service.address, parameters("POST", routes.action("pause", 2), token)).status == 200
        counter.fault, counter.ends_behind = fault, b"COMMIT\0"
        answer = fastcgi.ask(service.address, pause)
        if fault == "silent":
            assert answer.status == 503
            done = answer.json["errors"][0]["detail"]["migrations"]
        else:
            assert answer.status == 200
            done = answer.json["migrations"]
        assert [migration["id"] for migration in done] == [1]
        assert len(database.history()) == 2
        counter.silence.set()
        again = fastcgi.ask(service.address, pause)
        assert (again.status, again.json["migrations"]) == (200, [])
