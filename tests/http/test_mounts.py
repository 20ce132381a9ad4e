"""One conformance run, through every mount of deploy/: what the service promises has to come out at
the other end of each web server. WEB_SERVERS_OWN lists what a web server answers by itself."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import routes
from harness.answer import error_body
from harness.client import send
from harness.mounts import ALSO_OVER_TCP, MOUNTS
from harness.process import wait_until
from harness.refusals import BAD_TOKEN, NO_ACCESS, NO_TOKEN, assert_refused

ALL = (
    ("GET", "/background-migrations"), ("GET", "/background-migrations/7"), ("GET", "/bbm/status"),
    ("POST", "/background-migrations/pause"), ("POST", "/background-migrations/resume"),
    ("POST", "/bbm/pause"), ("POST", "/bbm/resume"), ("POST", "/restart/7"),
    ("POST", "/background-migrations/7/pause"), ("POST", "/background-migrations/7/resume"),
    ("POST", "/background-migrations/7/restart"), ("GET", "/background-migrations/7/jobs"),
)  # fmt: skip
BEFORE = {"pause": 1, "resume": 0, "restart": 3}
AFTER = {"pause": 0, "resume": 1, "restart": 1}

# What a web server may answer by itself, before the service is asked.
WEB_SERVERS_OWN = {
    # A body without its length: HAProxy cannot give the length to a FastCGI application either.
    "chunked": (411,),
    # A GET with a body: lighttpd takes none, unless configured to.
    "GET with a body": (400,),
}

NAME = "naïve ☃ \N{CJK UNIFIED IDEOGRAPH-9577}"


@pytest.fixture(scope="module", params=MOUNTS)
def mount(request, servers, database):
    with MOUNTS[request.param](servers, database) as mounted:
        yield mounted


@pytest.fixture
def client(mount):
    return mount.client


@pytest.fixture(autouse=True)
def only_the_seventh(database):
    database.clear()
    database.add_migration(NAME, id=7, status=0, max_value=2**63 - 1, total_tuple_count=1000)


def set_status(database, status):
    database.execute("UPDATE batched_background_migrations SET status = %s WHERE id = 7", (status,))


def status_of(database):
    return database.rows("SELECT status FROM batched_background_migrations WHERE id = 7")[0]["status"]


def add_many(database):
    """So many that the answer is a megabyte long."""
    database.execute(
        "INSERT INTO batched_background_migrations (id, name, status, max_value, batch_size, job_signature_name,"
        " table_name, column_name) SELECT 1000 + n, repeat('n', 1000) || n, 1, 1, 1, 'j', 't', 'c'"
        " FROM generate_series(1, 800) AS n"
    )


# Routes


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("method, path", ALL, ids=[f"{method} {path}" for method, path in ALL])
def test_route(client, database, token, base, method, path):
    action = path.rsplit("/", 1)[1] if method == "POST" and not path.startswith("/restart") else "restart"
    for slash in ("", "/"):
        if method == "POST":
            set_status(database, BEFORE[action])
        answer = client.request(method, base + path + slash, token)
        assert answer.status == 200, answer
        assert answer.header("Content-Type") == "application/json"
        assert answer.header("Location") is None
        if method == "POST":
            assert answer.json["success"] is True
            assert [migration["id"] for migration in answer.json["migrations"]] == [7]
            assert status_of(database) == AFTER[action]
        elif path.endswith("/7"):
            assert answer.json["migration"]["id"] == 7
        elif path.endswith("/jobs"):
            assert answer.json["jobs"] == []
        else:
            assert [migration["id"] for migration in answer.json["migrations"]] == [7]


@pytest.mark.parametrize(
    "path", ["/nonsense", "/", "/background-migrations/07", "/background-migrations/0/pause", "/bbm/page.html", "/v1/gitlab/bbm/status"]
)  # fmt: skip
def test_no_such_route_is_the_services_own_404(client, token, path):
    for base in routes.BASES:
        if base == "/gitlab/v1" and not path.startswith(("/background-migrations", "/bbm")):
            continue  # the registry's own
        answer = client.get(base + path, token)
        assert (answer.status, answer.json) == (404, error_body("NOT_FOUND", "no such route"))


@pytest.mark.parametrize("path", [
    "/", "/v1", "/v1/gitlabx/bbm/status", "/v2/gitlab/bbm/status", "/background-migrations/",
    # The registry's own, which GitLab needs where both stand behind one server.
    "/gitlab/v1/", "/gitlab/v1/repositories/a/b/tags/list/", "/gitlab/v1/statistics/", "/gitlab/v1/import/x/",
])  # fmt: skip
def test_outside_the_mount_the_service_is_not_asked(client, token, path):
    """A 404 (or 403, for a folder) of the web server's own, which has no id of ours."""
    answer = client.get(path, token, headers={"X-Request-Id": "outside-the-mount"})
    assert answer.status in (403, 404, 503), answer
    assert b'"errors"' not in answer.body


