"""The API's description, fcgi/page/openapi.json, held against every answer that a test receives.

Stricter than a client may be: what is not described must not come. An answer is the service's own
where it carries a correlation id; what a web server says by itself is not judged here.
"""

import copy
import functools
import hashlib
import json
import os
import re

import jsonschema

from .answer import read_json
from .postgres import REPOSITORY
from .rows import read_time

SOURCE = os.path.join(REPOSITORY, "fcgi", "page", "openapi.json")

# Of HTTP itself, and of web servers.
COMMON = {
    "accept-ranges", "connection", "content-length", "content-type", "date", "keep-alive", "server", "status",
    "transfer-encoding", "upgrade", "vary", "via",
}  # fmt: skip

# In the place of another answer, and with its headers.
LAST_RESORT = b"out of memory; whether a change took effect is not known"

formats = jsonschema.FormatChecker(formats=())


@formats.checks("int64", raises=ValueError)
def _is_int64(value):
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@formats.checks("date-time", raises=ValueError)
def _is_time(value):
    return not isinstance(value, str) or bool(read_time(value))


def load():
    with open(SOURCE, encoding="utf-8") as file:
        return json.load(file)


class Description:
    def __init__(self, document):
        self.document = self._expand(document)
        self.paths = [(self._pattern(path), path) for path in self.document["paths"]]
        self._validators = {}
        self._good = set()  # digests of bodies that were found good

    # The document

    def _expand(self, node, root=None):
        """With each $ref's target in its place."""
        root = root or node
        if isinstance(node, dict) and "$ref" in node:
            target = root
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self._expand(target, root)
        if isinstance(node, dict):
            return {name: self._expand(value, root) for name, value in node.items()}
        return [self._expand(value, root) for value in node] if isinstance(node, list) else node

    @staticmethod
    def _pattern(path):
        return re.compile("[1-9][0-9]*".join(re.escape(part) for part in path.rstrip("/").split("{id}")) + "/?")

    def path_of(self, asked):
        """The document's path for one that was asked for; None where there is none."""
        asked = asked.split("?")[0]
        based = re.search(r"(/v1/gitlab|/gitlab/v1)(/.*)", asked)
        for pattern, path in self.paths:
            if path.startswith("/-/") == (based is None) and pattern.fullmatch(based[2] if based else asked):
                return path
        return None

    def response(self, method, path, status):
        """What the document says of this answer; None where it says nothing."""
        if path is None:
            name = {404: "NoSuchRoute", 503: "Unavailable"}.get(status)
            return self.document["components"]["responses"].get(name)
        operations = {name: node for name, node in self.document["paths"][path].items() if "responses" in node}
        operation = operations.get({"HEAD": "get"}.get(method, method.lower()))
        if operation is None and status in (405, 503):
            operation = next(node for name, node in operations.items() if name != "options")
        return operation and operation["responses"].get(str(status))

    # An answer

    def check(self, method, asked, answer):
        if answer.header("X-Request-Id") is None:
            return
        what = f"{method} {asked[:200]}: {answer!r}"
        # Which path is a route is for other tests.
        path = None if answer.status == 404 and b'"NOT_FOUND"' in answer.body else self.path_of(asked)
        response = self.response(method, path, answer.status)
        if path is None and response is None:
            return  # a path in a form that only the service understands
        assert response, f"not described: {what}"
        self._check_headers(response, answer, what)
        content = response.get("content", {})
        if answer.body or (content and method != "HEAD"):
            self._check_body(content, answer, what)

    def _check_headers(self, response, answer, what):
        described = {name.lower(): header for name, header in response["headers"].items()}
        for name, value in answer.headers:
            if name.lower() in COMMON or LAST_RESORT in answer.body:
                continue
            assert name.lower() in described, f"the header {name} is not described: {what}"
            self._validate(described[name.lower()]["schema"], value, f"{name}: {what}")
        given = {name.lower() for name, _ in answer.headers}
        for name, header in described.items():
            assert name in given or not header.get("required"), f"the header {name} is missing: {what}"

    def _check_body(self, content, answer, what):
        assert answer.body, f"the body is missing: {what}"
        kind = (answer.header("Content-Type") or "").split(";")[0]
        assert kind in content, f"a body of type {kind!r} is not described: {what}"
        if kind == "application/json":
            self._validate(content[kind]["schema"], answer.body, what)

    def _validate(self, schema, value, what):
        digest = (id(schema), hashlib.sha256(value).digest() if isinstance(value, bytes) else value)
        if digest in self._good:
            return
        if id(schema) not in self._validators:
            self._validators[id(schema)] = jsonschema.Draft202012Validator(closed(schema), format_checker=formats)
        instance = read_json(value) if isinstance(value, bytes) else value
        error = jsonschema.exceptions.best_match(self._validators[id(schema)].iter_errors(instance))
        if error:
            raise AssertionError(f"{'/'.join(map(str, error.absolute_path))}: {error.message}: {what}")
        self._good.add(digest)


def closed(schema):
    """A copy in which an object has the described members and no other."""
    schema = copy.deepcopy(schema)
    _close(schema)
    return schema


def _close(schema):
    if isinstance(schema, list):
        for part in schema:
            _close(part)
    elif isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)


@functools.lru_cache(maxsize=None)
def description():
    return Description(load())


def check(method, asked, answer):
    description().check(method, asked, answer)
    return answer
