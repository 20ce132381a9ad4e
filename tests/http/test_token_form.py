"""The form of a token: its header, its JSON, its spelling, its size, and the header that carries it."""

import json
import socket

import pytest
from harness import fastcgi, jose, routes
from harness.fastcgi import parameters
from harness.refusals import BAD_TOKEN, NO_TOKEN, assert_refused
from harness.signers import GRANTED
from harness.tokens import ABSENT, SERVICE, claims, entry, remember


# The header and the JSON


HEADERS = {
    "crit": {"crit": ["exp"], "exp": 1},
    "crit empty": {"crit": []},
    "crit null": {"crit": None},
    "crit b64": {"crit": ["b64"], "b64": False},
    "typ another": {"typ": "at+jwt"},
    "typ JOSE": {"typ": "JOSE"},
    "typ null": {"typ": None},
    "typ number": {"typ": 7},
}


@pytest.mark.parametrize("change", HEADERS)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES256", "x5c")])
def test_header_with_a_fault(judge, signers, algorithm, source, change):
    private, header = signers.signer(algorithm, source)
    judge(BAD_TOKEN, jose.make_token(private, {**header, **HEADERS[change]}))


@pytest.mark.parametrize(
    "change",
    [{"typ": "jwt"}, {"typ": ABSENT}, {"cty": "x"}, {"jku": "https://x/"}, {"x5u": "https://x/"}, {"b64": False}],
    ids=["jwt", "no typ", "cty", "jku", "x5u", "b64"],
)
def test_header_that_is_good(judge, signers, change):
    private, header = signers.signer("RS256", "kid")
    header = {name: value for name, value in {**header, **change}.items() if value is not ABSENT}
    judge(GRANTED, jose.make_token(private, header))


def with_name_twice(good, name, value, first):
    """The JSON of an object with one name twice."""
    pair = f"{json.dumps(name)}: {json.dumps(value)}"
    inside = json.dumps(good)[1:-1]
    return f"{{{pair}, {inside}}}" if first else f"{{{inside}, {pair}}}"


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "name, value",
    [("alg", "RS256"), ("alg", "none"), ("alg", "HS256"), ("kid", "other"), ("typ", "JWT")],
)
def test_header_member_twice(judge, signers, name, value, first):
    private, header = signers.signer("RS256", "kid")
    judge(BAD_TOKEN, jose.make_token(private, with_name_twice(header, name, value, first), algorithm="RS256"))


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "name, value",
    [("exp", 4000000000), ("exp", 1), ("nbf", 0), ("iss", "gitlab-issuer"), ("aud", SERVICE), ("sub", "root"),
     ("access", [entry("*")]), ("access", [])],
)  # fmt: skip
def test_claim_twice(judge, signers, name, value, first):
    private, header = signers.signer("RS256", "kid")
    judge(BAD_TOKEN, jose.make_token(private, header, with_name_twice(claims(), name, value, first)))


TEXTS = {
    "a name twice within": '"x": {"a": 1, "a": 2}',
    "a name twice in access": '"access": [{"type": "registry", "type": "x"}]',
    "a name twice, once escaped": '"s\\u0075b": "root"',
    "a name twice, once with a zero": '"sub\\u0000": "root"',
    "a name with a zero": '"x\\u0000y": 1',
    "apostrophes": "'x': 1",
    "a comment": '"x": 1 /* x */',
    "a comma too many": '"x": 1,',
    "a number with a zero before": '"x": 01',
    "not a number": '"x": NaN',
    "infinity": '"x": Infinity',
    "a control character": '"x": "\x01"',
    "a lone surrogate": '"x": "\\ud800"',
    "depth": '"x": ' + "[" * 20 + "]" * 20,
    "much depth": '"x": ' + "[" * 20000 + "]" * 20000,
}


def with_member(good, member):
    """The JSON of an object with one member more."""
    return f"{{{json.dumps(good)[1:-1]}, {member}}}"


@pytest.mark.parametrize("text", TEXTS)
def test_json_of_a_header_that_is_refused(judge, signers, text):
    private, header = signers.signer("RS256", "kid")
    judge(BAD_TOKEN, jose.make_token(private, with_member({**header, "sub": "x"}, TEXTS[text]), algorithm="RS256"))


