"""Each route, on both bases, with and without slash, with each kind of token: who may do what."""

import time

import pytest
from harness import routes
from harness.refusals import BAD_TOKEN, NO_ACCESS, NO_TOKEN, assert_refused
from harness.tokens import claims, remember, sign

GRANTED = "granted"

# What a token of this kind gets on a read route and on a write route.
OUTCOMES = {
    "no token": (NO_TOKEN, NO_TOKEN),
    "garbage": (BAD_TOKEN, BAD_TOKEN),
    "expired": (BAD_TOKEN, BAD_TOKEN),
    "wrong issuer": (BAD_TOKEN, BAD_TOKEN),
    "wrong audience": (BAD_TOKEN, BAD_TOKEN),
    "other key": (BAD_TOKEN, BAD_TOKEN),
    "other key under a trusted kid": (BAD_TOKEN, BAD_TOKEN),
    "no access": (NO_ACCESS, NO_ACCESS),
    "read only": (GRANTED, NO_ACCESS),
    "write only": (NO_ACCESS, GRANTED),
    "star": (GRANTED, GRANTED),
    "both": (GRANTED, GRANTED),
}


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        site.migration = site.database.add_migration("m", status=1)
        yield site


@pytest.fixture(scope="module")
def token_of(keys):
    return {
        "no token": None,
        "garbage": remember("garbage.that-is.no-token-at-all"),
        "expired": keys.token("*", exp=int(time.time()) - 3600),
        "wrong issuer": keys.token("*", iss="somebody-else"),
        "wrong audience": keys.token("*", aud="another_registry"),
        "other key": sign(keys.stranger, claims()),
        "other key under a trusted kid": sign(keys.stranger, claims(), kid=keys.trusted.kid),
        "no access": keys.token("*", access=[]),
        "read only": keys.token("read"),
        "write only": keys.token("write"),
        "star": keys.token("*"),
        "both": keys.token("read", "write"),
    }


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", OUTCOMES)
def test_route_for_token(site, token_of, kind, route, base, slash):
    for_read, for_write = OUTCOMES[kind]
    expected = for_read if route.access == "read" else for_write
    site.database.execute("UPDATE batched_background_migrations SET status = 1, updated_at = NULL")
    before = site.database.migrations()

    path = base + route.path.format(id=site.migration) + slash
    answer = site.client.request(route.method, path, token_of[kind])

    if expected == GRANTED:
        assert_granted(answer, route, site)
    else:
        assert_refused(answer, route.access, expected)
        assert site.database.migrations() == before, "a refused request changed the database"


def assert_granted(answer, route, site):
    assert answer.status == 200, answer
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("WWW-Authenticate") is None
    status = site.database.migrations()[0]["status"]
    if route.path in routes.LISTS:
        assert [migration["id"] for migration in answer.json["migrations"]] == [site.migration]
    elif route.method == "GET":
        assert answer.json["migration"]["id"] == site.migration
    elif route.path in routes.PAUSES:
        assert (answer.json["success"], answer.json["message"], status) == (True, routes.PAUSED, 0)
    else:
        assert (answer.json["success"], answer.json["message"], status) == (True, routes.RESUMED, 1)
