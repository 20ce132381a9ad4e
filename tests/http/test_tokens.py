"""Tokens as GitLab makes them, through nginx: which are accepted (contract, section 4).

test_token_matrix.py and its neighbours have every other kind, at the socket.
"""

import hashlib
import hmac
import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from harness import fastcgi, routes
from harness.process import wait_until
from harness.refusals import BAD_TOKEN, NO_ACCESS, NO_TOKEN, assert_refused, challenge
from harness.tokens import ABSENT, SERVICE, Key, claims, entry, remember, sign, sign_by_hand


@pytest.fixture
def read(site):
    """Asks for the list with a token, or with a whole Authorization header."""
    return lambda token=None, **more: site.client.get(routes.LIST, token, **more)


def now():
    return int(time.time())


# Time


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"exp": now() - 30},
        lambda: {"nbf": now() + 30},
        lambda: {"nbf": ABSENT},
        lambda: {"iat": ABSENT, "jti": ABSENT, "sub": ABSENT},
        lambda: {"iat": now() + 3600},
        lambda: {"exp": 2**63 - 1},
        lambda: {"nbf": -1},
    ],
    ids=[
        "expired 30 s ago", "valid in 30 s", "no nbf", "no iat, jti, sub", "iat ahead", "largest exp",
        "nbf long ago",
    ],
)  # fmt: skip
def test_time_claims_within_the_leeway_are_accepted(read, keys, change):
    assert read(keys.token("read", **change())).status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"exp": now() - 90},
        lambda: {"nbf": now() + 90},
        lambda: {"exp": ABSENT},
        lambda: {"exp": None},
        lambda: {"exp": 0},
        lambda: {"exp": -1},
        lambda: {"exp": str(now() + 600)},
        lambda: {"exp": now() + 600.5},
        lambda: {"exp": True},
        lambda: {"exp": [now() + 600]},
        lambda: {"nbf": str(now() - 600)},
        lambda: {"nbf": now() - 600.5},
        lambda: {"nbf": {}},
    ],
    ids=[
        "expired 90 s ago", "valid in 90 s", "no exp", "exp null", "exp 0", "exp negative", "exp text",
        "exp decimal", "exp bool", "exp list", "nbf text", "nbf decimal", "nbf object",
    ],
)  # fmt: skip
def test_time_claims_beyond_the_leeway_are_refused(read, keys, change):
    assert_refused(read(keys.token("read", **change())), "read", BAD_TOKEN)


# Issuer and audience


@pytest.mark.parametrize(
    "audience",
    [[SERVICE], ["another", SERVICE], [SERVICE] + ["another"] * 9],
    ids=["list of one", "second in the list", "list of ten"],
)
def test_audience_as_list_is_accepted(read, keys, audience):
    assert read(keys.token("read", aud=audience)).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"aud": ABSENT},
        {"aud": None},
        {"aud": []},
        {"aud": ["another"]},
        {"aud": ["another"] * 10 + [SERVICE]},
        {"aud": [SERVICE, 7]},
        {"aud": {SERVICE: SERVICE}},
        {"aud": SERVICE.upper()},
        {"aud": SERVICE + " "},
        {"aud": SERVICE[:-1]},
        {"iss": ABSENT},
        {"iss": None},
        {"iss": ["gitlab-issuer"]},
        {"iss": "gitlab-issuer2"},
        {"iss": "gitlab"},
        {"iss": "gitlab-issuer\0"},
        {"aud": SERVICE + "\0"},
    ],
)
def test_wrong_issuer_or_audience_is_refused(read, keys, change):
    assert_refused(read(keys.token("read", **change)), "read", BAD_TOKEN)


# Access


@pytest.mark.parametrize(
    "access",
    [
        [None, entry("read"), None],
        [entry("pull", "push", type="repository", name="group/project"), entry("read")],
        [entry("write"), entry("read")],
        [entry("read"), entry("write")],
        [entry(), entry("*")],
        [entry("*"), entry()],
        [entry("read", "read")],
        [entry("nonsense", "read")],
        [{**entry("read"), "class": "", "project_path": "x"}],
    ],
    ids=[
        "null entries", "after another resource", "second entry for the same", "first entry for the same",
        "after an empty one", "before an empty one", "action twice", "after an unknown action", "with more keys",
    ],
)  # fmt: skip
def test_access_is_found_among_others(read, keys, access):
    assert read(keys.token(access=access)).status == 200


