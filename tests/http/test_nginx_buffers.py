"""deploy/nginx: a list of 118 KB, more than a registry of 193 migrations has, stays in nginx's memory, however slowly it is read."""

import os
import socket

import pytest
from harness import routes
from harness.nginx import MAIN, Nginx

MIGRATIONS = 300


@pytest.fixture
def nginx(servers):
    """With a log that says when an answer goes to a temporary file."""
    with servers.database() as database, servers.service(database.name) as service:
        for number in range(MIGRATIONS):
            database.add_migration(f"post_deployment_migration_with_a_long_name_{number}", total_tuple_count=10**6)
        main = MAIN.replace("error.log;", "error.log warn;").replace("{port};", "{port} sndbuf=4k;")
        nginx = Nginx(servers.workspace.folder(servers.unique("nginx")), service.address, main)
        try:
            yield nginx
        finally:
            nginx.stop()


def read_late(port, path, token):
    """The answer to a client whose socket takes little, and that reads only when nginx has it all."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        client.sendall(request.encode())
        client.settimeout(10)
        parts = [client.recv(100)]
        while parts[-1]:
            parts.append(client.recv(1000))
        return b"".join(parts)


def test_a_long_list_stays_in_memory(nginx, token):
    for _ in range(5):
        answer = read_late(nginx.port, routes.LIST, token)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert 80_000 < len(body) < 128 * 1024
    with open(os.path.join(nginx.folder, "error.log"), encoding="utf-8") as log:
        assert "temporary file" not in log.read()
