"""The signature of a token: algorithms, the keys that they fit, and signatures that were changed."""

import base64
import hashlib
import hmac
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from harness import jose
from harness.jose import der64, encode, kind_of, part, pem
from harness.refusals import BAD_TOKEN
from harness.signers import ALGORITHMS, EC_ALGORITHMS, GRANTED, KINDS, RSA_ALGORITHMS
from harness.tokens import ABSENT, claims, remember


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "nonE", "", "HS256", "hs256", "EdDSA", "dir"])
@pytest.mark.parametrize("source", ["kid", "jwk", "x5c"])
@pytest.mark.parametrize("signed", ["", "AA", "good"])
def test_algorithm_that_is_none(judge, signers, algorithm, source, signed):
    """Without a signature, with two letters, and with one that is good for RS256."""
    private, header = signers.signer("RS256", source)
    text = f"{encode({**header, 'alg': algorithm})}.{encode(claims())}"
    if signed == "good":
        signed = part(jose.signature(private, "RS256", text.encode()))
    judge(BAD_TOKEN, remember(f"{text}.{signed}"))


@pytest.mark.parametrize(
    "spelling", ["rs256", "Rs256", "RS256\0", " RS256", "RS-256", 256, None, ["RS256"], ABSENT], ids=repr
)
def test_algorithm_in_another_spelling(judge, signers, spelling):
    private, header = signers.signer("RS256", "kid")
    header = {name: value for name, value in {**header, "alg": spelling}.items() if value is not ABSENT}
    judge(BAD_TOKEN, jose.make_token(private, header, algorithm="RS256"))


def secrets_of(signers):
    trusted = signers.trusted["RSA"]
    public = trusted.private.public_key()
    encoding, form = jose.serialization.Encoding, jose.serialization.PublicFormat
    return {
        "public key": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "public key in DER": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "PKCS 1": public.public_bytes(encoding.PEM, form.PKCS1),
        "certificate": pem(trusted.certificate).encode(),
        "certificate in DER": base64.b64decode(der64(trusted.certificate)),
        "bundle": signers.bundle.encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("source", ["kid", "jwk", "x5c of the bundle"])
@pytest.mark.parametrize(
    "secret",
    ["public key", "public key in DER", "PKCS 1", "certificate", "certificate in DER", "bundle", "empty"],
)
def test_hmac_with_public_data_as_the_secret(judge, signers, algorithm, source, secret):
    key = secrets_of(signers)[secret]
    _, header = signers.signer("RS256", source)
    digest = getattr(hashlib, "sha" + algorithm[2:])

    def sign(key, _, text):
        return hmac.digest(key, text, digest)

    judge(BAD_TOKEN, jose.make_token(key, {**header, "alg": algorithm}, sign=sign))


UNFIT = [
    (claimed, kind)
    for claimed, kind in itertools.product(ALGORITHMS, KINDS)
    if kind_of(claimed) != kind
]


@pytest.mark.parametrize("source", ["kid", "jwk", "x5c", "jwk with x5c"])
@pytest.mark.parametrize("claimed, kind", UNFIT)
def test_algorithm_that_does_not_fit_the_key(judge, signers, claimed, kind, source):
    """ES256 on a P-384 key, and so on: signed with that key and that digest."""
    true = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[kind]
    private, header = signers.signer(true, source)
    sign = f"{'RS' if kind == 'RSA' else 'ES'}{claimed[2:]}"
    judge(BAD_TOKEN, jose.make_token(private, {**header, "alg": claimed}, algorithm=sign))


@pytest.mark.parametrize("claimed, true", itertools.permutations(RSA_ALGORITHMS, 2))
def test_another_digest_than_the_algorithms(judge, signers, claimed, true):
    private, header = signers.signer("RS256", "kid")
    judge(BAD_TOKEN, jose.make_token(private, {**header, "alg": claimed}, algorithm=true))


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
@pytest.mark.parametrize("claimed", ["as it is", "RS"])
def test_rsa_pss(judge, signers, algorithm, claimed):
    digest = jose.HASHES[algorithm[2:]]

    def sign(private, _, text):
        return private.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)

    private, header = signers.signer("RS256", "kid")
    name = algorithm if claimed == "as it is" else "RS" + algorithm[2:]
    judge(BAD_TOKEN, jose.make_token(private, {**header, "alg": name}, sign=sign))


@pytest.mark.parametrize("algorithm", EC_ALGORITHMS)
@pytest.mark.parametrize("source", ["kid", "x5c"])
def test_ecdsa_signature_in_der(judge, signers, algorithm, source):
    def sign(private, _, text):
        return private.sign(text, ec.ECDSA(jose.HASHES[algorithm[2:]]))

    private, header = signers.signer(algorithm, source)
    judge(BAD_TOKEN, jose.make_token(private, header, sign=sign))


def flip(position):
    def change(raw):
        changed = bytearray(raw)
        changed[position] ^= 1
        return bytes(changed)

    return change


CHANGES = {
    "stripped": lambda raw: b"",
    "one byte": lambda raw: raw[:1],
    "truncated": lambda raw: raw[:-1],
    "truncated at the front": lambda raw: raw[1:],
    "padded": lambda raw: raw + b"\0",
    "padded at the front": lambda raw: b"\0" + raw,
    "doubled": lambda raw: raw + raw,
    "first bit": flip(0),
    "middle bit": flip(30),
    "last bit": flip(-1),
    "zeros": lambda raw: bytes(len(raw)),
    "ones": lambda raw: b"\xff" * len(raw),
    "one": lambda raw: bytes(len(raw) - 1) + b"\1",
    "32 KiB": lambda raw: raw * (32768 // len(raw)),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_signature(judge, signers, algorithm, change):
    private, header = signers.signer(algorithm, "kid")
    judge(BAD_TOKEN, jose.make_token(private, header, sign=lambda *what: CHANGES[change](jose.signature(*what))))


@pytest.mark.parametrize("algorithm", EC_ALGORITHMS)
@pytest.mark.parametrize("zero", ["r", "s", "both"])
def test_ecdsa_signature_of_zeros(judge, signers, algorithm, zero):
    def sign(*what):
        raw = jose.signature(*what)
        half = len(raw) // 2
        r, s = raw[:half], raw[half:]
        return (bytes(half) if zero != "s" else r) + (bytes(half) if zero != "r" else s)

    private, header = signers.signer(algorithm, "kid")
    judge(BAD_TOKEN, jose.make_token(private, header, sign=sign))


@pytest.mark.parametrize("which", ["header", "claims"])
def test_signature_of_another_token(judge, signers, which):
    private, header = signers.signer("RS256", "kid")
    one = jose.make_token(private, header, claims(["read"])).split(".")
    other = jose.make_token(private, {**header, "cty": "x"}, claims(["*"], sub="root")).split(".")
    mixed = [other[0], one[1], one[2]] if which == "header" else [one[0], other[1], one[2]]
    judge(BAD_TOKEN, remember(".".join(mixed)))
    judge(GRANTED, ".".join(one))