@pytest.mark.parametrize("path", ["/-/liveness", "/-/readiness", "/-/metrics"])
def test_operational_routes_are_open_to_this_host(client, request, path):
    answer = client.get(path)
    if path == "/-/metrics" and "apache-fcgid" in request.node.callspec.id:
        assert answer.status == 404, "each process counts for itself there, so it is left out"
    else:
        assert answer.status == 200, answer
    assert client.get(routes.ONE_BASE + path).json == error_body("NOT_FOUND", "no such route")


def test_the_path_is_decoded_once(client, token):
    assert client.get(routes.LIST + "%37/", token).json["migration"]["id"] == 7
    answer = client.get(routes.LIST + "%2537/", token)
    assert answer.status == 404
    assert answer.json == error_body("NOT_FOUND", "no such route")


def test_a_query_is_passed_on(client, token):
    assert client.get(routes.one(7) + "jobs/?n=5&status=failed", token).json == {"jobs": []}
    answer = client.get(routes.one(7) + "jobs/?n=x", token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "INVALID_QUERY_PARAMETER_TYPE")


def test_a_next_page_is_linked_to(client, database, token):
    database.add_jobs(7, 2, 3)
    answer = client.get(routes.one(7) + "jobs/?n=2", token)
    assert len(answer.json["jobs"]) == 2
    target = answer.header("Link").split(">")[0].split("<")[1]
    path = target[target.index("/v1/gitlab/"):]  # fmt: skip
    assert len(client.get(path, token).json["jobs"]) == 1


# Methods


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_method_is_answered_with_the_allowed_ones(client, token, method):
    for given in (None, token):
        answer = client.request(method, routes.LIST, given)
        assert (answer.status, answer.json["errors"][0]["code"]) == (405, "UNSUPPORTED")
        assert answer.header("Allow") == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_another_method_on_a_write_route(client, database, token, method):
    set_status(database, 1)
    answer = client.request(method, routes.PAUSE, token)
    assert answer.status == 405
    assert answer.header("Allow") == "POST, OPTIONS"
    assert status_of(database) == 1


def test_options(client):
    for path, allowed in ((routes.LIST, "GET, HEAD, OPTIONS"), (routes.PAUSE, "POST, OPTIONS")):
        answer = client.request("OPTIONS", path)
        assert answer.status in (200, 204), answer
        assert answer.header("Allow") == allowed
        assert answer.body == b""


@pytest.mark.parametrize("path", [routes.LIST, routes.one(7), routes.one(8), "/v1/gitlab/nonsense"])
def test_head_is_get_without_the_body(client, token, path):
    with client.connect() as connection:
        get = send(connection, "GET", path, token)
        head = send(connection, "HEAD", path, token)
        assert send(connection, "GET", path, token).body == get.body, "the answer to HEAD had a body"
    assert (head.status, head.body) == (get.status, b"")
    assert head.header("Content-Type") == get.header("Content-Type")
    assert head.header("Content-Length") in (None, str(len(get.body)))


# Tokens


@pytest.mark.parametrize("method, path", ALL, ids=[f"{method} {path}" for method, path in ALL])
def test_without_a_token(client, database, method, path):
    set_status(database, BEFORE["pause"])
    answer = client.request(method, routes.ONE_BASE + path)
    assert_refused(answer, "read" if method == "GET" else "write", NO_TOKEN)
    assert status_of(database) == BEFORE["pause"]


def test_a_bad_token(client, keys):
    assert_refused(client.get(routes.LIST, keys.token("*", exp=int(time.time()) - 3600)), "read", BAD_TOKEN)
    assert_refused(client.post(routes.PAUSE, keys.token("*", iss="other")), "write", BAD_TOKEN)


def test_a_token_without_the_action(client, keys):
    assert_refused(client.get(routes.LIST, keys.token("write")), "read", NO_ACCESS)
    assert_refused(client.post(routes.PAUSE, keys.token("read")), "write", NO_ACCESS)


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer a, Bearer b", "Negotiate x"])
def test_an_authorization_that_is_no_token(client, authorization):
    assert client.get(routes.LIST, authorization=authorization).status == 401


def test_bearer_in_any_case(client, token):
    assert client.get(routes.LIST, authorization=f"bEaReR {token}").status == 200


def test_a_token_of_some_thousand_bytes(client, keys):
    long = keys.token("*", comment="x" * 4500)
    assert len(long) > 6000
    assert client.get(routes.LIST, long).status == 200


# Answers


def test_ids_and_their_errors(client, token):
    answer = client.get(routes.one(8), token)
    expected = error_body("BBM_ID_NOT_FOUND", "provided BBM Id has not been found", "BBM with ID 8 not found")
    assert (answer.status, answer.json) == (404, expected)
    answer = client.get(routes.one(10**20), token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "BBM_ID_INVALID")


