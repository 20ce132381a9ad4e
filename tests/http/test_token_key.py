"""The key of a token by kid and by jwk."""

import json

import pytest
from harness import jose
from harness.jose import jwk
from harness.refusals import BAD_TOKEN
from harness.signers import EC_ALGORITHMS, GRANTED, KINDS
from harness.tokens import ABSENT

# kid


def test_kid_of_another_trusted_key(judge, signers):
    private, header = signers.signer("RS256", "kid")
    judge(BAD_TOKEN, jose.make_token(private, {**header, "kid": signers.second.kid}))


def test_kid_of_a_certified_key_is_not_trusted(judge, signers):
    holder = signers.certified["RSA"]
    judge(BAD_TOKEN, jose.make_token(holder.private, {"alg": "RS256", "kid": holder.kid}))


@pytest.mark.parametrize("kind", KINDS)
def test_untrusted_key_under_its_kid_and_under_a_trusted_one(judge, signers, kind):
    algorithm = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[kind]
    private = signers.untrusted[kind].private
    for kid in (signers.untrusted[kind].kid, signers.trusted[kind].kid):
        judge(BAD_TOKEN, jose.make_token(private, {"alg": algorithm, "kid": kid}))


@pytest.mark.parametrize("kid", [ABSENT, None, "", 7, ["x"], {}, True, "x" * 5000], ids=lambda kid: repr(kid)[:20])
def test_kid_of_another_form(judge, signers, kid):
    header = {"alg": "RS256"} if kid is ABSENT else {"alg": "RS256", "kid": kid}
    judge(BAD_TOKEN, jose.make_token(signers.trusted["RSA"].private, header))


@pytest.mark.parametrize("change", [str.lower, lambda kid: kid[:-1], lambda kid: kid + "=", lambda kid: kid + "\0x"])
def test_kid_that_resembles_a_trusted_one(judge, signers, change):
    trusted = signers.trusted["RSA"]
    judge(BAD_TOKEN, jose.make_token(trusted.private, {"alg": "RS256", "kid": change(trusted.kid)}))


# jwk


def test_jwk_of_the_bundle_with_and_without_kid(judge, signers):
    for kind, algorithm in zip(KINDS, ("RS256", *EC_ALGORITHMS), strict=True):
        trusted = signers.trusted[kind]
        for more in ({}, {"kid": trusted.kid}, {"use": "sig", "alg": algorithm, "key_ops": ["verify"]}):
            judge(GRANTED, jose.make_token(trusted.private, {"alg": algorithm, "jwk": jwk(trusted.private, **more)}))


JWK_FAULTS = {
    "of an untrusted key": lambda signers: jwk(signers.untrusted["RSA"].private),
    "of an untrusted key, kid of a trusted one": lambda signers: jwk(signers.untrusted["RSA"].private, kid=signers.trusted["RSA"].kid),
    "of another trusted key": lambda signers: jwk(signers.second.private),
    "of a certified key, without x5c": lambda signers: jwk(signers.certified["RSA"].private),
    "x5c of another key": lambda signers: jwk(signers.trusted["RSA"].private, x5c=signers.deep["RSA"].chain),
    "numbers of another key than x5c's": lambda signers: jwk(signers.untrusted["RSA"].private, x5c=signers.deep["RSA"].chain),
    "numbers of another key than x5c's, signed by x5c's": lambda signers: jwk(signers.untrusted["RSA"].private, x5c=signers.deep["RSA"].chain),
    "kid of another": lambda signers: jwk(signers.trusted["RSA"].private, kid=signers.second.kid),
    "kid null": lambda signers: jwk(signers.trusted["RSA"].private, kid=None),
    "kid empty": lambda signers: jwk(signers.trusted["RSA"].private, kid=""),
    "n with a zero before": lambda signers: jwk(signers.trusted["RSA"].private, n=jose._number(
        signers.trusted["RSA"].private.public_key().public_numbers().n, 257)),
    "n with padding": lambda signers: jwk(signers.trusted["RSA"].private, n=jwk(signers.trusted["RSA"].private)["n"] + "=="),
    "n absent": lambda signers: {"kty": "RSA", "e": "AQAB"},
    "n null": lambda signers: jwk(signers.trusted["RSA"].private, n=None),
    "e another": lambda signers: jwk(signers.trusted["RSA"].private, e="Aw"),
    "e a number": lambda signers: jwk(signers.trusted["RSA"].private, e=65537),
    "kty EC": lambda signers: jwk(signers.trusted["RSA"].private, kty="EC"),
    "kty rsa": lambda signers: jwk(signers.trusted["RSA"].private, kty="rsa"),
    "kty oct": lambda signers: {"kty": "oct", "k": "AAAA"},
    "kty absent": lambda signers: {"n": jwk(signers.trusted["RSA"].private)["n"], "e": "AQAB"},
    "null": lambda signers: None,
    "text": lambda signers: json.dumps(jwk(signers.trusted["RSA"].private)),
    "list": lambda signers: [jwk(signers.trusted["RSA"].private)],
    "empty": lambda signers: {},
    "number": lambda signers: 7,
}  # fmt: skip


@pytest.mark.parametrize("fault", JWK_FAULTS)
@pytest.mark.parametrize("signer", ["the trusted key", "the jwk's key"])
def test_jwk_with_a_fault(judge, signers, fault, signer):
    """Signed with the trusted key, and where that is another one, with the key of the jwk."""
    kinds = {"of an untrusted key": "untrusted", "of an untrusted key, kid of a trusted one": "untrusted",
             "of a certified key, without x5c": "certified", "numbers of another key than x5c's, signed by x5c's": "deep",
             "numbers of another key than x5c's": "untrusted"}  # fmt: skip
    holder = signers.trusted["RSA"]
    if signer == "the jwk's key":
        holder = getattr(signers, kinds.get(fault, "trusted"))["RSA"]
    header = {"alg": "RS256", "kid": signers.trusted["RSA"].kid, "jwk": JWK_FAULTS[fault](signers)}
    judge(BAD_TOKEN, jose.make_token(holder.private, header))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_jwk_with_private_members(judge, signers, member, kind):
    algorithm = "RS256" if kind == "RSA" else "ES256"
    for holder, more in ((signers.trusted[kind], {}), (signers.deep[kind], {"x5c": signers.deep[kind].chain})):
        for value in ("AQAB", None):
            key = jwk(holder.private, **{member: value}, **more)
            judge(BAD_TOKEN, jose.make_token(holder.private, {"alg": algorithm, "jwk": key}))


EC_FAULTS = {
    "crv another": {"crv": "P-384"},
    "crv absent": {"crv": ABSENT},
    "crv as openssl names it": {"crv": "prime256v1"},
    "x absent": {"x": ABSENT},
    "x another": {"x": "A" * 43},
    "y absent": {"y": ABSENT},
    "y another": {"y": "A" * 43},
    "kty RSA": {"kty": "RSA"},
}


@pytest.mark.parametrize("fault", EC_FAULTS)
@pytest.mark.parametrize("chain", [False, True], ids=["alone", "with x5c"])
def test_ec_jwk_with_a_fault(judge, signers, fault, chain):
    holder = signers.deep["P-256"] if chain else signers.trusted["P-256"]
    more = {**EC_FAULTS[fault], **({"x5c": holder.chain} if chain else {})}
    key = {name: value for name, value in jwk(holder.private, **more).items() if value is not ABSENT}
    judge(BAD_TOKEN, jose.make_token(holder.private, {"alg": "ES256", "jwk": key}))
