"""Each write leaves one line: who, from where, what, what came of it; whatever the level, and refused ones too."""

import json
import uuid

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.tokens import SUBJECT

WRITES = (routes.PAUSE, routes.RESUME, routes.LIST + "7/pause/", routes.LIST + "7/resume/", "/v1/gitlab/restart/7/")


@pytest.fixture(scope="module")
def quiet(servers, database):
    """Its log level is error."""
    with servers.service(database.name, changes={"log": {"level": "error"}}) as service:
        yield service


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("*", jti="the-token")


@pytest.fixture(autouse=True)
def seven(database):
    database.clear()
    database.add_migration("seven", id=7, status=1)


def written(service, method, path, token=None, **more):
    identity = f"audit-{uuid.uuid4()}"
    answer = fastcgi.ask(service.address, parameters(method, path, token, HTTP_X_REQUEST_ID=identity, **more))
    return answer, service.entry(identity)


def test_a_write_is_logged_in_full(quiet, token):
    answer, entry = written(quiet, "POST", routes.PAUSE, token)
    assert answer.status == 200
    assert (entry["level"], entry["msg"], entry["outcome"]) == ("audit", "write", "done")
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", routes.PAUSE, 200)
    assert (entry["subject"], entry["token_id"], entry["remote_ip"]) == (SUBJECT, "the-token", "192.0.2.7")
    assert entry["changed"] == [{"id": 7, "name": "seven", "previous_status": "active", "status": "paused"}]
    assert "error" not in entry


def test_an_idempotency_key_stands_beside_the_request_id(quiet, token):
    """The history has the key as correlation_id, so that the log must have it too."""
    _, entry = written(quiet, "POST", routes.PAUSE, token, HTTP_IDEMPOTENCY_KEY="the-key")
    assert entry["idempotency_key"] == "the-key"
    _, entry = written(quiet, "POST", routes.PAUSE, token)
    assert "idempotency_key" not in entry


@pytest.mark.parametrize("path", WRITES)
def test_one_without_a_token(quiet, path):
    answer, entry = written(quiet, "POST", path)
    assert answer.status == 401
    assert (entry["msg"], entry["outcome"], entry["status"], entry["error"]) == ("write", "refused", 401, "UNAUTHORIZED")
    assert entry["remote_ip"] == "192.0.2.7" and "subject" not in entry and "changed" not in entry


def test_one_who_may_only_read(quiet, keys):
    answer, entry = written(quiet, "POST", routes.PAUSE, keys.token("read", sub="only-reads", jti="t-7"))
    assert answer.status == 401
    assert (entry["outcome"], entry["subject"], entry["token_id"]) == ("refused", "only-reads", "t-7")


def test_one_that_the_state_forbids(quiet, database, token):
    database.execute("UPDATE batched_background_migrations SET status = 2")
    answer, entry = written(quiet, "POST", routes.LIST + "7/pause/", token)
    assert answer.status == 409
    assert (entry["outcome"], entry["error"], entry["subject"]) == ("refused", "BBM_STATE_CONFLICT", SUBJECT)


@pytest.mark.parametrize("path, status", [(routes.LIST + "8/pause/", 404), (routes.LIST + f"{10**20}/pause/", 400)])
def test_one_that_means_no_migration(quiet, token, path, status):
    answer, entry = written(quiet, "POST", path, token)
    assert (answer.status, entry["outcome"], entry["path"]) == (status, "refused", path)


def test_one_that_fails(servers, token):
    with servers.service(servers.unique("nowhere"), changes={"log": {"level": "error"}}) as service:
        answer, entry = written(service, "POST", routes.PAUSE, token)
        assert answer.status == 503
        assert (entry["outcome"], entry["error"], entry["subject"]) == ("failed", "UNAVAILABLE", SUBJECT)


def test_reads_are_not_writes(quiet, token):
    identity = f"audit-{uuid.uuid4()}"
    for method, path in (("GET", routes.LIST), ("OPTIONS", routes.PAUSE), ("GET", routes.PAUSE), ("POST", "/nonsense")):
        fastcgi.ask(quiet.address, parameters(method, path, token, HTTP_X_REQUEST_ID=identity))
    written(quiet, "POST", routes.PAUSE, token)
    assert identity not in quiet.written()


@pytest.mark.parametrize(
    "mark",
    ["\n", "\r", "\x1b[2K", "\u202e", "\u2066", "\u200b", "\u2028", "\xad", "\u061c", "\ufff9", "\x9b", "\x7f"],
    ids=lambda mark: "U+" + "".join(f"{ord(letter):04X}" for letter in mark[:1]),
)
@pytest.mark.parametrize("formatter", ["json", "text"])
def test_no_mark_of_a_client_reaches_the_terminal(servers, database, keys, formatter, mark):
    """In the subject, the token's id, the address and the name: all in a line of their own making."""
    database.execute("UPDATE batched_background_migrations SET name = %s", (f"na{mark}me",))
    forger = keys.token("*", sub=f"ro{mark}ot", jti=f"i{mark}d")
    with servers.service(database.name, changes={"log": {"formatter": formatter}}) as service:
        identity = f"audit-{uuid.uuid4()}"
        fastcgi.ask(
            service.address,
            parameters("POST", routes.PAUSE, forger, HTTP_X_REQUEST_ID=identity, REMOTE_ADDR=f"1.2{mark}.3.4"),
        )
        (line,) = service.request_lines(identity)
        assert mark not in line
        if formatter == "json":
            entry = json.loads(line)
            assert (entry["subject"], entry["token_id"]) == (f"ro{mark}ot", f"i{mark}d")
            assert entry["changed"][0]["name"] == f"na{mark}me"
