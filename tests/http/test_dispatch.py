"""How requests arrive: three forms of the path, a prefix, bodies, kept connections, two services."""

import grp
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.client import send
from harness.fastcgi import Connection, parameters
from harness.ports import on_free_port
from harness.service import listening_socket

PREFIX = "/some/prefix"


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        site.database.add_migration("seven", id=7, status=0)
        yield site


@pytest.fixture(scope="module")
def prefixed(servers, site):
    with servers.service(site.database.name, changes={"http": {"prefix": PREFIX}}) as service:
        yield service


def whole_path_info(mount, rest):
    """nginx with SCRIPT_NAME emptied."""
    return {"PATH_INFO": mount + rest, "SCRIPT_NAME": ""}


def whole_path_info_alone(mount, rest):
    return {"PATH_INFO": mount + rest, "SCRIPT_NAME": None}


def whole_path_info_beside_script_name(mount, rest):
    """nginx with its fastcgi_params as they come."""
    return {"PATH_INFO": mount + rest, "SCRIPT_NAME": mount + rest}


def split_at_the_mount(mount, rest):
    """Apache's ScriptAlias."""
    return {"PATH_INFO": rest, "SCRIPT_NAME": mount}


def no_path_info(mount, rest):
    """mod_proxy_fcgi as it comes."""
    return {"PATH_INFO": None, "SCRIPT_NAME": mount + rest}


def empty_path_info(mount, rest):
    return {"PATH_INFO": "", "SCRIPT_NAME": mount + rest}


FORMS = (
    whole_path_info, whole_path_info_alone, whole_path_info_beside_script_name, split_at_the_mount, no_path_info,
    empty_path_info,
)  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_path_reaches_each_route(site, token, form, route, base, slash):
    path = form(base, route.path.format(id=7) + slash)
    answer = fastcgi.ask(site.service.address, parameters(route.method, "", token, **path))
    assert answer.status == 200, answer
    assert_is_the_answer_of(answer, route)


def assert_is_the_answer_of(answer, route):
    if route.path in routes.LISTS:
        assert [migration["id"] for migration in answer.json["migrations"]] == [7]
    elif route.method == "GET":
        assert answer.json["migration"]["id"] == 7
    else:
        assert answer.json["message"] == (routes.PAUSED if route.path in routes.PAUSES else routes.RESUMED)


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_path_with_a_prefix(prefixed, token, form, route, base):
    path = form(PREFIX + base, route.path.format(id=7) + "/")
    answer = fastcgi.ask(prefixed.address, parameters(route.method, "", token, **path))
    assert answer.status == 200, answer
    assert_is_the_answer_of(answer, route)


@pytest.mark.parametrize("form", FORMS)
def test_a_mount_at_the_prefix(prefixed, token, form):
    path = form(PREFIX, "/v1/gitlab/bbm/status/")
    assert fastcgi.ask(prefixed.address, parameters("GET", "", token, **path)).status == 200


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mount", ["/v1/gitlab", "/some/v1/gitlab", "/some/prefixes/v1/gitlab", "/prefix/v1/gitlab"])
def test_another_prefix_is_no_route(prefixed, token, form, mount):
    answer = fastcgi.ask(prefixed.address, parameters("GET", "", token, **form(mount, "/bbm/status/")))
    assert (answer.status, answer.json["errors"][0]["code"]) == (404, "NOT_FOUND")


def test_a_prefix_as_the_registry_takes_it(servers, site, token):
    """The registry's documentation asks for slashes on both sides."""
    with servers.service(site.database.name, changes={"http": {"prefix": PREFIX + "/"}}) as service:
        for base in routes.BASES:
            answer = fastcgi.ask(service.address, parameters("GET", f"{PREFIX}{base}/bbm/status", token))
            assert answer.status == 200


