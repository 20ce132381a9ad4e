"""A flood of refused requests: a few lines and a sum, and each write has its line."""

import json

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.process import wait_until

LINES = 20  # REFUSAL_LOG_LINES in fcgi/http/refusal_log.h
PERIOD = 60  # REFUSAL_LOG_PERIOD, in seconds


def entries(service):
    return [json.loads(line) for line in service.lines()]


def test_flood_of_reads_is_summed_up(servers, database):
    with servers.service(database.name) as service:
        for _ in range(LINES + 7):
            assert fastcgi.ask(service.address, parameters("GET", routes.LIST)).status == 401
    requests = [entry for entry in entries(service) if entry["msg"] == "request"]
    sums = [entry for entry in entries(service) if entry["msg"] == "more refusals"]
    assert len(requests) == LINES
    assert [(entry["remote_ip"], entry["reason"], entry["count"]) for entry in sums] == [("192.0.2.7", "no token", 7)]


@pytest.mark.slow
def test_sum_comes_when_the_minute_is_over(servers, database):
    """Without a further request, and not only at the end."""
    with servers.service(database.name) as service:
        for _ in range(LINES + 7):
            assert fastcgi.ask(service.address, parameters("GET", routes.LIST)).status == 401
        assert wait_until(lambda: "more refusals" in service.written(), seconds=PERIOD + 30)


def test_each_refused_write_has_its_line(servers, database):
    with servers.service(database.name) as service:
        for _ in range(LINES + 7):
            assert fastcgi.ask(service.address, parameters("POST", routes.PAUSE)).status == 401
    assert len([entry for entry in entries(service) if entry["msg"] == "write"]) == LINES + 7


def test_addresses_are_counted_apart(servers, database):
    with servers.service(database.name) as service:
        for number in range(LINES + 7):
            params = parameters("GET", routes.LIST, REMOTE_ADDR=f"198.51.100.{number}")
            assert fastcgi.ask(service.address, params).status == 401
    assert len([entry for entry in entries(service) if entry["msg"] == "request"]) == LINES + 7
