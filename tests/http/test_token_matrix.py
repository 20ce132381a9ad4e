"""Contract section 4 as a matrix: algorithm x key source x claim fault x access.

Each case has one expected status and challenge (harness.signers.Judge).
"""

import json
import time

import pytest
from harness import jose
from harness.refusals import BAD_TOKEN, NO_ACCESS
from harness.signers import ALGORITHMS, GRANTED, ROUTES, SOURCES
from harness.tokens import ABSENT, SERVICE, claims, entry

ACCESSES = {"none": (), "read": ("read",), "write": ("write",), "star": ("*",)}


# What is accepted, and for which access


@pytest.mark.parametrize("access", ROUTES)
@pytest.mark.parametrize("granted", ACCESSES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_token(judge, signers, algorithm, source, granted, access):
    actions = ACCESSES[granted]
    private, header = signers.signer(algorithm, source)
    expected = GRANTED if access in actions or "*" in actions else NO_ACCESS
    judge(expected, jose.make_token(private, header, claims(actions)), access)


# Faults in the claims, with several signers


def now():
    return int(time.time())


TIMES = {
    "text": lambda: str(now()),
    "float": lambda: now() + 0.5,
    "round float": lambda: float(now()),
    "2^63": lambda: 2**63,
    "2^64": lambda: 2**64,
    "-2^63": lambda: -(2**63),
    "-2^70": lambda: -(2**70),
    "true": lambda: True,
    "null": lambda: None,
    "list": lambda: [now()],
    "object": lambda: {"value": now()},
}
FAULTS = {
    **{f"{name} {kind}": {name: make} for name in ("exp", "nbf", "iat") for kind, make in TIMES.items()},
    "exp absent": {"exp": ABSENT},
    "exp negative": {"exp": -1},
    "exp 0": {"exp": 0},
    "exp passed": {"exp": lambda: now() - 65},
    "nbf ahead": {"nbf": lambda: now() + 65},
    "nbf 2^63-1": {"nbf": 2**63 - 1},
    "iss absent": {"iss": ABSENT},
    "iss null": {"iss": None},
    "iss number": {"iss": 7},
    "iss list": {"iss": ["gitlab-issuer"]},
    "iss other": {"iss": "gitlab-issuer "},
    "iss with a zero": {"iss": "gitlab-issuer\0"},
    "aud absent": {"aud": ABSENT},
    "aud null": {"aud": None},
    "aud number": {"aud": 7},
    "aud other": {"aud": "container"},
    "aud object": {"aud": {"0": SERVICE}},
    "aud nested": {"aud": [[SERVICE]]},
    "aud with a number": {"aud": [SERVICE, 7]},
    "aud with null": {"aud": [SERVICE, None]},
    "aud empty": {"aud": []},
    "aud of 11": {"aud": [SERVICE] * 11},
    "sub number": {"sub": 7},
    "sub list": {"sub": ["root"]},
    "jti number": {"jti": 7},
}


def evaluated(change):
    return {name: value() if callable(value) else value for name, value in change.items()}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES256", "x5c"), ("ES384", "jwk")])
def test_fault_in_the_claims(judge, signers, algorithm, source, fault):
    private, header = signers.signer(algorithm, source)
    judge(BAD_TOKEN, jose.make_token(private, header, claims(**evaluated(FAULTS[fault]))))


UNUSUAL = {
    "exp within the leeway": {"exp": lambda: now() - 50},
    "exp 2^63-1": {"exp": 2**63 - 1},
    "nbf within the leeway": {"nbf": lambda: now() + 50},
    "nbf absent": {"nbf": ABSENT},
    "nbf negative": {"nbf": -1},
    "nbf -2^63+1": {"nbf": -(2**63) + 1},
    "iat absent": {"iat": ABSENT},
    "iat negative": {"iat": -5},
    "iat ahead": {"iat": lambda: now() + 10000},
    "sub and jti absent": {"sub": ABSENT, "jti": ABSENT},
    "sub and jti null": {"sub": None, "jti": None},
    "aud of 10": {"aud": ["x"] * 9 + [SERVICE]},
    "aud twice": {"aud": [SERVICE, SERVICE]},
    "further claims": {"auth_type": "build", "exp2": "x", "nested": {"exp": "x"}},
}


@pytest.mark.parametrize("change", UNUSUAL)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES256", "x5c"), ("ES384", "jwk")])
def test_unusual_claims_that_are_good(judge, signers, algorithm, source, change):
    private, header = signers.signer(algorithm, source)
    judge(GRANTED, jose.make_token(private, header, claims(["read"], **evaluated(UNUSUAL[change]))))


OTHERS = [entry("pull", type="repository", name=f"g/p{number}") for number in range(10000)]
LISTS = {
    "absent": (ABSENT, NO_ACCESS),
    "null": (None, NO_ACCESS),
    "text": ("registry:background-migrations:*", NO_ACCESS),
    "number": (7, NO_ACCESS),
    "object": (entry("*"), NO_ACCESS),
    "nested": ([[entry("*")]], NO_ACCESS),
    "actions as text": ([{**entry(), "actions": "*"}], NO_ACCESS),
    "actions as an object": ([{**entry(), "actions": {"*": 1}}], NO_ACCESS),
    "actions null": ([{**entry(), "actions": None}], NO_ACCESS),
    "actions of numbers": ([{**entry(), "actions": [1, None, ["*"]]}], NO_ACCESS),
    "action with a zero": ([entry("*\0", "read\0")], BAD_TOKEN),
    "type absent": ([{"name": "background-migrations", "actions": ["*"]}], NO_ACCESS),
    "name as a list": ([{**entry("*"), "name": ["background-migrations"]}], NO_ACCESS),
    "name in capitals": ([entry("*", name="Background-Migrations")], NO_ACCESS),
    "catalog": ([entry("*", name="catalog")], NO_ACCESS),
    "others beside it": ([None, 7, "x", [], {}, entry("read")], GRANTED),
    "several for it": ([entry("write"), entry(), entry("read")], GRANTED),
}


@pytest.mark.parametrize("form", LISTS)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES512", "x5c over another")])
def test_form_of_access(judge, signers, algorithm, source, form):
    access, expected = LISTS[form]
    private, header = signers.signer(algorithm, source)
    judge(expected, jose.make_token(private, header, claims(access=access)))


def test_access_of_many_entries(judge, signers):
    private, header = signers.signer("RS256", "kid")
    few = OTHERS[:900]
    judge(GRANTED, jose.make_token(private, header, claims(access=few + [entry("read")])))
    judge(NO_ACCESS, jose.make_token(private, header, claims(access=few)))


def test_access_of_ten_thousand_entries(judge, signers):
    short = [None] * 9999
    private, header = signers.signer("RS256", "kid")
    payload = json.dumps(claims(access=short + [entry("read")]), separators=(",", ":"))
    judge(GRANTED, jose.make_token(private, header, payload))