@pytest.mark.parametrize("prefix", ["", "/"])
def test_a_prefix_that_is_none(servers, site, token, prefix):
    with servers.service(site.database.name, changes={"http": {"prefix": prefix}}) as service:
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        {"PATH_INFO": None, "SCRIPT_NAME": None},
        {"PATH_INFO": "", "SCRIPT_NAME": ""},
        {"PATH_INFO": "/bbm/status", "SCRIPT_NAME": "/v1/git"},
        {"PATH_INFO": None, "SCRIPT_NAME": None, "REQUEST_URI": routes.LIST},
    ],
    ids=["neither", "both empty", "half a mount", "only REQUEST_URI"],
)
def test_a_path_that_is_none_of_the_forms_is_no_route(site, token, path):
    answer = fastcgi.ask(site.service.address, parameters("GET", "", token, **path))
    assert (answer.status, answer.json["errors"][0]["code"]) == (404, "NOT_FOUND")


# Bodies


# For a write, which takes parameters in a JSON object of up to 4 KiB.
JUDGED_BODIES = {b"{}": 200, b" " * 4094 + b"{}": 200, b"x" * 5000: 413, b"\x00\xff\r\n\r\n": 400, b"abcdef": 400}


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("body", JUDGED_BODIES, ids=["json", "bound", "long", "binary", "text"])
def test_a_body_is_judged_on_a_write_and_passed_over_else(site, token, route, body):
    path = routes.ONE_BASE + route.path.format(id=7)
    answer = site.client.request(route.method, path, token, body=body)
    assert answer.status == (JUDGED_BODIES[body] if route.access == "write" else 200), answer
    if answer.status == 200:
        assert_is_the_answer_of(answer, route)