@pytest.mark.parametrize(
    "access",
    [
        ABSENT,
        None,
        [],
        [None],
        [entry()],
        [entry("write")],
        [entry("READ")],
        [entry("read ")],
        [entry("pull", "delete")],
        [entry("read", type="repository")],
        [entry("read", name="catalog"), entry("*", name="catalog")],
        [entry("*", name="background-migrations2")],
        [entry("*", type="repository", name="background-migrations")],
    ],
    ids=[
        "absent", "null", "empty list", "null entry", "no actions", "write only", "upper case",
        "with a space", "other actions", "other type", "other name", "longer name", "star of another type",
    ],
)  # fmt: skip
def test_good_token_without_the_action_has_insufficient_scope(read, keys, access):
    assert_refused(read(keys.token(access=access)), "read", NO_ACCESS)


@pytest.mark.parametrize(
    "access",
    ["registry:background-migrations:*", {"registry": ["*"]}, [["*"]], [{**entry(), "actions": "*"}], 7],
    ids=["text", "object", "list in list", "actions as text", "number"],
)
def test_access_of_the_wrong_form_grants_nothing(read, keys, access):
    assert read(keys.token(access=access)).status == 401


def test_write_does_not_imply_read_nor_read_write(site, keys):
    assert site.client.get(routes.LIST, keys.token("write")).status == 401
    assert_refused(site.client.post(routes.PAUSE, keys.token("read")), "write", NO_ACCESS)


# Key and algorithm


def test_each_key_of_the_bundle_is_trusted(read, keys):
    for key in (keys.trusted, keys.second):
        assert read(sign(key, claims(["read"]))).status == 200


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_rsa_algorithms_are_accepted(read, keys, algorithm):
    assert read(sign(keys.trusted, claims(), algorithm)).status == 200


@pytest.mark.parametrize(
    "kid", [ABSENT, "", "ABCD", None, 7, ["x"]], ids=["absent", "empty", "odd", "null", "7", "list"]
)
def test_token_that_names_no_trusted_key_is_refused(read, keys, kid):
    payload = claims()
    header = {"typ": "JWT", "alg": "RS256"}
    if kid is not ABSENT:
        header["kid"] = kid
    signed = sign_by_hand(header, payload, lambda text: signature_of(keys.trusted, text))
    assert_refused(read(signed), "read", BAD_TOKEN)


def test_kid_must_match_whole(read, keys):
    kid = keys.trusted.kid
    for wrong in (kid[:-1], kid + "A", kid.lower(), kid + "\0", kid.replace(":", "")):
        assert_refused(read(sign(keys.trusted, claims(), kid=wrong)), "read", BAD_TOKEN)


def test_kid_decides_which_key_verifies(read, keys):
    assert_refused(read(sign(keys.second, claims(), kid=keys.trusted.kid)), "read", BAD_TOKEN)


def test_algorithm_of_another_kind_of_key_is_refused(read, keys):
    assert_refused(read(sign(keys.trusted, claims(), kid=keys.curve.kid)), "read", BAD_TOKEN)
    assert_refused(read(sign(keys.curve, claims(), "ES256", kid=keys.trusted.kid)), "read", BAD_TOKEN)


def test_algorithm_of_another_curve_is_refused(read, keys):
    """libjwt alone accepts it."""

    def signer(text):
        signature = keys.wide_curve.private.sign(text, ec.ECDSA(hashes.SHA256()))
        return b"".join(number.to_bytes(48, "big") for number in utils.decode_dss_signature(signature))

    header = {"typ": "JWT", "alg": "ES256", "kid": keys.wide_curve.kid}
    assert_refused(read(sign_by_hand(header, claims(), signer)), "read", BAD_TOKEN)


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_other_algorithms_are_refused(read, keys, algorithm):
    assert_refused(read(sign(keys.trusted, claims(), algorithm)), "read", BAD_TOKEN)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"], ids=["unsigned", "with bytes"])
