"""One log line for each request: who requested what, with what outcome, and never a secret."""

import datetime
import json
import re
import time
import uuid

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.postgres import PASSWORD
from harness.tokens import SUBJECT, claims, sign

KEYS = {"time", "level", "msg", "correlation_id", "method", "path", "status", "duration_ms", "subject", "remote_ip"}
TEXT_PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')


@pytest.fixture(scope="module")
def site(servers, database):
    with servers.site(database) as site:
        yield site


@pytest.fixture(scope="module")
def text_service(servers, database):
    with servers.service(database.name, changes={"log": {"formatter": "text"}}) as service:
        yield service


@pytest.fixture(autouse=True)
def seven(database):
    database.clear()
    database.add_migration("seven", id=7, status=1)


def new_id():
    return f"test-{uuid.uuid4()}"


def ask(service, method, path, token=None, identity=None, **more):
    if identity is not None:
        more["HTTP_X_REQUEST_ID"] = identity
    return fastcgi.ask(service.address, parameters(method, path, token, **more))


def logged(service, *arguments, **more):
    """Requests with an id of its own; returns the answer and its log entry."""
    identity = new_id()
    answer = ask(service, *arguments, identity=identity, **more)
    return answer, service.entry(identity)


def read_text(line):
    pairs = TEXT_PAIR.findall(line)
    assert "".join(f"{name}={value} " for name, value in pairs).strip() == line.strip(), f"no pairs: {line!r}"
    return {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}


# JSON


def test_json_line_has_all_fields(site, token):
    started = time.time()
    answer, entry = logged(site.service, "GET", routes.LIST, token)
    assert answer.status == 200
    assert KEYS <= set(entry)
    assert (entry["level"], entry["method"], entry["path"]) == ("info", "GET", routes.LIST)
    assert (entry["status"], entry["subject"], entry["remote_ip"]) == (200, SUBJECT, "192.0.2.7")
    assert type(entry["status"]) is int and type(entry["msg"]) is str
    assert 0 <= entry["duration_ms"] < 5000 and not isinstance(entry["duration_ms"], (bool, str))
    written = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
    assert started - 1 <= written.timestamp() <= time.time() + 1
    assert "changed" not in entry


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", routes.LIST, 200),
        ("GET", routes.one(7), 200),
        ("GET", routes.one(8), 404),
        ("GET", routes.one(10**20), 400),
        ("GET", "/v1/gitlab/nonsense", 404),
        ("DELETE", routes.LIST, 405),
        ("OPTIONS", routes.LIST, None),
        ("HEAD", routes.LIST, 200),
        ("POST", routes.PAUSE, 200),
    ],
)
def test_each_request_has_one_line_with_its_status(site, token, method, path, status):
    answer, entry = logged(site.service, method, path, token)
    assert (entry["method"], entry["path"], entry["status"]) == (method, path, answer.status)
    assert status in (None, answer.status)


def test_as_many_lines_as_requests(servers, database, token):
    with servers.service(database.name) as service:
        for number in range(10):
            ask(service, "GET", routes.LIST, token if number % 2 else None)
        service.entry(ask_for_last(service, token))
        lines = [json.loads(line) for line in service.lines()]
        assert len([line for line in lines if "method" in line]) == 11
        assert len({line["correlation_id"] for line in lines if "method" in line}) == 11


def ask_for_last(service, token):
    identity = new_id()
    ask(service, "GET", routes.LIST, token, identity)
    return identity


def test_every_line_is_json(site, token):
    site.service.entry(ask_for_last(site.service, token))
    for line in site.service.lines():
        assert isinstance(json.loads(line), dict), line


def test_write_logs_what_it_changed(site, token):
    site.database.add_migration("eight", id=8, status=4)
    site.database.add_migration("nine", id=9, status=2)
    answer, entry = logged(site.service, "POST", routes.PAUSE, token)
    assert [migration["id"] for migration in answer.json["migrations"]] == [7, 8]
    assert entry["changed"] == answer.json["migrations"]