@pytest.mark.parametrize("parts, status", [([b"{", b"}"], 200), ([b"abc", b"def"], 400), ([b" " * 4000] * 2, 413)])
def test_a_chunked_body_is_judged_as_any_other(site, token, parts, status):
    with site.client.connect() as connection:
        connection.request("POST", routes.PAUSE, body=iter(parts), encode_chunked=True,
                           headers={"Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().status == status


def test_a_body_does_not_spoil_the_connection_for_the_next(site, token):
    with Connection(site.service.address) as connection:
        for body, status in {b"{}": 200, b"": 200, b" " * 4096: 400, fastcgi.begin(): 400, b"z" * 60000: 413}.items():
            params = parameters("POST", routes.PAUSE, token, CONTENT_LENGTH=str(len(body)))
            answer = connection.request(params, body)
            assert answer.status == status, answer
            assert connection.request(parameters("GET", routes.LIST, token)).status == 200


def test_a_body_beyond_the_bound_is_refused_and_nothing_done(site, token):
    """Its end is not waited for: a web server may pass on what comes as it comes."""
    before = site.database.migrations()
    params = parameters("POST", routes.RESUME, token, CONTENT_LENGTH=str(2**30))
    with Connection(site.service.address) as connection:
        connection.send(fastcgi.begin(keep=False) + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(params)))
        for _ in range(64):
            connection.send(fastcgi.record(fastcgi.STDIN, b"x" * 32768))
        answer = connection.answer()
    assert (answer.status, answer.json["errors"][0]["code"]) == (413, "SIZE_INVALID")
    assert site.database.migrations() == before


# Connections


def test_many_requests_on_one_kept_connection(site, token):
    with Connection(site.service.address) as connection:
        for number in range(50):
            route = routes.ROUTES[number % len(routes.ROUTES)]
            path = routes.ONE_BASE + route.path.format(id=7)
            answer = connection.request(parameters(route.method, path, token))
            assert answer.status == 200
            assert_is_the_answer_of(answer, route)


def test_many_requests_on_one_http_connection(site, token):
    with site.client.connect() as connection:
        for _ in range(20):
            assert send(connection, "GET", routes.LIST, token).status == 200
            assert send(connection, "HEAD", routes.LIST, token).status == 200
            assert send(connection, "GET", routes.LIST).status == 401
            assert send(connection, "POST", routes.PAUSE, token).status == 200


def test_without_keep_conn_the_service_closes(site, token):
    with Connection(site.service.address) as connection:
        assert connection.request(parameters("GET", routes.LIST, token), keep=False).status == 200
        assert connection.closed_by_service()


def test_nothing_of_one_request_is_left_for_the_next(site, keys):
    """Parameters of the request before on the same connection must not authorize this one."""
    with Connection(site.service.address) as connection:
        assert connection.request(parameters("GET", routes.LIST, keys.token("*"))).status == 200
        assert connection.request(parameters("GET", routes.LIST)).status == 401


@pytest.mark.parametrize("size", [1, 8, 100, 1000])
def test_a_request_in_pieces(site, token, size):
    request = fastcgi.request_bytes(parameters("GET", routes.one(7), token))
    with Connection(site.service.address) as connection:
        for start in range(0, len(request), size):
            connection.send(request[start : start + size])
        assert connection.answer().json["migration"]["id"] == 7
        assert connection.request(parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize("size", [1, 7, 8, 127, 1000])
def test_parameters_in_many_records(site, token, size):
    params = fastcgi.pairs(parameters("GET", routes.one(7), token))
    with Connection(site.service.address) as connection:
        connection.send(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, params, size, padding=3))
        connection.send(fastcgi.record(fastcgi.STDIN))
        assert connection.answer().json["migration"]["id"] == 7


def test_long_and_many_parameters(site, token):
    for more in ({"HTTP_COOKIE": "c" * 12000}, {f"HTTP_X_{n}": "v" * n for n in range(200)}, {"HTTP_" + "N" * 300: ""}):
        answer = fastcgi.ask(site.service.address, parameters("GET", routes.one(7), token, **more))
        assert answer.status == 200


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"REQUEST_METHOD": "GET"},
        {"PATH_INFO": routes.LIST},
        {"": ""},
        {"REQUEST_METHOD": "GET", "PATH_INFO": b"/v1/gitlab/\xff\xfe\x00\x01"},
        {"REQUEST_METHOD": b"\xff\x00", "PATH_INFO": routes.LIST},
        {"REQUEST_METHOD": "GET", "PATH_INFO": routes.LIST, "HTTP_AUTHORIZATION": b"Bearer \xff\xff"},
        {"REQUEST_METHOD": "GET", "PATH_INFO": routes.LIST, "CONTENT_LENGTH": "-1"},
        {"REQUEST_METHOD": "GET", "PATH_INFO": routes.LIST, "CONTENT_LENGTH": "x"},
        {"REQUEST_METHOD": "GET", "PATH_INFO": routes.LIST, "CONTENT_LENGTH": "9" * 30},
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/" * 30000},
    ],
    ids=[
        "none", "no path", "no method", "nameless", "bytes in the path", "bytes in the method", "bytes in the token",
        "negative length", "length no number", "length beyond", "slashes",
    ],
)  # fmt: skip
def test_odd_parameters_are_answered_with_a_client_error(site, token, params):
    answer = fastcgi.ask(site.service.address, params)
    assert 400 <= answer.status < 500, answer
    assert answer.json["errors"]
    assert fastcgi.ask(site.service.address, parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 64, b"\xff" * 64, fastcgi.begin(role=9), fastcgi.begin()[:5]],
    ids=["http", "zeros", "ones", "unknown role", "half a header"],
)
def test_noise_does_not_keep_others_from_being_served(site, token, noise):
    with Connection(site.service.address) as connection:
        connection.send(noise)
        answer = fastcgi.ask(site.service.address, parameters("GET", routes.LIST, token))
        assert answer.status == 200


