"""An HTTP client that sends exactly what a test gives it and follows nothing."""

import contextlib
import http.client

from . import openapi
from .answer import Answer
from .timing import longer


class Client:
    def __init__(self, port, host="127.0.0.1"):
        self.host = host
        self.port = port

    def connect(self, timeout=15):
        return contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=longer(timeout)))

    def request(self, method, path, token=None, authorization=None, headers=None, body=None):
        with self.connect() as connection:
            return send(connection, method, path, token, authorization, headers, body)

    def get(self, path, token=None, **more):
        return self.request("GET", path, token, **more)

    def post(self, path, token=None, **more):
        return self.request("POST", path, token, **more)


def send(connection, method, path, token=None, authorization=None, headers=None, body=None):
    """One request on a connection that may be used again."""
    sent = dict(headers or {})
    if token is not None:
        authorization = f"Bearer {token}"
    if authorization is not None:
        sent["Authorization"] = authorization
    # A server may refuse a body before all of it is sent, and read no further.
    with contextlib.suppress(BrokenPipeError):
        connection.request(method, path, body=body, headers=sent)
    response = connection.getresponse()
    content = response.read()
    return openapi.check(method, path, Answer(response.status, response.getheaders(), content))
