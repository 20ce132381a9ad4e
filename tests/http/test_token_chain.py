"""The key of a token by x5c: chains of certificates, which must lead to the trust bundle."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from harness import jose, routes
from harness.fastcgi import parameters
from harness.jose import Holder, jwk, x5c
from harness.process import wait_until
from harness.refusals import BAD_TOKEN
from harness.signers import GRANTED
from harness.tokens import claims


def by_chain(holder, *chain, algorithm="RS256", **more):
    return jose.make_token(holder.private, {"typ": "JWT", "alg": algorithm, "x5c": x5c(*chain), **more})


def test_chains_that_lead_to_the_bundle(judge, signers):
    deep = signers.deep["RSA"]
    judge(GRANTED, by_chain(deep, deep, signers.intermediate))
    judge(GRANTED, by_chain(deep, deep, signers.intermediate, signers.root))
    judge(GRANTED, by_chain(signers.trusted["RSA"], signers.trusted["RSA"]))
    judge(GRANTED, by_chain(signers.root, signers.root, algorithm="ES256"))
    judge(GRANTED, by_chain(signers.branch, signers.branch, algorithm="ES256"))
    judge(GRANTED, by_chain(signers.by_usage, signers.by_usage, algorithm="ES256"))
    below = Holder("below the branch", "RSA", signers.branch)
    judge(GRANTED, by_chain(below, below))
    judge(GRANTED, by_chain(below, below, signers.branch))


def test_chain_decides_over_jwk_and_kid(judge, signers):
    deep = signers.deep["RSA"]
    judge(GRANTED, by_chain(deep, deep, signers.intermediate, kid=signers.trusted["RSA"].kid))
    judge(GRANTED, by_chain(deep, deep, signers.intermediate, kid="unknown"))
    judge(GRANTED, by_chain(deep, deep, signers.intermediate, jwk=jwk(signers.untrusted["RSA"].private)))
    judge(BAD_TOKEN, by_chain(signers.trusted["RSA"], deep, signers.intermediate, kid=signers.trusted["RSA"].kid))
    untrusted = signers.untrusted["RSA"]
    trusted = signers.trusted["RSA"]
    judge(BAD_TOKEN, by_chain(untrusted, untrusted, kid=trusted.kid))
    judge(BAD_TOKEN, by_chain(trusted, untrusted, kid=trusted.kid, jwk=jwk(trusted.private.public_key())))


def of(chain):
    """The chain, and its first holder as the signer."""
    return chain[0], chain


def over(name, issuer, kind="RSA"):
    """A chain of two: a leaf that this holder has issued, and the holder."""
    return of([Holder(name, kind, issuer), issuer])


# Each from the signers: who signs, and the chain.
BAD_CHAINS = {
    "untrusted": lambda s: of([s.untrusted["RSA"]]),
    "untrusted, with a trusted one after": lambda s: of([s.untrusted["RSA"], s.root]),
    "trusted, signed by an untrusted key": lambda s: (s.untrusted["RSA"], [s.deep["RSA"], s.intermediate]),
    "expired": lambda s: of([Holder("expired", "RSA", s.root, days=(-9, -1))]),
    "not yet valid": lambda s: of([Holder("early", "RSA", s.root, days=(1, 9))]),
    "over an expired one": lambda s: over("x", Holder("old", issuer=s.root, ca=True, days=(-9, -1))),
    "over a future one": lambda s: over("x", Holder("new", issuer=s.root, ca=True, days=(1, 9))),
    "leaf without chain": lambda s: of([s.deep["RSA"]]),
    "in the wrong order": lambda s: (s.deep["RSA"], [s.intermediate, s.deep["RSA"]]),
    "reversed": lambda s: (s.deep["RSA"], [s.root, s.intermediate, s.deep["RSA"]]),
    "its issuers in the wrong order": lambda s: of([s.deep["RSA"], s.root, s.intermediate]),
    "an untrusted one among them": lambda s: of([s.deep["RSA"], s.untrusted["RSA"], s.intermediate]),
    "an untrusted one on top": lambda s: of([s.deep["RSA"], s.intermediate, s.untrusted["RSA"]]),
    "an impostor on top": lambda s: of([s.deep["RSA"], s.intermediate, s.impostor]),
    "the same twice": lambda s: of([s.certified["RSA"]] * 2),
    "a certificate of the bundle twice": lambda s: of([s.root] * 2),
    "a certificate of the bundle six times": lambda s: of([s.root] * 6),
    "an issuer of the bundle twice": lambda s: of([s.certified["RSA"], s.root, s.root]),
    "a certificate of the bundle, and its issuer": lambda s: of([s.branch, s.root]),
    "above a certificate of the bundle": lambda s: of([Holder("x", issuer=s.branch), s.branch, s.root]),
    "over one of the bundle that may issue by its usage alone": lambda s: of([Holder("x", issuer=s.by_usage)]),
    "over one that may issue by its usage alone": lambda s: over("x", Holder("usage", issuer=s.root, ca=None)),
    "below an impostor": lambda s: of([s.below_impostor, s.impostor]),
    "below an impostor that is left out": lambda s: of([s.below_impostor]),
    "an impostor": lambda s: of([s.impostor]),
    "over one that is no authority": lambda s: over("x", Holder("no authority", issuer=s.root)),
    "over a leaf of the bundle": lambda s: of([Holder("x", "RSA", s.trusted["P-256"])]),
    "with a trusted name": lambda s: of([Holder("trusted RSA", "RSA")]),
    "signed with SHA-1": lambda s: of([Holder("sha1", "RSA").certified_with_sha1(s.root)]),
    "of a weak key": lambda s: of([Holder("weak", issuer=s.root, key=rsa.generate_private_key(65537, 1024))]),
    "of seven": lambda s: of([s.certified["RSA"]] + [s.intermediate] * 6),
    "of a hundred": lambda s: of([s.untrusted["RSA"]] * 100),
}


@pytest.mark.parametrize("place", ["x5c", "jwk"])
@pytest.mark.parametrize("name", BAD_CHAINS)
def test_bad_chain(judge, signers, name, place):
    holder, chain = BAD_CHAINS[name](signers)
    algorithm = "RS256" if isinstance(holder.private, rsa.RSAPrivateKey) else "ES256"
    source = {"x5c": x5c(*chain)} if place == "x5c" else {"jwk": jwk(holder.private, x5c=x5c(*chain))}
    judge(BAD_TOKEN, jose.make_token(holder.private, {"alg": algorithm, **source}))


FORMS = {
    "null": lambda good: None,
    "empty": lambda good: [],
    "text": lambda good: good[0],
    "number": lambda good: 7,
    "list of lists": lambda good: [good],
    "list with null": lambda good: [*good, None],
    "empty text": lambda good: [""],
    "PEM": lambda good: [f"-----BEGIN CERTIFICATE-----\n{good[0]}\n-----END CERTIFICATE-----\n"],
    "base64url": lambda good: [good[0].replace("+", "-").replace("/", "_").rstrip("=")],
    "lines": lambda good: [good[0][:64] + "\n" + good[0][64:], *good[1:]],
    "space before": lambda good: [" " + good[0], *good[1:]],
    "cut short": lambda good: [good[0][:-40], *good[1:]],
    "bytes after": lambda good: [base64.b64encode(base64.b64decode(good[0]) + b"\0\0\0").decode(), *good[1:]],
    "bad intermediate": lambda good: [good[0], "AAAA"],
    "a key": lambda good: ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"],
    "zero in it": lambda good: [good[0] + "\0", *good[1:]],
}


@pytest.mark.parametrize("place", ["x5c", "jwk"])
@pytest.mark.parametrize("form", FORMS)
def test_x5c_of_another_form(judge, signers, form, place):
    """x5c decides, though the key itself is trusted and its kid is there."""
    trusted = signers.trusted["RSA"]
    value = FORMS[form](x5c(trusted))
    if value and value == x5c(trusted):
        pytest.skip("the certificate has no character in which the two alphabets differ")
    source = {"x5c": value} if place == "x5c" else {"jwk": jwk(trusted.private, x5c=value)}
    judge(BAD_TOKEN, jose.make_token(trusted.private, {"alg": "RS256", "kid": trusted.kid, **source}))


def test_token_is_not_accepted_after_its_certificates(judge, token_connection, signers):
    brief = Holder("brief", issuer=signers.root, days=(-1, 4 / 86400))
    token = jose.make_token(brief.private, {"alg": "ES256", "x5c": x5c(brief)}, claims(["read"]))
    judge(GRANTED, token)
    ask = parameters("GET", routes.LIST, token)
    assert wait_until(lambda: token_connection.request(ask).status == 401, pause=0.2)
    judge(BAD_TOKEN, token)