def test_write_that_changes_nothing_logs_so(site, token):
    logged(site.service, "POST", routes.PAUSE, token)
    _, entry = logged(site.service, "POST", routes.PAUSE, token)
    assert entry["changed"] == []


# Who


@pytest.mark.parametrize(
    "subject",
    ["ops", "", 'with "quotes" and \\', "Jürgen 🦊", "new\nline\x1b[31m", "x" * 255, "é" * 100],
    ids=["word", "empty", "quotes", "letters", "controls", "long as a GitLab name may be", "long in two bytes each"],
)
def test_subject_is_that_of_the_token(site, keys, subject):
    _, entry = logged(site.service, "GET", routes.LIST, keys.token("*", sub=subject))
    assert entry.get("subject") in ((subject,) if subject else ("", None))


def test_unproven_subject_is_not_logged(site, keys):
    forged = sign(keys.stranger, claims(sub="the-administrator"), kid=keys.trusted.kid)
    expired = keys.token("*", sub="the-administrator", exp=int(time.time()) - 999)
    for token in (None, forged, expired, "garbage"):
        answer, entry = logged(site.service, "GET", routes.LIST, token)
        assert answer.status == 401
        assert not entry.get("subject")


def test_subject_without_the_action_is_logged(site, keys):
    answer, entry = logged(site.service, "POST", routes.PAUSE, keys.token("read", sub="only-reads"))
    assert (answer.status, entry["subject"]) == (401, "only-reads")


def test_subject_does_not_stay_for_the_next_request(site, token):
    identity = new_id()
    with fastcgi.Connection(site.service.address) as connection:
        connection.request(parameters("GET", routes.LIST, token))
        connection.request(parameters("GET", routes.LIST, HTTP_X_REQUEST_ID=identity))
    assert not site.service.entry(identity).get("subject")


# The correlation id


@pytest.mark.parametrize(
    "identity", ["01HZX3V5K8", "4bf92f3577b34da6a3ce929d0e0e4736", "9f1b7c62-2a31-4b4e-8a3c-3f1d7d1a1e11", "a.b_c-d"]
)
def test_client_id_is_used_and_returned(site, token, identity):
    identity += uuid.uuid4().hex[:8]
    answer = ask(site.service, "GET", routes.LIST, token, identity)
    assert answer.header("X-Request-Id") == identity
    assert site.service.entry(identity)["correlation_id"] == identity


def test_missing_id_is_generated(site, token):
    made = []
    for given in (None, ""):
        answer = ask(site.service, "GET", routes.LIST, token, given)
        made.append(answer.header("X-Request-Id"))
        assert len(made[-1]) >= 16
        assert site.service.entry(made[-1])["path"] == routes.LIST
    assert made[0] != made[1]


@pytest.mark.parametrize(
    "identity",
    [
        "a\nb", "a\r\nX-Evil: 1", "a\x1b[31mb", "a\x7fb", "\t", "é", b"\xff\xfe", "x" * 1000, "x" * 20000,
        'a"b', "a b",
    ],
    ids=[
        "newline", "header", "escape", "del", "tab", "letter", "bytes", "long", "longer",
        "quote", "space",
    ],
)  # fmt: skip
def test_odd_id_is_replaced(site, token, identity):
    answer = ask(site.service, "GET", routes.LIST, token, identity)
    made = answer.header("X-Request-Id")
    assert answer.status == 200 and answer.header("X-Evil") is None
    assert re.fullmatch(r"[A-Za-z0-9._-]{16,128}", made)
    assert made.encode() != fastcgi.as_bytes(identity)
    assert site.service.entry(made)["correlation_id"] == made


def test_every_answer_has_an_id(site, token):
    for method, path, given in (
        ("GET", routes.LIST, None),
        ("GET", routes.one(8), token),
        ("GET", "/v1/gitlab/x", None),
        ("PUT", routes.LIST, None),
        ("OPTIONS", routes.LIST, None),
        ("HEAD", routes.LIST, token),
        ("POST", routes.PAUSE, token),
    ):
        identity = new_id()
        assert ask(site.service, method, path, given, identity).header("X-Request-Id") == identity


