"""What is a route and what is none, with which method, and what is judged first."""

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.refusals import NO_TOKEN, assert_refused
from harness.routes import ROUTES

NOT_FOUND = error_body("NOT_FOUND", "no such route")
UNSUPPORTED = error_body("UNSUPPORTED", "The operation is unsupported.")

NO_ROUTES = (
    "", "/", "//", "/background", "/background-migration", "/background-migrationsx", "/Background-Migrations",
    "/background-migrations//", "//background-migrations", "//background-migrations/",
    "/background-migrations/0", "/background-migrations/07", "/background-migrations/-1",
    "/background-migrations/+7", "/background-migrations/7x", "/background-migrations/x7",
    "/background-migrations/7.0", "/background-migrations/0x7", "/background-migrations/7e0",
    "/background-migrations/ 7", "/background-migrations/7 ", "/background-migrations/%37",
    "/background-migrations/\N{SUPERSCRIPT TWO}", "/background-migrations/\N{FULLWIDTH DIGIT SEVEN}",
    "/background-migrations/{id}", "/background-migrations/7//", "/background-migrations//7",
    "/background-migrations/status", "/background-migrations/7/nonsense", "/background-migrations/0/pause",
    "/background-migrations/paus", "/background-migrations/pause/x", "/background-migrations/pause//",
    "/background-migrations/PAUSE", "/background-migrations/restart",
    "/bbm/7", "/bbm/page.html", "/bbm/bare.html", "/bbm/page.js/x", "/bbm/page", "/page.js", "/bbm/list", "/bbm/status/7", "/bbm/statuses", "/bbm/stat", "/bbm//status",
    "/bbm/restart", "/restart", "/restart/0", "/restart/x",
    "/background-migrations/.", "/background-migrations/..", "/bbm/../bbm/status", "/./bbm/status",
    "/background-migrations?n=1", "/background-migrations/7?", "/background-migrations;x", "/bbm/status#x",
    "/background-migrations\n", "/background-migrations/7\n", "/background-migrations\t/",
)  # fmt: skip
OUTSIDE = (
    "/", "", "v1/gitlab/bbm/status", "/v1", "/v1/", "/v1/gitlab", "/gitlab/v1", "/gitlab", "/background-migrations",
    "/background-migrations/", "/bbm/status", "/v1/gitlab/v1/bbm/status", "/gitlab/v1/gitlab/bbm/status",
    "/v2/gitlab/bbm/status", "/v1/gitlabx/bbm/status", "/x/v1/gitlab/bbm/status", "//v1/gitlab/bbm/status",
    "/V1/gitlab/bbm/status", "/v1//gitlab/bbm/status",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        site.database.add_migration("seven", id=7, status=0)
        yield site


@pytest.fixture
def ask(site, token):
    """At the service's own socket: a web server would tidy the path up."""

    def ask(method, path, token=token, **params):
        return fastcgi.ask(site.service.address, fastcgi.parameters(method, path, token, **params))

    return ask


def assert_error(answer, status, body):
    assert answer.status == status, answer
    assert answer.header("Content-Type") == "application/json"
    assert answer.json == body


def methods(answer):
    return {method.strip() for method in answer.header("Allow").split(",")}


# Unknown routes


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("path", NO_ROUTES)
def test_no_such_route_under_a_base(ask, base, path):
    assert_error(ask("GET", base + path), 404, NOT_FOUND)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_such_route_outside_the_bases(ask, path):
    assert_error(ask("GET", path), 404, NOT_FOUND)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "NONSENSE"])
def test_no_such_route_whatever_the_method_and_the_token(ask, method):
    for token in (None, "bad"):
        assert_error(ask(method, routes.LIST + "0/", token), 404, NOT_FOUND)


def test_no_such_route_through_nginx(site, token):
    for path in ("/v1/gitlab/nonsense", "/gitlab/v1/background-migrations/07/", "/v1/gitlab/"):
        assert_error(site.client.get(path, token), 404, NOT_FOUND)


def test_nginx_decodes_the_path_once(site, token):
    assert site.client.get(routes.LIST + "%37/", token).json["migration"]["id"] == 7
    assert_error(site.client.get(routes.LIST + "%2537/", token), 404, NOT_FOUND)


