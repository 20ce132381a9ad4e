"""The API's description names the routes that the table has. harness/openapi.py checks that each
answer of the tests is as described."""

import json
import os
import re

import jsonschema
import pytest
from harness import openapi, routes
from harness.answer import Answer
from harness.postgres import REPOSITORY

METHODS = {"get", "post", "put", "delete", "patch", "head", "options", "trace"}


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        site.database.add_migration("seven", id=7, status=3)
        yield site


def table():
    """(method, path) of each row of the router's tables."""
    with open(os.path.join(REPOSITORY, "fcgi", "api", "routes.c"), encoding="utf-8") as file:
        rows = re.findall(r'^    \{"([A-Z]+)", "([^"]+)",', file.read(), re.M)
    return {(method.lower(), pattern.strip("/")) for method, pattern in rows}


def described():
    document = openapi.load()
    return {(method, path.strip("/")) for path, item in document["paths"].items() for method in METHODS & set(item)}


def test_same_routes_as_in_the_table():
    rows = table()
    assert len(rows) > 20
    assert {route for route in described() if route[0] != "options"} == rows


def test_each_path_has_options():
    assert {path for method, path in described() if method == "options"} == {path for _, path in table()}


def test_each_described_route_is_there(site, token):
    for method, path in described():
        asked = "/" + path if path.startswith("-/") else f"{routes.ONE_BASE}/{path.format(id=7)}"
        answer = site.client.request(method.upper(), asked, token)
        assert answer.status not in (405, 500) and b'"code":"NOT_FOUND"' not in answer.body, (method, path, answer)


def test_served_as_in_the_source_and_version_3_1(site):
    document = site.client.get("/v1/gitlab/bbm/openapi.json").json
    assert document == openapi.load() and document["openapi"] == "3.1.0"


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_each_component_is_there_and_used():
    document = openapi.load()
    used = set(references(document))
    there = {f"#/components/{kind}/{name}" for kind, entries in document["components"].items() for name in entries}
    apart = {"#/components/securitySchemes/token", "#/components/responses/NoSuchRoute"}
    assert used | apart == there


def test_schemas_are_schemas():
    document = openapi.description().document
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, item in document["paths"].items():
        names = set(re.findall(r"\{(\w+)\}", path))
        assert names == {entry["name"] for entry in item.get("parameters", []) if entry["in"] == "path"}
        for method in METHODS & set(item):
            operation = item[method]
            assert all(int(status) for status in operation["responses"])
            assert all("description" in response and "headers" in response for response in operation["responses"].values())


def test_same_error_codes_as_in_the_program():
    codes = set()
    for name in ("error.c", "error.h"):
        with open(os.path.join(REPOSITORY, "fcgi", "base", name), encoding="utf-8") as file:
            codes |= set(re.findall(r'"([A-Z][A-Z_]{4,})"', file.read()))
    item = openapi.load()["components"]["schemas"]["Errors"]["properties"]["errors"]["items"]
    assert len(codes) > 12 and set(item["properties"]["code"]["enum"]) == codes
    named = set(re.findall(r'"([A-Z][A-Z_]{4,})"', json.dumps(openapi.load()["components"]["responses"])))
    assert named <= codes


def test_operations_have_names_of_their_own():
    document = openapi.load()
    names = [node["operationId"] for item in document["paths"].values() for node in item.values() if "operationId" in node]
    assert len(names) == len(set(names)) == len(table())


@pytest.mark.parametrize("moment", ["-infinity", "infinity"])
def test_what_is_no_moment_is_left_out(site, token, moment):
    """Each answer is held against the description as it comes."""
    identity = site.database.add_migration(f"made at {moment}", status=1, created_at=moment)
    site.database.add_jobs(identity, 3, 1, created_at=moment)
    for path in (routes.LIST, routes.one(identity), routes.jobs(identity)):
        answer = site.client.get(path, token)
        assert answer.status == 200
        rows = answer.json.get("jobs") or answer.json.get("migrations", [answer.json.get("migration")])
        assert [row["id"] for row in rows if "created_at" not in row]


# The check itself


GOOD = {"X-Request-Id": "abc", "Cache-Control": "no-store", "Content-Type": "application/json"}


def answer(status=200, body='{"migrations": [], "job_in_flight": false}', **headers):
    headers = {**GOOD, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Answer(status, [header for header in headers.items() if header[1] is not None], body.encode())


def migration(**changes):
    row = {
        "id": 1, "name": "n", "status": "paused", "job_signature_name": "", "target_table": "", "target_column": "",
        "batch_size": 1, "min_value": 0, "max_value": 0, "batching_strategy": "", "finished_jobs": 0, "failed_jobs": 0,
        "created_at": "2026-01-01T00:00:00Z", **changes,
    }  # fmt: skip
    return json.dumps({"migrations": [row], "job_in_flight": False})


WRONG = {
    "a status that is not described": answer(418),
    "a header that is not described": answer(X_Other="1"),
    "no Cache-Control": answer(Cache_Control=None),
    "another Cache-Control": answer(Cache_Control="public"),
    "another type": answer(Content_Type="text/html"),
    "no body": answer(body=""),
    "a member that is not described": answer(body='{"migrations": [], "job_in_flight": false, "more": 1}'),
    "a member of another type": answer(body=migration(id="1")),
    "a member that is missing": answer(body='{"migrations": [{"id": 1}], "job_in_flight": false}'),
    "a state that is none": answer(body=migration(status="stopped")),
    "a time that is none": answer(body=migration(updated_at="yesterday")),
    "a number beyond 64 bits": answer(body=migration(max_value=2**63)),
    "an error's code that is none of this status's": answer(400, '{"errors": [{"code": "UNKNOWN", "message": "m"}]}'),
    "a 401 without a challenge": answer(401, '{"errors": [{"code": "UNAUTHORIZED", "message": "m", "detail": []}]}'),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_not_described_is_found(wrong):
    with pytest.raises(AssertionError):
        openapi.check("GET", routes.LIST, wrong)


def test_what_is_described_passes():
    openapi.check("GET", routes.LIST, answer())
    openapi.check("GET", routes.LIST, answer(body=migration(progress=12.5)))
    openapi.check("GET", routes.LIST, Answer(502, [("Content-Type", "text/html")], b"Bad Gateway"))