def test_unsigned_token_is_refused(read, keys, algorithm, signature):
    header = {"typ": "JWT", "alg": algorithm, "kid": keys.trusted.kid}
    assert_refused(read(sign_by_hand(header, claims(), lambda _: signature)), "read", BAD_TOKEN)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", ["public key", "certificate", "stripped", "empty"])
def test_hmac_with_a_public_secret_is_refused(read, keys, algorithm, secret):
    """libjwt alone accepts this forgery, and the PEM is public."""
    secrets = {
        "public key": keys.trusted.public_pem,
        "certificate": keys.trusted.certificate.encode(),
        "stripped": keys.trusted.public_pem.strip(),
        "empty": b"",
    }
    digest = getattr(hashlib, "sha" + algorithm[2:])
    header = {"typ": "JWT", "alg": algorithm, "kid": keys.trusted.kid}
    forged = sign_by_hand(header, claims(), lambda text: hmac.digest(secrets[secret], text, digest))
    assert_refused(read(forged), "read", BAD_TOKEN)


@pytest.mark.parametrize("words", ['"alg":"HS256","alg":"RS256"', '"alg":"RS256","alg":"HS256"'])
def test_hmac_beside_another_algorithm_is_refused(read, keys, words):
    """Of two names, one reader may take the first and another one the second."""
    header = f'{{"typ":"JWT",{words},"kid":"{keys.trusted.kid}"}}'.encode()
    pem = keys.trusted.public_pem
    forged = sign_by_hand(header, claims(), lambda text: hmac.digest(pem, text, "sha256"))
    assert_refused(read(forged), "read", BAD_TOKEN)


@pytest.mark.parametrize("algorithm", ["rs256", "RS256 ", "RS1", None, 256, ABSENT])
def test_algorithm_is_spelt_exactly(read, keys, algorithm):
    header = {"typ": "JWT", "alg": algorithm, "kid": keys.trusted.kid}
    if algorithm is ABSENT:
        del header["alg"]
    signed = sign_by_hand(header, claims(), lambda text: signature_of(keys.trusted, text))
    assert_refused(read(signed), "read", BAD_TOKEN)


def test_sign_by_hand_makes_good_tokens_too(read, keys):
    """Otherwise the refusals above would prove nothing."""
    header = {"typ": "JWT", "alg": "RS256", "kid": keys.trusted.kid}
    assert read(sign_by_hand(header, claims(), lambda text: signature_of(keys.trusted, text))).status == 200


def signature_of(key: Key, text):
    return key.private.sign(text, padding.PKCS1v15(), hashes.SHA256())


# The form of a token


def test_changed_claim_breaks_the_signature(read, keys):
    read_only, other = keys.token("write"), keys.token("read")
    head, _, signature = read_only.split(".")
    assert_refused(read(".".join([head, other.split(".")[1], signature])), "read", BAD_TOKEN)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token.replace(".", "=.", 1),
        lambda token: token + ".",
        lambda token: "." + token,
        lambda token: token + ".x",
        lambda token: token.rsplit(".", 1)[0],
        lambda token: token.rsplit(".", 1)[0] + ".",
        lambda token: token.split(".", 1)[0] + ".." + token.rsplit(".", 1)[1],
        lambda token: token[:-2],
        lambda token: token + "AAAA",
        lambda token: token[:10] + "+" + token[11:],
        lambda token: "..",
        lambda token: ".",
        lambda token: "x",
        lambda token: "bnVsbA.bnVsbA.bnVsbA",
        lambda token: "W10.W10.W10",
        lambda token: "A" * 6000,
    ],
    ids=[
        "padding", "more padding", "padding in the header", "a dot after", "a dot before", "four parts",
        "two parts", "empty signature", "empty claims", "cut short", "longer signature", "a plus",
        "two dots", "a dot", "one letter", "nulls", "lists", "six thousand letters",
    ],
)  # fmt: skip
def test_token_of_the_wrong_form_is_refused(read, keys, change):
    assert_refused(read(remember(change(keys.token("read")))), "read", BAD_TOKEN)


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff{}"])
def test_claims_that_are_no_object_are_refused(read, keys, payload):
    token = jwt.api_jws.encode(payload, keys.trusted.private, "RS256", headers={"kid": keys.trusted.kid})
    assert_refused(read(remember(token)), "read", BAD_TOKEN)