def test_a_conflict(client, database, token):
    set_status(database, 2)
    answer = client.post(routes.one(7) + "pause/", token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (409, "BBM_STATE_CONFLICT")


def test_names_and_numbers_come_through_unharmed(client, token):
    migration = client.get(routes.one(7), token).json["migration"]
    assert (migration["name"], migration["max_value"]) == (NAME, 2**63 - 1)


def test_a_long_answer_comes_whole(client, database, token):
    add_many(database)
    answer = client.get(routes.LIST, token)
    assert answer.status == 200 and len(answer.body) > 1_000_000
    assert len(answer.json["migrations"]) == 801


def test_answers_are_not_to_be_stored(client, token):
    for answer in (client.get(routes.LIST, token), client.get(routes.LIST), client.get(routes.one(8), token)):
        assert answer.header("Cache-Control") == "no-store"


def test_a_request_id_is_passed_on_and_given_back(client, mount, token):
    answer = client.get(routes.LIST, token, headers={"X-Request-Id": "conformance-4711"})
    assert answer.header("X-Request-Id") == "conformance-4711"
    assert wait_until(lambda: "conformance-4711" in mount.written(), seconds=5), "not in the service's log"


def test_each_request_gets_an_id(client, token):
    ids = {client.get(routes.LIST, token).header("X-Request-Id") for _ in range(5)}
    assert len(ids) == 5 and None not in ids


def test_the_log_has_the_clients_address(client, mount, token):
    client.get(routes.LIST, token, headers={"X-Request-Id": "where-from"})
    assert wait_until(lambda: "where-from" in mount.written(), seconds=5)
    line = next(line for line in mount.written().splitlines() if "where-from" in line)
    assert "127.0.0.1" in line and routes.LIST in line


# Bodies


# What a write says to them; a GET passes them over.
BODIES = {b"": 200, b"{}": 200, b"x" * 5000: 413, b"\x00\xff\r\n\r\n": 400, b"z" * 60000: 413}


@pytest.mark.parametrize("body", BODIES, ids=["empty", "json", "longer", "binary", "long"])
@pytest.mark.parametrize("method, path", [("POST", routes.PAUSE), ("GET", routes.LIST)], ids=["POST", "GET"])
def test_a_body_is_judged_on_a_write_and_passed_over_else(client, token, method, path, body):
    answer = client.request(method, path, token, body=body)
    others = WEB_SERVERS_OWN["GET with a body"] if method == "GET" and body else ()
    expected = BODIES[body] if method == "POST" else 200
    assert answer.status == expected or (answer.status in others and answer.header("X-Request-Id") is None)


def test_a_body_does_not_spoil_the_connection(client, token):
    with client.connect() as connection:
        for body, status in [*BODIES.items()] * 2:
            assert send(connection, "POST", routes.PAUSE, token, body=body).status == status
            assert send(connection, "GET", routes.LIST, token).status == 200


@pytest.mark.parametrize("parts, status", [([b"{", b"}"], 200), ([b"abc", b"def"], 400)])
def test_a_chunked_body(client, token, parts, status):
    with client.connect() as connection:
        connection.request("POST", routes.PAUSE, body=iter(parts), encode_chunked=True,
                           headers={"Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().status in (status, *WEB_SERVERS_OWN["chunked"])
    assert client.get(routes.LIST, token).status == 200


def test_a_body_beyond_the_bound_is_refused_and_nothing_done(client, database, token):
    set_status(database, 1)
    for _ in range(3):
        assert client.post(routes.PAUSE, token, body=b"x" * 1_000_000).status == 413
    assert status_of(database) == 1
    assert client.get(routes.LIST, token).status == 200


# Connections


def test_many_requests_on_one_connection(client, token):
    with client.connect() as connection:
        for number in range(30):
            assert send(connection, "GET", routes.LIST, token if number % 3 else None).status == (200 if number % 3 else 401)


def test_many_at_once(client, token):
    def work(number):
        given, expected = (token, 200) if number % 4 else (None, 401)
        return client.get(routes.LIST, given).status == expected

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(200)))


def test_a_client_that_goes_away_costs_nothing_but_its_request(client, database, token):
    add_many(database)
    for _ in range(20):
        with client.connect() as connection:
            connection.request("GET", routes.LIST, headers={"Authorization": f"Bearer {token}"})
    # What they asked for is made all the same, first; on a slow machine for longer than one may wait.
    assert wait_until(lambda: client.get(routes.one(7), token).status == 200)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: client.get(routes.one(7), token).status, range(16))) == {200}


@pytest.mark.parametrize("other", ALSO_OVER_TCP.values(), ids=ALSO_OVER_TCP)
def test_over_tcp_too(servers, database, token, other):
    with other(servers, database) as mounted:
        assert mounted.client.get(routes.one(7), token).json["migration"]["id"] == 7
        assert mounted.client.post(routes.one(7) + "resume/", token).status == 200
