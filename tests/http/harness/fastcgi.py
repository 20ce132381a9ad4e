"""FastCGI by hand, to send what no web server sends.

https://fastcgi-archives.github.io/FastCGI_Specification.html, sections 3 and 8.
"""

import re
import socket
import struct

from . import openapi
from .answer import Answer
from .timing import longer

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RESPONDER = 1
KEEP_CONNECTION = 1
HEADER = struct.Struct(">BBHHBx")


def record(kind, content=b"", request_id=1, padding=0):
    return HEADER.pack(1, kind, request_id, len(content), padding) + content + bytes(padding)


def stream(kind, content, size=65535, **more):
    """Content in records of at most size bytes, and the empty record that ends the stream."""
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(record(kind, part, **more) for part in parts) + record(kind)


def begin(keep=True, role=RESPONDER):
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, KEEP_CONNECTION if keep else 0))


def pairs(params):
    return b"".join(_pair(as_bytes(name), as_bytes(value)) for name, value in params.items())


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def _pair(name, value):
    return _length(len(name)) + _length(len(value)) + name + value


def _length(number):
    return bytes([number]) if number < 128 else struct.pack(">I", number | 0x80000000)


def request_bytes(params, body=b"", keep=True):
    return begin(keep) + stream(PARAMS, pairs(params)) + stream(STDIN, body)


def parameters(method, path, token=None, **more):
    """The whole path in PATH_INFO, as nginx sends it. A parameter of None is left out."""
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "registry.example.com",
        "REMOTE_ADDR": "192.0.2.7",
        "REQUEST_METHOD": method,
        "REQUEST_URI": path,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": "",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
    }
    if token is not None:
        params["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    params.update(more)
    return {name: value for name, value in params.items() if value is not None}


def family_of(address):
    if not isinstance(address, tuple):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Connection:
    """One connection to the service's own socket, a path or (host, port)."""

    def __init__(self, address, timeout=10):
        self.socket = socket.socket(family_of(address), socket.SOCK_STREAM)
        self.socket.settimeout(longer(timeout))
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, content):
        self.socket.sendall(content)

    def request(self, params, body=b"", keep=True):
        self.send(request_bytes(params, body, keep))
        asked = [text_of(params.get(name, "")) for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")]
        return openapi.check(asked[0], asked[1] + asked[2], self.answer())

    def answer(self):
        """Reads until END_REQUEST; nothing may come on the error stream."""
        output = b""
        while True:
            kind, content = self._record()
            if kind == STDOUT:
                output += content
            elif kind == END_REQUEST:
                application, protocol = struct.unpack(">IB3x", content)
                assert (application, protocol) == (0, 0), f"END_REQUEST says {application}, {protocol}"
                return read_cgi(output)
            else:
                assert kind == STDERR and not content, f"record of type {kind}: {content!r}"

    def closed_by_service(self):
        """Whether the service closes the connection in time, without a further byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _record(self):
        version, kind, _, length, padding = HEADER.unpack(self._exactly(HEADER.size))
        assert version == 1
        content = self._exactly(length)
        self._exactly(padding)
        return kind, content

    def _exactly(self, length):
        content = b""
        while len(content) < length:
            part = self.socket.recv(length - len(content))
            assert part, f"the connection ended in the middle of a record, after {content!r}"
            content += part
        return content


def text_of(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


def read_cgi(output):
    """A CGI answer, RFC 3875 section 6: Status is a header, 200 where there is none."""
    head, separator, body = output.partition(b"\r\n\r\n")
    assert separator, f"no end of headers in {output!r}"
    headers = [tuple(line.split(": ", 1)) for line in head.decode("ascii").split("\r\n")]
    assert all(len(header) == 2 for header in headers), f"headers: {head!r}"
    status = dict(headers).get("Status", "200 OK")
    assert re.fullmatch(r"[1-5]\d\d( .+)?", status), f"Status: {status!r}"
    return Answer(int(status[:3]), [header for header in headers if header[0] != "Status"], body)


def ask(address, params, body=b""):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        return connection.request(params, body, keep=False)