def test_large_token_is_accepted(read, keys):
    """GitLab writes one entry for each repository."""
    many = [entry("pull", type="repository", name=f"group/project-{number}") for number in range(40)]
    assert read(keys.token(access=many + [entry("read")])).status == 200


# Tokens that are in the token cache


def test_cached_token_expires(read, keys):
    token = keys.token("read", exp=now() - 57)
    assert read(token).status == 200
    assert wait_until(lambda: read(token).status == 401, seconds=10, pause=0.2)
    assert_refused(read(token), "read", BAD_TOKEN)


def test_token_that_resembles_a_cached_one_is_refused(read, keys):
    token = keys.token("read")
    head, payload, signature = token.split(".")
    changed = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
    assert read(token).status == 200
    for other in (token[:-4], token + "A", token + "=", f"{head}.{payload}.{changed}", f"{head}.{payload}."):
        assert_refused(read(remember(other)), "read", BAD_TOKEN)
    assert read(token).status == 200


def test_cached_token_still_needs_the_action(site, keys):
    token = keys.token("read")
    for _ in range(2):
        assert site.client.get(routes.LIST, token).status == 200
        assert_refused(site.client.post(routes.PAUSE, token), "write", NO_ACCESS)


# The Authorization header


@pytest.mark.parametrize("word", ["bearer", "BEARER", "bEaReR"])
def test_bearer_in_any_case(read, keys, word):
    assert read(authorization=f"{word} {keys.token('read')}").status == 200


@pytest.mark.parametrize(
    "form",
    [
        "Bearer  {}",
        "Bearer\t{}",
        "Bearer{}",
        "Bearer {} {}",
        "Bearer {},{}x y",
        "Bearer",
        "Basic {}",
        "Token {}",
        "{}",
        "Bearer: {}",
        "Bearers {}",
        '"Bearer" {}',
    ],
)
def test_other_authorization_counts_as_no_token(read, keys, form):
    token = keys.token("read")
    assert_refused(read(authorization=form.format(token, token)), "read", NO_TOKEN)


def test_empty_authorization_counts_as_no_token(read):
    assert_refused(read(authorization=""), "read", NO_TOKEN)


def test_token_in_another_place_counts_as_none(site, keys):
    token = keys.token("*")
    answer = site.client.get(f"{routes.LIST}?access_token={token}&token={token}", headers={"Cookie": f"token={token}"})
    assert_refused(answer, "read", NO_TOKEN)


# The challenge


def test_challenge_can_ask_for_the_star(servers, keys):
    with servers.database() as database, servers.site(database, changes={"fcgi": {"challenge": "*"}}) as site:
        for path, method in ((routes.LIST, "GET"), (routes.PAUSE, "POST")):
            answer = site.client.request(method, path)
            assert (answer.status, answer.header("WWW-Authenticate")) == (401, challenge("*"))
            wrong = site.client.request(method, path, keys.token("*", iss="x"))
            assert wrong.header("WWW-Authenticate") == challenge("*", BAD_TOKEN)
        assert site.client.get(routes.LIST, keys.token("read")).status == 200
        assert site.client.post(routes.PAUSE, keys.token("read")).status == 401


def test_autoredirect_makes_the_realm_from_the_host(servers):
    changes = {"auth": {"token": {"autoredirect": True}}}
    with servers.database() as database, servers.site(database, changes=changes) as site:
        answer = site.client.get(routes.LIST, headers={"Host": "registry.example.com"})
        expected = challenge("read", realm="https://registry.example.com/auth/token")
        assert (answer.status, answer.header("WWW-Authenticate")) == (401, expected)


@pytest.mark.parametrize("host", ['a",error="x', "a\\", "a\r\nX-Evil: 1", "", "a b", b"\xff", "x" * 5000])
def test_host_cannot_break_the_challenge(servers, host):
    changes = {"auth": {"token": {"autoredirect": True}}}
    with servers.service("unused", changes=changes) as service:
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.LIST, HTTP_HOST=host))
    assert answer.status in (400, 401) and answer.header("X-Evil") is None
    if answer.status == 401:
        rest = f',service="{SERVICE}",scope="registry:background-migrations:read"'
        assert re.fullmatch(r'Bearer realm="(?:[^"\\]|\\.)*"' + re.escape(rest), answer.header("WWW-Authenticate"))