def test_silent_and_half_sent_connections_cost_no_thread(servers, site, token):
    whole = fastcgi.request_bytes(parameters("GET", routes.LIST, token))
    with servers.service(site.database.name, changes={"fcgi": {"threads": 2}}) as service:
        idle = [Connection(service.address) for _ in range(12)]
        for number, connection in enumerate(idle):
            connection.send(whole[: number * 30])
        kept = [Connection(service.address) for _ in range(4)]
        for connection in kept:
            assert connection.request(parameters("GET", routes.LIST, token)).status == 200
        with Connection(service.address, timeout=2) as another:
            assert another.request(parameters("GET", routes.LIST, token)).status == 200
        for number, connection in enumerate(idle):
            connection.send(whole[number * 30 :])
            assert connection.answer().status == 200
        for connection in idle + kept:
            connection.socket.close()


def test_a_request_given_up_half_way_does_not_delay_the_end(servers, site, token):
    whole = fastcgi.request_bytes(parameters("POST", routes.RESUME, token))
    with servers.service(site.database.name) as service:
        for length in (1, 8, 20, 300, len(whole) - 8):
            with Connection(service.address) as connection:
                connection.send(whole[:length])
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200
        started = time.monotonic()
        service.stop()
        assert time.monotonic() - started < 2


# Where it listens


def test_on_a_tcp_port(servers, site, token):
    def start_and_ask(port):
        with servers.service(site.database.name, listen=("127.0.0.1", port)) as service:
            with Connection(service.address) as connection:
                for byte in fastcgi.request_bytes(parameters("GET", routes.LIST, token)):
                    connection.send(bytes([byte]))
                assert connection.answer().status == 200
            with servers.nginx(service) as client:
                assert client.get(routes.LIST, token).status == 200

    on_free_port(start_and_ask)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_on_a_socket_inherited_as_descriptor_0(servers, site, token, kind):
    address = servers.socket_path() if kind == "unix" else ("127.0.0.1", 0)
    with listening_socket(address) as listener:
        address = listener.getsockname()
        if kind == "unix":
            servers.open_to_servers(address)
        with servers.service(site.database.name, listen=address, inherited=listener) as service:
            assert fastcgi.ask(address, parameters("GET", routes.LIST, token)).status == 200
            with servers.nginx(service) as client:
                assert client.post(routes.PAUSE, token).status == 200
                assert client.get(routes.LIST, token).status == 200


def test_a_socket_left_behind_is_taken_over(servers, site, token):
    """A service that was killed cannot take its socket away."""
    path = servers.socket_path()
    with listening_socket(path):
        servers.open_to_servers(path)
    with servers.service(site.database.name, listen=path) as service:
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


@pytest.mark.parametrize("mode", ["0660", "0600", "0666"])
def test_the_sockets_mode_is_as_configured(servers, site, mode):
    with servers.service(site.database.name, changes={"fcgi": {"mode": mode}}) as service:
        assert servers.mode_of(service.address) == int(mode, 8)


def test_the_sockets_group_is_as_configured(servers, site):
    number = servers.group_of_servers()
    changes = {"fcgi": {"group": grp.getgrgid(number).gr_name}}
    with servers.service(site.database.name, changes=changes) as service:
        assert os.stat(service.address).st_gid == number


def test_two_services_answer_for_their_own_database(servers, site, token):
    with servers.database() as database, servers.site(database) as other:
        database.add_migration("eleven", id=11, status=1)
        assert other.client.get(routes.one(11), token).status == 200
        assert other.client.get(routes.one(7), token).status == 404
        assert site.client.get(routes.one(7), token).status == 200
        assert site.client.get(routes.one(11), token).status == 404


def test_two_services_on_one_database(servers, site, token):
    with servers.site(site.database) as other:
        site.client.post(routes.RESUME, token)
        assert other.client.get(routes.one(7), token).json["migration"]["status"] == "active"
        other.client.post(routes.PAUSE, token)
        assert site.client.get(routes.one(7), token).json["migration"]["status"] == "paused"


def test_many_at_once(site, token):
    def work(number):
        route = routes.ROUTES[number % len(routes.ROUTES)]
        answer = site.client.request(route.method, routes.ONE_BASE + route.path.format(id=7), token)
        assert_is_the_answer_of(answer, route)
        return answer.status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(300))) == {200}