def test_a_route_is_answered_where_it_is_and_not_redirected(site, token):
    for route in ROUTES:
        for slash in ("", "/"):
            path = routes.ONE_BASE + route.path.format(id=7) + slash
            answer = site.client.request(route.method, path, token)
            assert answer.status == 200 and answer.header("Location") is None


def test_a_query_does_not_change_the_route(ask):
    for query in ("x=1", "n=5&last=2", "?&=%%%", "\xff" * 10):
        answer = ask("GET", routes.one(7), QUERY_STRING=query)
        assert (answer.status, answer.json["errors"][0]["code"]) == (400, "INVALID_QUERY_PARAMETER_NAME")
    for query in ("", "&", "&&"):
        answer = ask("GET", routes.one(7), QUERY_STRING=query)
        assert (answer.status, answer.json["migration"]["id"]) == (200, 7)


# Methods


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("route", ROUTES)
def test_other_methods_are_told_which_are_allowed(site, token, route, base, slash):
    path = base + route.path.format(id=7) + slash
    wrong = {"GET", "POST", "PUT", "DELETE", "PATCH"} - {route.method}
    for method in sorted(wrong):
        for given in (None, token):
            answer = site.client.request(method, path, given)
            assert_error(answer, 405, UNSUPPORTED)
            assert_allows(answer, route)


def test_odd_methods_are_told_too(ask):
    for method in ("get", "Get", "GETT", "TRACE", "CONNECT", "PROPFIND", "", " GET", "HEADS", "X" * 5000):
        answer = ask(method, routes.LIST)
        assert_error(answer, 405, UNSUPPORTED)
        assert_allows(answer, ROUTES[0])


def test_head_is_allowed_where_get_is_only(ask):
    for route in ROUTES:
        expected = 200 if route.method == "GET" else 405
        assert ask("HEAD", routes.ONE_BASE + route.path.format(id=7)).status == expected


@pytest.mark.parametrize("route", ROUTES)
def test_options_needs_no_token(site, route):
    for base in routes.BASES:
        answer = site.client.request("OPTIONS", base + route.path.format(id=7) + "/")
        assert answer.status in (200, 204), answer
        assert answer.header("WWW-Authenticate") is None
        assert_allows(answer, route)


def test_options_does_not_look_for_the_migration(site):
    assert_allows(site.client.request("OPTIONS", routes.one(12345)), ROUTES[1])


def assert_allows(answer, route):
    expected = {"GET", "HEAD", "OPTIONS"} if route.method == "GET" else {"POST", "OPTIONS"}
    assert methods(answer) == expected


# HEAD


@pytest.mark.parametrize(
    "path", [routes.LIST, routes.one(7), routes.one(8), routes.one(10**20), "/v1/gitlab/bbm/status"]
)
@pytest.mark.parametrize("authorized", [True, False], ids=["with token", "without"])
def test_head_is_get_without_the_body(site, token, path, authorized):
    given = token if authorized else None
    get, head = site.client.get(path, given), site.client.request("HEAD", path, given)
    assert head.status == get.status
    assert head.body == b""
    varying = {"date", "x-request-id", "connection"}

    def headers(answer):
        return {(name.lower(), value) for name, value in answer.headers if name.lower() not in varying}

    assert headers(head) == headers(get)
    assert len(get.body) > 10


def test_head_has_no_body_at_the_socket_either(ask):
    for path in (routes.LIST, routes.one(7), routes.one(8)):
        assert ask("HEAD", path).body == b""
    assert ask("HEAD", routes.LIST, token=None).body == b""
    assert ask("HEAD", "/v1/gitlab/nonsense").body == b""


# What is judged first


def test_route_before_method(ask):
    assert ask("DELETE", "/v1/gitlab/nonsense", token=None).status == 404


def test_method_before_token(ask):
    assert ask("POST", routes.LIST, token=None).status == 405
    assert ask("GET", routes.PAUSE, token="bad").status == 405
    assert ask("POST", routes.one(10**20), token=None).status == 405


def test_token_before_id(ask):
    assert_refused(ask("GET", routes.one(10**20), token=None), "read", NO_TOKEN)
    assert_refused(ask("GET", routes.one(12345), token=None), "read", NO_TOKEN)


def test_id_before_database(servers, token):
    """An impossible id is refused without a look into the database; a possible one is looked up there."""
    with servers.service("no_such_database") as service:
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.one(10**20), token))
        assert answer.status == 400
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.one(12345), token))
        assert answer.status == 503
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST))
        assert answer.status == 401
