"""Query parameters, contract section 1: one that a route does not take is refused, and nothing is changed."""

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import parameters

LIST, JOBS, ACTION, RESUME = "status", "n, last, status", "reason, dry_run", "reason, dry_run, action_id"
TAKES = {
    ("GET", "/background-migrations/"): LIST,
    ("GET", "/bbm/status/"): LIST,
    ("GET", "/background-migrations/7/"): "none",
    ("GET", "/background-migrations/7/jobs/"): JOBS,
    ("POST", "/background-migrations/pause/"): ACTION,
    ("POST", "/background-migrations/resume/"): RESUME,
    ("POST", "/bbm/pause/"): ACTION,
    ("POST", "/bbm/resume/"): RESUME,
    ("POST", "/restart/7/"): ACTION,
    ("POST", "/background-migrations/7/pause/"): ACTION,
    ("POST", "/background-migrations/7/resume/"): ACTION,
    ("POST", "/background-migrations/7/restart/"): ACTION,
}
CASES = [(method, base + path, takes) for (method, path), takes in TAKES.items() for base in routes.BASES]
STATES = "SELECT id, status, ctid::text AS place FROM batched_background_migrations ORDER BY id"


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("active", id=7, status=1)
        database.add_migration("paused", status=0)
        database.add_migration("failed", status=3)
        yield database


@pytest.fixture
def ask(database, service, token):
    """Sends a request that must change nothing."""

    def ask(method, path, query, body=b"", **more):
        before = database.rows(STATES)
        with fastcgi.Connection(service.address) as connection:
            length = str(len(body)) if body else ""
            params = parameters(method, path, token, QUERY_STRING=query, CONTENT_LENGTH=length, **more)
            answer = connection.request(params, body)
        assert database.rows(STATES) == before
        return answer

    return ask


def name_error(detail):
    return error_body("INVALID_QUERY_PARAMETER_NAME", "invalid query parameter name", detail)


@pytest.mark.parametrize("method, path, takes", CASES, ids=str)
def test_an_unknown_parameter(ask, method, path, takes):
    for query, name in (("except=6", "except"), ("Dry_run=true", "Dry_run"), ("=1", ""), ("%D9%A1", "\u0661")):
        answer = ask(method, path, query)
        expected = name_error(f"the '{name}' query parameter is unknown; allowed here: {takes}")
        assert (answer.status, answer.json) == (400, expected)


@pytest.mark.parametrize("method, path, takes", [case for case in CASES if case[2] != "none"], ids=str)
def test_a_parameter_given_twice(ask, method, path, takes):
    name = takes.split(", ")[-1]
    value = {"status": "failed", "dry_run": "true", "action_id": "1"}[name]
    answer = ask(method, path, f"{name}={value}&{name}={value}")
    expected = name_error(f"the '{name}' query parameter is given twice; allowed here, once each: {takes}")
    assert (answer.status, answer.json) == (400, expected)


@pytest.mark.parametrize("path", ["/-/liveness", "/-/readiness", "/-/metrics"])
def test_operational_routes_take_none(ask, path):
    assert ask("GET", path, "x=1").json["errors"][0]["code"] == "INVALID_QUERY_PARAMETER_NAME"
    assert ask("GET", path, "").status == 200


def test_the_name_may_hold_any_bytes(ask):
    answer = ask("GET", routes.LIST, "%ff%00" + "x" * 1000 + "%0a=1")
    assert answer.status == 400
    assert answer.json["errors"][0]["detail"].startswith("the '\ufffd\x01xxx")


@pytest.mark.parametrize("query", ["dry_run=1", "dry_run=", "dry_run=True"])
def test_a_dry_run_is_true_or_false(ask, query):
    answer = ask("POST", routes.PAUSE, query)
    detail = "the 'dry_run' query parameter must be true or false"
    expected = error_body("INVALID_QUERY_PARAMETER_VALUE", "invalid query parameter value", detail)
    assert (answer.status, answer.json) == (400, expected)


@pytest.mark.parametrize("body", [b'{"Reason": "x"}', b'{"reason": 7}', b"dry_run=true", b"[]", b'{"dry_run": true, "dry_run": false}'])
def test_a_body_that_is_refused(ask, body):
    answer = ask("POST", routes.PAUSE, "", body)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "INVALID_BODY")


def test_a_parameter_in_query_and_body(ask):
    answer = ask("POST", routes.PAUSE, "dry_run=true", b'{"dry_run": true}')
    expected = error_body("INVALID_BODY", "invalid request body", "'dry_run' is given in the query, too")
    assert (answer.status, answer.json) == (400, expected)


def test_the_order_of_judgement(ask, keys):
    """The route, the method, the token and the id come before the parameters; the migration after."""
    assert ask("GET", "/v1/gitlab/nothing/", "x=1").status == 404
    assert ask("DELETE", routes.LIST, "x=1").status == 405
    assert ask("OPTIONS", routes.LIST, "x=1").status == 204
    assert ask("GET", routes.LIST, "x=1", HTTP_AUTHORIZATION=None).status == 401
    assert ask("GET", routes.one(2**63), "x=1").json["errors"][0]["code"] == "BBM_ID_INVALID"
    assert ask("GET", routes.one(12345), "x=1").status == 400
