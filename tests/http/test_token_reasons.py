"""The log says why a token is refused, and what the token claims of itself; the answer does not."""

import json
import time
import uuid

import pytest
from harness import fastcgi, jose, routes
from harness.fastcgi import parameters
from harness.jose import Holder, x5c
from harness.tokens import ISSUER, SUBJECT, claims, remember

CLAIMED = ("claimed_issuer", "claimed_subject", "claimed_kid")


@pytest.fixture
def logged(site):
    """The log entry of a refused request, whose answer must not say why."""

    def logged(token, access="read", **more):
        identity = f"test-{uuid.uuid4()}"
        path, method = (routes.LIST, "GET") if access == "read" else (routes.PAUSE, "POST")
        answer = fastcgi.ask(site.service.address, parameters(method, path, token, HTTP_X_REQUEST_ID=identity, **more))
        entry = site.service.entry(identity)
        level = "warning" if access == "read" else "audit"
        assert (answer.status, entry["status"], entry["level"]) == (401, 401, level)
        text = str(answer.headers) + answer.body.decode()
        assert entry["reason"] not in text.replace("invalid_token", "")
        return entry

    return logged


def claimed(entry):
    return tuple(entry.get(name) for name in CLAIMED)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"exp": 1}, "expired"),
        ({"nbf": 2**40}, "not valid yet"),
        ({"exp": "1"}, "no integer exp"),
        ({"iss": "someone"}, "another issuer"),
        ({"aud": "someone"}, "another audience"),
        ({"jti": 7}, "sub or jti is not a string"),
    ],
    ids=lambda value: str(value),
)
def test_claims(logged, keys, change, reason):
    entry = logged(keys.token("*", **change))
    assert entry["reason"] == reason
    assert claimed(entry) == (change.get("iss", ISSUER), SUBJECT, keys.trusted.kid)
    assert "subject" not in entry and "token_id" not in entry


def test_signature_and_key(logged, keys):
    header = {"alg": "RS256", "kid": keys.trusted.kid}
    forged = jose.make_token(keys.stranger.private, header)
    assert logged(forged)["reason"] == "signature does not verify"
    entry = logged(jose.make_token(keys.stranger.private, {**header, "kid": keys.stranger.kid}))
    assert (entry["reason"], *claimed(entry)) == ("key is not trusted", ISSUER, SUBJECT, keys.stranger.kid)
    unfit = jose.make_token(keys.curve.private, {"alg": "ES256", "kid": keys.trusted.kid})
    assert logged(unfit)["reason"] == "algorithm does not fit the key"
    none = jose.make_token(keys.trusted.private, {"alg": "none", "kid": keys.trusted.kid}, algorithm="RS256")
    assert logged(none)["reason"] == "algorithm is not one of those accepted"


BEYOND_LIBJWT = {
    "2^63": "a number beyond 64 bits",
    "-2^63-1": "a number beyond 64 bits",
    "1e400": "a number beyond 64 bits",
    "zero character": "the character \\u0000",
    "zero character in a name": "the character \\u0000",
    "lone surrogate": "half a surrogate pair",
}
VALUES = {
    "2^63": '"x": 9223372036854775808',
    "-2^63-1": '"x": [{"y": -9223372036854775809}]',
    "1e400": '"x": 1e400',
    "zero character": '"x": "a\\u0000b"',
    "zero character in a name": '"a\\u0000b": 1',
    "lone surrogate": '"x": "\\ud83d"',
}


@pytest.mark.parametrize("place", ["header", "claims"])
@pytest.mark.parametrize("value", VALUES)
def test_json_that_libjwt_does_not_parse(logged, keys, value, place):
    """Under a good signature, in a member that nobody reads: the log says what libjwt's parser refuses."""
    header = {"alg": "RS256", "kid": keys.trusted.kid}
    good = header if place == "header" else claims()
    text = f"{json.dumps(good)[:-1]}, {VALUES[value]}}}"
    parts = (text, None) if place == "header" else (header, text)
    entry = logged(jose.make_token(keys.trusted.private, *parts, algorithm="RS256"))
    assert entry["reason"] == f"libjwt cannot parse the {place}: {BEYOND_LIBJWT[value]}"


STRANGER, OTHER = Holder("stranger"), Holder("other")
CHAINS = {
    "x5c does not lead to the trust bundle": x5c(STRANGER),
    "x5c holds a key twice": x5c(STRANGER, STRANGER),
    "x5c holds a certificate that the next one has not issued": x5c(STRANGER, OTHER),
    "x5c holds something else than certificates": ["AAAA"],
    "x5c holds no certificate, or more than six": x5c(STRANGER) * 7,
    "x5c is not a list of strings": [7],
    "x5c is not a list": "x",
}


@pytest.mark.parametrize("reason", CHAINS)
def test_chain(logged, reason):
    token = jose.make_token(STRANGER.private, {"alg": "ES256", "x5c": CHAINS[reason]})
    entry = logged(token)
    assert (entry["reason"], *claimed(entry)) == (reason, ISSUER, SUBJECT, None)


def test_chain_above_a_key_of_the_bundle(logged, keys):
    known = "".join(keys.trusted.certificate.splitlines()[1:-1])
    token = jose.make_token(STRANGER.private, {"alg": "ES256", "x5c": [known] * 6})
    assert logged(token)["reason"] == "x5c goes on above a key of the trust bundle"


def test_unreadable_claims_are_left_out(logged, keys):
    assert claimed(logged("xx.yw.zg")) == (None, None, None)
    assert logged("xx.yw.zg")["reason"].startswith("header is not")
    head = jose.encode({"alg": "RS256", "kid": "abc"})
    entry = logged(remember(f"{head}.bm9uZQ.AAAA"))
    assert claimed(entry) == (None, None, "abc")
    entry = logged(jose.make_token(keys.trusted.private, {"alg": "RS256", "kid": 7}, claims(iss=[ISSUER], sub={})))
    assert claimed(entry) == (None, None, None)


def test_no_token(logged):
    assert logged(None)["reason"] == "no token"
    entry = logged(None, HTTP_AUTHORIZATION="Basic eDp5")
    assert (entry["reason"], *claimed(entry)) == ("Authorization is not one bearer token", None, None, None)


def test_good_token_without_the_action(logged, keys):
    entry = logged(keys.token("read"), "write")
    assert (entry["reason"], entry["subject"]) == ("token lacks the action", SUBJECT)
    assert (entry["claimed_issuer"], entry["claimed_kid"]) == (ISSUER, keys.trusted.kid)


def test_claims_cannot_break_the_log(site, logged, keys):
    """They are cut to size, escaped and on one line, and not in the entry of the next request."""
    odd = 'x"\n\x1b[2J{"level":"error"} ' * 400
    entry = logged(keys.token("*", sub=odd, iss=odd, exp=1))
    for name in ("claimed_subject", "claimed_issuer"):
        assert odd.startswith(entry[name]) and 100 < len(entry[name]) < 200
    assert claimed(logged(None)) == (None, None, None)
    good = keys.token("read", sub="good")
    identity = f"test-{uuid.uuid4()}"
    answer = fastcgi.ask(site.service.address, parameters("GET", routes.LIST, good, HTTP_X_REQUEST_ID=identity))
    assert answer.status == 200
    assert not set(CLAIMED) & set(site.service.entry(identity))


def test_reason_stays_the_same(logged, keys):
    token = keys.token("*", exp=int(time.time()) - 100)
    assert [logged(token)["reason"] for _ in range(3)] == ["expired"] * 3