@pytest.mark.parametrize("text", TEXTS)
def test_json_of_claims_that_is_refused(judge, signers, text):
    private, header = signers.signer("RS256", "kid")
    good = claims(access=ABSENT)
    judge(BAD_TOKEN, jose.make_token(private, header, with_member(good, TEXTS[text])))


@pytest.mark.parametrize(
    "text", ['"a:b": "c:d"', '"x": "\\"a\\": \\\\"', '"x": "\'"', '"x": {"sub": {"sub": [{"sub": 1}]}}']
)
def test_unusual_json_that_is_good(judge, signers, text):
    private, header = signers.signer("RS256", "kid")
    judge(GRANTED, jose.make_token(private, header, f" {{ {json.dumps(claims())[1:-1]} , {text} }} \n"))


# The token's spelling


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def beyond(text):
    """The same bytes in another spelling: with a bit set that is beyond the last byte."""
    assert len(text) % 4
    return text[:-1] + LETTERS[LETTERS.index(text[-1]) | 1]


SPELLINGS = {
    "padded header": lambda h, c, s: f"{h}{'=' * (-len(h) % 4 or 4)}.{c}.{s}",
    "padded claims": lambda h, c, s: f"{h}.{c}{'=' * (-len(c) % 4 or 4)}.{s}",
    "padded signature": lambda h, c, s: f"{h}.{c}.{s}==",
    "standard alphabet": lambda h, c, s: f"{h}.{c}.{s[:-1]}/",
    "a plus": lambda h, c, s: f"{h}.{c}.+{s[1:]}",
    "one letter more": lambda h, c, s: f"{h}.{c}.{s}A",
    "bits beyond the last byte": lambda h, c, s: f"{h}.{c}.{beyond(s)}" if len(s) % 4 else f"{h}.{c}.{s[:-1]}",
    "a fourth part": lambda h, c, s: f"{h}.{c}.{s}.{s}",
    "five parts": lambda h, c, s: f"{h}.{c}.{s}.{s}.{s}",
    "an empty fourth part": lambda h, c, s: f"{h}.{c}.{s}.",
    "two parts": lambda h, c, s: f"{h}.{c}",
    "no header": lambda h, c, s: f".{c}.{s}",
    "no claims": lambda h, c, s: f"{h}..{s}",
    "parts in another order": lambda h, c, s: f"{c}.{h}.{s}",
    "a bare dot": lambda h, c, s: ".",
    "letters": lambda h, c, s: "x" * 700,
    "percent": lambda h, c, s: f"{h}%2e{c}%2e{s}",
    "a letter that is none": lambda h, c, s: f"{h}.{c}.\u00e9{s}",
    "a control character": lambda h, c, s: f"{h}.{c}.\x01{s}",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("algorithm", ["RS256", "ES512"])
def test_spelling(judge, signers, algorithm, spelling):
    private, header = signers.signer(algorithm, "kid")
    token = SPELLINGS[spelling](*jose.make_token(private, header).split("."))
    judge(BAD_TOKEN, remember(token))


AUTHORIZATIONS = {
    "bearer {}": GRANTED,
    "BEARER {}": GRANTED,
    "bEaReR {}": GRANTED,
    "": NO_TOKEN,
    "Bearer": NO_TOKEN,
    "Bearer ": NO_TOKEN,
    "Bearer  {}": NO_TOKEN,
    " Bearer {}": NO_TOKEN,
    "Bearer {} ": NO_TOKEN,
    "Bearer\t{}": NO_TOKEN,
    "Bearer {}\t": NO_TOKEN,
    "Bearer {} x": NO_TOKEN,
    "Bearer {}, Bearer {}": NO_TOKEN,
    "Bearer {},{}": NO_TOKEN,
    "Bearer {}\n": NO_TOKEN,
    "Bearer\n{}": NO_TOKEN,
    "Bearer\u00a0{}": NO_TOKEN,
    "Bearer={}": NO_TOKEN,
    "Bearer{}": NO_TOKEN,
    "Token {}": NO_TOKEN,
    "Basic {}": NO_TOKEN,
    "{}": NO_TOKEN,
    '"Bearer" {}': NO_TOKEN,
    'Bearer "{}"': BAD_TOKEN,
    "Bearer ={}": BAD_TOKEN,
}


@pytest.mark.parametrize("form", AUTHORIZATIONS, ids=repr)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_authorization(judge, signers, algorithm, form):
    token = jose.make_token(*signers.signer(algorithm, "kid"))
    judge(AUTHORIZATIONS[form], HTTP_AUTHORIZATION=form.format(token, token))


def raw_pairs(*pairs):
    """FastCGI's parameters, in which one name may come twice."""
    return b"".join(fastcgi.pairs({name: value}) for name, value in pairs)


@pytest.mark.parametrize("other", ["good", "bad", "Basic eDp5", ""])
@pytest.mark.parametrize("order", ["first", "last"])
def test_two_authorizations(token_service, signers, other, order):
    token = f"Bearer {jose.make_token(*signers.signer('RS256', 'kid'))}"
    two = [token, token if other == "good" else "Bearer x.y.z" if other == "bad" else other]
    two = two if order == "first" else two[::-1]
    content = raw_pairs(*parameters("GET", routes.LIST).items(), *(("HTTP_AUTHORIZATION", value) for value in two))
    with fastcgi.Connection(token_service.address) as connection:
        connection.send(fastcgi.begin(False) + fastcgi.stream(fastcgi.PARAMS, content))
        connection.send(fastcgi.stream(fastcgi.STDIN, b""))
        assert_refused(connection.answer(), "read", NO_TOKEN)


def test_two_authorizations_through_nginx(token_service, signers):
    token = jose.make_token(*signers.signer("RS256", "kid"))
    head = f"GET {routes.LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {token}\r\n" * 2 + "\r\n"
    with socket.create_connection(("127.0.0.1", token_service.client.port), timeout=10) as connection:
        connection.sendall(head.encode())
        status = connection.makefile("rb").readline().split()[1]
    # nginx passes both on; from 1.23 on it refuses them itself.
    assert status in (b"401", b"400")


# Size


def of_size(signers, size):
    """A good token of at least this many bytes, with a long subject."""
    private, header = signers.signer("RS256", "kid")
    sub = "x"
    while True:
        token = jose.make_token(private, header, claims(["read"], sub=sub))
        if len(token) >= size:
            return token
        sub += "x" * max(1, (size - len(token)) * 3 // 4)


LINE = 8 * 1024 - len("Authorization: Bearer \r\n")


def test_largest_token_in_one_line_of_nginx(token_service, signers):
    """Its large_client_header_buffers have 8 KiB unless they are configured."""
    token = of_size(signers, LINE - 8)
    assert LINE - 8 <= len(token) <= LINE
    assert token_service.client.get(routes.LIST, token).status == 200
    assert_refused(token_service.client.get(routes.LIST, token[:-8] + "AAAAAAAA"), "read", BAD_TOKEN)


def test_nginx_refuses_a_token_of_8_kib(token_service, signers):
    token = of_size(signers, 8 * 1024)
    assert token_service.client.get(routes.LIST, token).status == 400
    assert token_service.client.get(routes.LIST, of_size(signers, 1000)).status == 200


def test_a_token_of_8_kib_at_the_socket(judge, signers):
    judge(GRANTED, of_size(signers, 8 * 1024))


def test_a_token_of_64_kib_at_the_socket(judge, signers):
    token = of_size(signers, 64 * 1024)
    judge(GRANTED, token)
    judge(BAD_TOKEN, remember(token[:-8] + "AAAAAAAA"))
    judge(BAD_TOKEN, remember("A" * 64 * 1024))


@pytest.mark.parametrize("kind", ["good", "letters"])
def test_a_token_of_1_mib_at_the_socket(token_service, judge, signers, kind):
    token = of_size(signers, 1024 * 1024) if kind == "good" else remember("A" * 1024 * 1024)
    with fastcgi.Connection(token_service.address) as connection:
        assert connection.request(parameters("GET", routes.LIST, token)).status == 431
    judge(GRANTED, of_size(signers, 1000))
