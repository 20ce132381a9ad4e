"""The trust bundle is replaced under load: cached tokens of the old keys are refused at once."""

import datetime
import os
import re
import threading

import pytest
from cryptography import x509
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.process import wait_until
from harness.tokens import claims, sign


@pytest.fixture
def bundle(servers, keys):
    """A bundle of its own, which is replaced as an operator does it: by a rename."""
    path = servers.workspace.file(servers.unique("bundle"), keys.trusted.certificate)

    def replace(text):
        os.rename(servers.workspace.file(servers.unique("bundle"), text), path)

    replace.path = path
    return replace


@pytest.fixture
def service(servers, bundle):
    changes = {"auth": {"token": {"rootcertbundle": bundle.path}}}
    with servers.database() as database, servers.service(database.name, changes=changes) as service:
        yield service


@pytest.fixture
def tokens(keys):
    return sign(keys.trusted, claims()), sign(keys.second, claims())


def status(service, token):
    return fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status


def test_swap_empties_the_token_cache(service, bundle, keys, tokens):
    old, new = tokens
    assert [status(service, token) for token in (old, old, new, new)] == [200, 200, 401, 401]
    bundle(keys.second.certificate)
    assert wait_until(lambda: status(service, new) == 200)
    assert [status(service, token) for token in (old, new, old)] == [401, 200, 401]
    bundle(keys.trusted.certificate + keys.second.certificate)
    assert wait_until(lambda: status(service, old) == 200)
    assert status(service, new) == 200


def test_broken_bundle_changes_nothing(service, bundle, tokens):
    old, _ = tokens
    assert status(service, old) == 200
    bundle("no certificate")
    assert wait_until(lambda: "trust bundle not reloaded" in service.written())
    assert status(service, old) == 200


class Client(threading.Thread):
    """Sends one token again and again, and records each change of the status."""

    def __init__(self, service, token, stop):
        super().__init__(daemon=True)
        self.service, self.token, self.stop = service, token, stop
        self.changes, self.number = [], 0

    def run(self):
        with fastcgi.Connection(self.service.address) as connection:
            while not self.stop.is_set():
                answer = connection.request(parameters("GET", routes.LIST, self.token)).status
                self.number += 1
                if not self.changes or self.changes[-1] != answer:
                    self.changes.append(answer)


def expiries(service):
    """When each certificate of the bundle expires, by its fingerprint, as the metrics say."""
    text = fastcgi.ask(service.address, parameters("GET", "/-/metrics")).body.decode()
    found = re.findall(r'^bbm_fcgi_certificate_expiry_timestamp_seconds\{fingerprint="(.*)"\} (\d+)$', text, re.M)
    assert len(dict(found)) == len(found)
    return {fingerprint: int(seconds) for fingerprint, seconds in found}


def expiry(key):
    certificate = x509.load_pem_x509_certificate(key.certificate.encode())
    if hasattr(certificate, "not_valid_after_utc"):
        return int(certificate.not_valid_after_utc.timestamp())
    return int(certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc).timestamp())


def expected_expiries(*keys):
    return {key.kid: expiry(key) for key in keys}


def test_metrics_say_when_certificates_expire(service, bundle, keys):
    """Of the bundle in force: two certificates of one key count as one."""
    assert expiries(service) == expected_expiries(keys.trusted)
    bundle(keys.second.certificate + keys.curve.certificate + keys.second.certificate)
    assert wait_until(lambda: expiries(service) == expected_expiries(keys.second, keys.curve))
    bundle("no certificate")
    assert wait_until(lambda: "trust bundle not reloaded" in service.written())
    assert expiries(service) == expected_expiries(keys.second, keys.curve)


def test_swap_under_load(service, bundle, keys, tokens):
    """Each client sees one change for each swap, and none back: no thread keeps an old verdict."""
    stop = threading.Event()
    clients = [Client(service, token, stop) for token in tokens * 3]
    for client in clients:
        client.start()
    expected = {tokens[0]: [200], tokens[1]: [401]}
    try:
        for text, verdicts in ((keys.second.certificate, (401, 200)), (keys.trusted.certificate, (200, 401))) * 2:
            assert wait_until(lambda: all(client.changes == expected[client.token] for client in clients))
            bundle(text)
            for token, verdict in zip(tokens, verdicts, strict=True):
                expected[token] = [*expected[token], verdict]
        assert wait_until(lambda: all(client.changes == expected[client.token] for client in clients))
    finally:
        stop.set()
        for client in clients:
            client.join(10)
    assert all(client.changes == expected[client.token] and client.number > 20 for client in clients)
