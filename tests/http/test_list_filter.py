"""The list's filter and the entity tags, contract section 1."""

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import Connection, parameters
from harness.rows import STATUS

ALL = ("paused", "active", "finished", "failed", "running")
TAG = 'W/"'


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        for status in (*STATUS, *STATUS, 5, -1, 32):
            database.add_migration(f"m{status} {database.rows('SELECT random() AS n')[0]['n']}", status=status)
        yield database


@pytest.fixture
def ask(service, token):
    def ask(path=routes.LIST, query="", method="GET", **more):
        return fastcgi.ask(service.address, parameters(method, path, token, QUERY_STRING=query, **more))

    return ask


# The filter


@pytest.mark.parametrize("path", routes.LISTS)
@pytest.mark.parametrize(
    "states", [*((state,) for state in ALL), ("paused", "failed"), ("failed", "paused"), ALL, ("active", "active")], ids=",".join
)
def test_the_states_that_are_asked_for_and_no_other(ask, path, states):
    everything = ask(routes.ONE_BASE + path).json["migrations"]
    answer = ask(routes.ONE_BASE + path, "status=" + ",".join(states))
    assert answer.status == 200
    assert answer.json["migrations"] == [migration for migration in everything if migration["status"] in states]
    assert len(answer.json["migrations"]) == 2 * len(set(states))


def test_without_one_of_that_state(servers, database, token):
    with servers.database() as empty, servers.service(empty.name) as service:
        answer = fastcgi.ask(service.address, parameters("GET", routes.LIST, token, QUERY_STRING="status=failed"))
        assert answer.json["migrations"] == []


@pytest.mark.parametrize("value", ["", "nope", "unknown", "failed,", ",failed", "failed,,paused", "Failed", "3", "failed paused"])
def test_a_bad_filter(ask, value):
    answer = ask(query=f"status={value.replace(' ', '+')}")
    words = "one or several of paused, active, finished, failed, running, with a comma between"
    detail = f"the 'status' query parameter must be {words}"
    expected = error_body("INVALID_QUERY_PARAMETER_VALUE", "invalid query parameter value", detail)
    assert (answer.status, answer.json) == (400, expected)


def test_the_filtered_list_is_never_given_to_others(service, token):
    """Lists share a body; those with a filter have one of their own."""
    with Connection(service.address) as connection:
        for _ in range(3):
            whole = connection.request(parameters("GET", routes.LIST, token)).json["migrations"]
            some = connection.request(parameters("GET", routes.LIST, token, QUERY_STRING="status=paused")).json["migrations"]
            assert (len(whole), len(some)) == (13, 2)


# Entity tags


@pytest.mark.parametrize("path, query", [(routes.LIST, ""), (routes.LIST, "status=failed,active"), (routes.one(2), "")])
def test_a_tag_stands_for_its_body(ask, database, path, query):
    first = ask(path, query)
    tag = first.header("ETag")
    assert tag.startswith(TAG) and ask(path, query).header("ETag") == tag
    again = ask(path, query, HTTP_IF_NONE_MATCH=tag)
    assert (again.status, again.body, again.header("ETag")) == (304, b"", tag)
    assert ask(path, query, "HEAD", HTTP_IF_NONE_MATCH=tag).status == 304

    database.execute("UPDATE batched_background_migrations SET batch_size = batch_size + 1 WHERE id = 2")
    other = ask(path, query, HTTP_IF_NONE_MATCH=tag)
    assert other.status == 200 and other.body != first.body and other.header("ETag") != tag


def test_a_job_that_finishes_changes_the_tag(ask, database):
    for path in (routes.LIST, routes.one(2)):
        tag = ask(path).header("ETag")
        database.add_jobs(2, 2, 1)
        assert ask(path, HTTP_IF_NONE_MATCH=tag).status == 200


def test_the_filter_is_a_part_of_it(ask):
    assert len({ask(query=query).header("ETag") for query in ("", "status=paused", "status=failed")}) == 3


@pytest.mark.parametrize(
    "form, status",
    [("{}", 304), ('W/"other", {}', 304), ("*", 304), ('W/"other"', 200), ("other", 200), ("", 200), ('{}x, ""', 304)],
)
def test_if_none_match(ask, form, status):
    tag = ask().header("ETag")
    for wanted in (form.format(tag), form.format(tag[2:])):
        assert ask(HTTP_IF_NONE_MATCH=wanted).status == status


def test_no_tag_without_access(service):
    answer = fastcgi.ask(service.address, parameters("GET", routes.LIST, HTTP_IF_NONE_MATCH="*"))
    assert (answer.status, answer.header("ETag")) == (401, None)


def test_what_is_no_answer_has_no_tag(ask):
    assert ask(routes.one(999), HTTP_IF_NONE_MATCH="*").status == 404
    assert ask(routes.PAUSE, method="POST", HTTP_IF_NONE_MATCH="*").status == 200
