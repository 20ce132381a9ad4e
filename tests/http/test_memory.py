"""What a service holds as a load of 64 clients ends: less than 12 MiB."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.kinds import load
from harness.resource import ResourceUsage

CLIENTS = 64
MOST = 12 * 1024
REQUESTS = (
    ("GET", routes.LIST),
    ("GET", routes.one(2)),
    ("GET", routes.jobs(2)),
    ("POST", routes.PAUSE),
    ("GET", routes.LIST),
    ("POST", routes.RESUME),
)


@pytest.mark.parametrize("failed_every", [200, 3], ids=["few failed jobs", "30,000 failed jobs"])
def test_eight_threads_with_prepared_statements_and_a_long_list(servers, token, failed_every):
    """The lists change meanwhile, by pauses, so that bodies are made over and over."""
    changes = {"database": {"preparedstatements": True}, "fcgi": {"threads": 8}}
    with servers.database() as database:
        load(servers, database, 193, 180000, failed_every)
        with servers.service(database.name, changes=changes) as service:

            def ask(number):
                with fastcgi.Connection(service.address, timeout=60) as connection:
                    for turn in range(12):
                        method, path = REQUESTS[(number + turn) % len(REQUESTS)]
                        answer = connection.request(parameters(method, path, token))
                        assert answer.status in (200, 503), answer

            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(ask, range(CLIENTS)))
            usage = ResourceUsage(service)
            assert usage.sanitized or usage.kilobytes < MOST