def test_id_passes_through_nginx(site, token):
    identity = new_id()
    answer = site.client.get(routes.LIST, token, headers={"X-Request-Id": identity})
    assert answer.header("X-Request-Id") == identity
    assert site.service.entry(identity)["remote_ip"] == "127.0.0.1"
    made = site.client.get(routes.LIST, token).header("X-Request-Id")
    assert site.service.entry(made)["correlation_id"] == made


# What must not do harm


@pytest.mark.parametrize(
    "path",
    [
        '/v1/gitlab/x\n{"level":"info","msg":"forged"}',
        "/v1/gitlab/\r\n\x1b[2J\x00\x07",
        '/v1/gitlab/"quotes" and \\ and =',
        b"/v1/gitlab/\xff\xfe\xc3",
        "/v1/gitlab/\u2028\u0085",
    ],
    ids=["forged line", "controls", "quotes", "bytes", "line separators"],
)
def test_odd_path_stays_in_its_line(site, text_service, token, path):
    for service in (site.service, text_service):
        identity = new_id()
        answer = ask(service, "GET", path, token, identity)
        assert answer.status == 404
        (line,) = service.request_lines(identity)
        assert re.fullmatch(r"[^\x00-\x1f\x7f]*", line)
        (json.loads if service is site.service else read_text)(line)
        assert "forged" not in [json.loads(line)["msg"] for line in site.service.lines() if "forged" in line]


def test_very_long_path_is_logged_in_one_line(site, token):
    answer, entry = logged(site.service, "GET", "/v1/gitlab/" + "x" * 30000, token)
    assert answer.status == 404
    assert entry["path"].startswith("/v1/gitlab/xxx")


def test_secrets_in_odd_places_are_not_logged(site, keys):
    """A token in the query or the path is the client's mistake; the log must not keep it."""
    token = keys.token("*")
    ask(site.service, "GET", routes.LIST, token, new_id(), QUERY_STRING=f"access_token={token}")
    identity = ask_for_last(site.service, token)
    site.service.entry(identity)
    assert token.rsplit(".", 1)[1] not in site.service.written()


def test_database_failure_is_logged_without_the_password(servers, token):
    with servers.service(servers.unique("nowhere")) as service:
        answer, entry = logged(service, "GET", routes.LIST, token)
        assert (answer.status, entry["status"]) == (503, 503)
        assert PASSWORD not in service.written()
        assert "does not exist" in service.written(), "the log does not say why"


# Text, level


def test_text_line_has_all_fields(text_service, token):
    identity = new_id()
    ask(text_service, "GET", routes.LIST, token, identity)
    (line,) = text_service.request_lines(identity)
    entry = read_text(line)
    assert KEYS <= set(entry)
    assert (entry["level"], entry["method"], entry["path"]) == ("info", "GET", routes.LIST)
    assert (entry["status"], entry["subject"], entry["correlation_id"]) == ("200", SUBJECT, identity)


def test_text_line_of_a_write_has_the_changes(text_service, token):
    identity = new_id()
    ask(text_service, "POST", routes.PAUSE, token, identity)
    (line,) = text_service.request_lines(identity)
    changed = read_text(line)["changed"]
    assert "7" in changed and "seven" in changed


def test_quotes_in_the_subject_keep_a_text_line_whole(text_service, keys):
    identity = new_id()
    subject = 'a" status=200 b=\\"c\nd'
    ask(text_service, "GET", routes.LIST, keys.token("*", sub=subject), identity)
    (line,) = text_service.request_lines(identity)
    assert read_text(line)["subject"] == subject


def test_level_error_omits_successful_requests(servers, database, token):
    with servers.service(database.name, changes={"log": {"level": "error"}}) as service:
        identity = new_id()
        assert ask(service, "GET", routes.LIST, token, identity).status == 200
    assert identity not in service.written(), "written by the time it has stopped"
