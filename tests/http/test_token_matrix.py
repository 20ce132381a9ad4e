"""Contract section 4 as a matrix: algorithm x key source x claim fault x access.

Each case has one expected status and challenge, and is asked twice: a token that has been
believed is remembered by the service, one that has been refused must not come to be believed.
"""

import base64
import hashlib
import hmac
import itertools
import json
import socket
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from harness import fastcgi, forge, routes
from harness.fastcgi import parameters
from harness.forge import Holder, der64, encode, jwk, kind_of, part, pem, x5c
from harness.process import wait_until
from harness.refusals import BAD_TOKEN, NO_ACCESS, NO_TOKEN, assert_refused
from harness.tokens import ABSENT, SERVICE, claims, entry, remember

GRANTED = "granted"
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
EC_ALGORITHMS = ("ES256", "ES384", "ES512")
ALGORITHMS = RSA_ALGORITHMS + EC_ALGORITHMS
KINDS = ("RSA", "P-256", "P-384", "P-521")
SOURCES = ("kid", "jwk", "x5c of the bundle", "x5c", "x5c over another", "jwk with x5c")
ACCESSES = {"none": (), "read": ("read",), "write": ("write",), "star": ("*",)}
ROUTES = {"read": ("GET", routes.LIST), "write": ("POST", routes.PAUSE)}


class Cast:
    """Everybody who signs: for each kind of key one in the bundle, and one whom the bundle's
    authority vouches for, directly and over another authority; and some whom nobody knows."""

    def __init__(self):
        self.known = {kind: Holder(f"known {kind}", kind) for kind in KINDS}
        self.second = Holder("known too", "RSA")
        self.root = Holder("the root", ca=True)
        self.between = Holder("between", issuer=self.root, ca=True)
        self.vouched = {kind: Holder(f"vouched for {kind}", kind, self.root) for kind in KINDS}
        self.far = {kind: Holder(f"far {kind}", kind, self.between) for kind in KINDS}
        self.stranger = {kind: Holder(f"stranger {kind}", kind) for kind in KINDS}
        # Certificates of the bundle that another of the bundle has issued, and one that may issue by its usage alone.
        self.branch = Holder("the branch", issuer=self.root, ca=True)
        self.by_usage = Holder("by usage", ca=None)
        # Who calls himself the root, and those whom he vouches for.
        self.pretender = Holder("the root", ca=True)
        self.dupe = Holder("a dupe", "RSA", self.pretender)

    @property
    def bundle(self):
        return "".join(pem(holder.certificate) for holder in [*self.known.values(), self.second, self.root, self.branch, self.by_usage])

    def signer(self, algorithm, source):
        """The private key, and the header that says whose it is."""
        kind = kind_of(algorithm)
        holders = {"x5c": self.vouched, "x5c over another": self.far, "jwk with x5c": self.far}
        holder = holders.get(source, self.known)[kind]
        header = {
            "kid": {"kid": holder.kid},
            "jwk": {"jwk": jwk(holder.private, kid=holder.kid)},
            "jwk with x5c": {"jwk": jwk(holder.private, x5c=holder.chain)},
        }.get(source, {"x5c": holder.chain})
        return holder.private, {"typ": "JWT", "alg": algorithm, **header}


@pytest.fixture(scope="module")
def cast():
    return Cast()


@pytest.fixture(scope="module")
def database(house):
    with house.database() as database:
        yield database


@pytest.fixture(scope="module")
def service(house, database, cast):
    bundle = house.workspace.file(house.unique("bundle"), cast.bundle)
    changes = {"auth": {"token": {"rootcertbundle": bundle}}}
    with house.service(database.name, changes=changes) as service:
        with house.nginx(service) as client:
            service.client = client
            yield service


@pytest.fixture(scope="module")
def connection(service):
    """One for all: the service keeps it, whatever it thinks of the tokens on it."""
    with fastcgi.Connection(service.address) as connection:
        yield connection


@pytest.fixture
def judge(connection):
    """Asks with a token (or a whole header) and compares what comes with what should."""

    def judge(expected, token=None, access="read", **more):
        method, path = ROUTES[access]
        for _ in range(2):
            answer = connection.request(parameters(method, path, token, **more))
            if expected == GRANTED:
                assert answer.status == 200, answer
                assert answer.header("WWW-Authenticate") is None
            else:
                assert_refused(answer, access, expected)

    return judge


# What is believed, and what for


@pytest.mark.parametrize("access", ROUTES)
@pytest.mark.parametrize("granted", ACCESSES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_token(judge, cast, algorithm, source, granted, access):
    actions = ACCESSES[granted]
    private, header = cast.signer(algorithm, source)
    expected = GRANTED if access in actions or "*" in actions else NO_ACCESS
    judge(expected, forge.forge(private, header, claims(actions)), access)


# Faults in the claims: whoever signed, and however he is named


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


def spoilt(change):
    return {name: value() if callable(value) else value for name, value in change.items()}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES256", "x5c"), ("ES384", "jwk")])
def test_fault_in_the_claims(judge, cast, algorithm, source, fault):
    private, header = cast.signer(algorithm, source)
    judge(BAD_TOKEN, forge.forge(private, header, claims(**spoilt(FAULTS[fault]))))


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
def test_unusual_claims_that_are_good(judge, cast, algorithm, source, change):
    private, header = cast.signer(algorithm, source)
    judge(GRANTED, forge.forge(private, header, claims(["read"], **spoilt(UNUSUAL[change]))))


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
    "action with a zero": ([entry("*\0", "read\0")], NO_ACCESS),
    "type absent": ([{"name": "background-migrations", "actions": ["*"]}], NO_ACCESS),
    "name as a list": ([{**entry("*"), "name": ["background-migrations"]}], NO_ACCESS),
    "name in capitals": ([entry("*", name="Background-Migrations")], NO_ACCESS),
    "catalog": ([entry("*", name="catalog")], NO_ACCESS),
    "odd ones beside it": ([None, 7, "x", [], {}, entry("read")], GRANTED),
    "several for it": ([entry("write"), entry(), entry("read")], GRANTED),
}


@pytest.mark.parametrize("form", LISTS)
@pytest.mark.parametrize("algorithm, source", [("RS256", "kid"), ("ES512", "x5c over another")])
def test_form_of_access(judge, cast, algorithm, source, form):
    access, expected = LISTS[form]
    # libjwt reads no string with a zero byte.
    expected = BAD_TOKEN if "zero" in form else expected
    private, header = cast.signer(algorithm, source)
    judge(expected, forge.forge(private, header, claims(access=access)))


def test_access_of_many_entries(judge, cast):
    private, header = cast.signer("RS256", "kid")
    few = OTHERS[:900]
    judge(GRANTED, forge.forge(private, header, claims(access=few + [entry("read")])))
    judge(NO_ACCESS, forge.forge(private, header, claims(access=few)))


def test_access_of_ten_thousand_entries(judge, cast):
    short = [None] * 9999
    private, header = cast.signer("RS256", "kid")
    payload = json.dumps(claims(access=short + [entry("read")]), separators=(",", ":"))
    judge(GRANTED, forge.forge(private, header, payload))


# The signature


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "nonE", "", "HS256", "hs256", "EdDSA", "dir"])
@pytest.mark.parametrize("source", ["kid", "jwk", "x5c"])
@pytest.mark.parametrize("signed", ["", "AA", "good"])
def test_algorithm_that_is_none(judge, cast, algorithm, source, signed):
    """Unsigned, with two letters, and with what would be good had the header told the truth."""
    private, header = cast.signer("RS256", source)
    text = f"{encode({**header, 'alg': algorithm})}.{encode(claims())}"
    if signed == "good":
        signed = part(forge.signature(private, "RS256", text.encode()))
    judge(BAD_TOKEN, remember(f"{text}.{signed}"))


@pytest.mark.parametrize(
    "spelling", ["rs256", "Rs256", "RS256\0", " RS256", "RS-256", 256, None, ["RS256"], ABSENT], ids=repr
)
def test_algorithm_spelt_another_way(judge, cast, spelling):
    private, header = cast.signer("RS256", "kid")
    header = {name: value for name, value in {**header, "alg": spelling}.items() if value is not ABSENT}
    judge(BAD_TOKEN, forge.forge(private, header, algorithm="RS256"))


def secrets_of(cast):
    known = cast.known["RSA"]
    public = known.private.public_key()
    encoding, form = forge.serialization.Encoding, forge.serialization.PublicFormat
    return {
        "public key": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "public key in DER": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "PKCS 1": public.public_bytes(encoding.PEM, form.PKCS1),
        "certificate": pem(known.certificate).encode(),
        "certificate in DER": base64.b64decode(der64(known.certificate)),
        "bundle": cast.bundle.encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("source", ["kid", "jwk", "x5c of the bundle"])
@pytest.mark.parametrize(
    "secret",
    ["public key", "public key in DER", "PKCS 1", "certificate", "certificate in DER", "bundle", "empty"],
)
def test_hmac_with_what_everybody_knows(judge, cast, algorithm, source, secret):
    key = secrets_of(cast)[secret]
    _, header = cast.signer("RS256", source)
    digest = getattr(hashlib, "sha" + algorithm[2:])

    def sign(key, _, text):
        return hmac.digest(key, text, digest)

    judge(BAD_TOKEN, forge.forge(key, {**header, "alg": algorithm}, sign=sign))


UNFIT = [
    (claimed, kind)
    for claimed, kind in itertools.product(ALGORITHMS, KINDS)
    if kind_of(claimed) != kind
]


@pytest.mark.parametrize("source", ["kid", "jwk", "x5c", "jwk with x5c"])
@pytest.mark.parametrize("claimed, kind", UNFIT)
def test_algorithm_that_does_not_fit_the_key(judge, cast, claimed, kind, source):
    """ES256 on a P-384 key and so on: rightly signed, as far as that goes."""
    true = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[kind]
    private, header = cast.signer(true, source)
    sign = f"{'RS' if kind == 'RSA' else 'ES'}{claimed[2:]}"
    judge(BAD_TOKEN, forge.forge(private, {**header, "alg": claimed}, algorithm=sign))


@pytest.mark.parametrize("claimed, true", itertools.permutations(RSA_ALGORITHMS, 2))
def test_algorithm_that_is_another_of_the_same_kind(judge, cast, claimed, true):
    private, header = cast.signer("RS256", "kid")
    judge(BAD_TOKEN, forge.forge(private, {**header, "alg": claimed}, algorithm=true))


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
@pytest.mark.parametrize("claimed", ["as it is", "RS"])
def test_rsa_pss(judge, cast, algorithm, claimed):
    digest = forge.HASHES[algorithm[2:]]

    def sign(private, _, text):
        return private.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)

    private, header = cast.signer("RS256", "kid")
    name = algorithm if claimed == "as it is" else "RS" + algorithm[2:]
    judge(BAD_TOKEN, forge.forge(private, {**header, "alg": name}, sign=sign))


@pytest.mark.parametrize("algorithm", EC_ALGORITHMS)
@pytest.mark.parametrize("source", ["kid", "x5c"])
def test_ecdsa_signature_in_der(judge, cast, algorithm, source):
    def sign(private, _, text):
        return private.sign(text, ec.ECDSA(forge.HASHES[algorithm[2:]]))

    private, header = cast.signer(algorithm, source)
    judge(BAD_TOKEN, forge.forge(private, header, sign=sign))


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
def test_signature_that_was_changed(judge, cast, algorithm, change):
    private, header = cast.signer(algorithm, "kid")
    judge(BAD_TOKEN, forge.forge(private, header, sign=lambda *what: CHANGES[change](forge.signature(*what))))


@pytest.mark.parametrize("algorithm", EC_ALGORITHMS)
@pytest.mark.parametrize("zero", ["r", "s", "both"])
def test_ecdsa_signature_of_zeros(judge, cast, algorithm, zero):
    def sign(*what):
        raw = forge.signature(*what)
        half = len(raw) // 2
        r, s = raw[:half], raw[half:]
        return (bytes(half) if zero != "s" else r) + (bytes(half) if zero != "r" else s)

    private, header = cast.signer(algorithm, "kid")
    judge(BAD_TOKEN, forge.forge(private, header, sign=sign))


@pytest.mark.parametrize("which", ["header", "claims"])
def test_signature_of_another_token(judge, cast, which):
    private, header = cast.signer("RS256", "kid")
    one = forge.forge(private, header, claims(["read"])).split(".")
    other = forge.forge(private, {**header, "cty": "x"}, claims(["*"], sub="root")).split(".")
    mixed = [other[0], one[1], one[2]] if which == "header" else [one[0], other[1], one[2]]
    judge(BAD_TOKEN, remember(".".join(mixed)))
    judge(GRANTED, ".".join(one))


# The key: kid


def test_kid_of_another_trusted_key(judge, cast):
    private, header = cast.signer("RS256", "kid")
    judge(BAD_TOKEN, forge.forge(private, {**header, "kid": cast.second.kid}))


def test_kid_of_a_vouched_key_is_not_in_the_bundle(judge, cast):
    holder = cast.vouched["RSA"]
    judge(BAD_TOKEN, forge.forge(holder.private, {"alg": "RS256", "kid": holder.kid}))


@pytest.mark.parametrize("kind", KINDS)
def test_kid_of_a_stranger_and_a_strangers_key_under_a_known_kid(judge, cast, kind):
    algorithm = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[kind]
    private = cast.stranger[kind].private
    for kid in (cast.stranger[kind].kid, cast.known[kind].kid):
        judge(BAD_TOKEN, forge.forge(private, {"alg": algorithm, "kid": kid}))


@pytest.mark.parametrize("kid", [ABSENT, None, "", 7, ["x"], {}, True, "x" * 5000], ids=lambda kid: repr(kid)[:20])
def test_kid_of_an_odd_form(judge, cast, kid):
    header = {"alg": "RS256"} if kid is ABSENT else {"alg": "RS256", "kid": kid}
    judge(BAD_TOKEN, forge.forge(cast.known["RSA"].private, header))


@pytest.mark.parametrize("change", [str.lower, lambda kid: kid[:-1], lambda kid: kid + "=", lambda kid: kid + "\0x"])
def test_kid_that_resembles_a_known_one(judge, cast, change):
    known = cast.known["RSA"]
    judge(BAD_TOKEN, forge.forge(known.private, {"alg": "RS256", "kid": change(known.kid)}))


# The key: x5c


def by_chain(holder, *chain, algorithm="RS256", **more):
    return forge.forge(holder.private, {"typ": "JWT", "alg": algorithm, "x5c": x5c(*chain), **more})


def test_chains_that_lead_to_the_bundle(judge, cast):
    far = cast.far["RSA"]
    judge(GRANTED, by_chain(far, far, cast.between))
    judge(GRANTED, by_chain(far, far, cast.between, cast.root))
    judge(GRANTED, by_chain(cast.known["RSA"], cast.known["RSA"]))
    judge(GRANTED, by_chain(cast.root, cast.root, algorithm="ES256"))
    judge(GRANTED, by_chain(cast.branch, cast.branch, algorithm="ES256"))
    judge(GRANTED, by_chain(cast.by_usage, cast.by_usage, algorithm="ES256"))
    below = Holder("below the branch", "RSA", cast.branch)
    judge(GRANTED, by_chain(below, below))
    judge(GRANTED, by_chain(below, below, cast.branch))


def test_chain_goes_before_kid(judge, cast):
    far = cast.far["RSA"]
    judge(GRANTED, by_chain(far, far, cast.between, kid=cast.known["RSA"].kid))
    judge(GRANTED, by_chain(far, far, cast.between, kid="whatever"))
    judge(GRANTED, by_chain(far, far, cast.between, jwk=jwk(cast.stranger["RSA"].private)))
    judge(BAD_TOKEN, by_chain(cast.known["RSA"], far, cast.between, kid=cast.known["RSA"].kid))
    stranger = cast.stranger["RSA"]
    known = cast.known["RSA"]
    judge(BAD_TOKEN, by_chain(stranger, stranger, kid=known.kid))
    judge(BAD_TOKEN, by_chain(known, stranger, kid=known.kid, jwk=jwk(known.private.public_key())))


def odd_chains(cast):
    far, between, root = cast.far["RSA"], cast.between, cast.root
    stranger = cast.stranger["RSA"]
    leaf, branch = cast.vouched["RSA"], cast.branch
    usage = Holder("usage", issuer=root, ca=None)
    old = Holder("old", issuer=root, ca=True, days=(-9, -1))
    new = Holder("new", issuer=root, ca=True, days=(1, 9))
    no_authority = Holder("no authority", issuer=root, ca=False)
    weak = Holder("weak", issuer=root, key=rsa.generate_private_key(65537, 1024))
    return {
        "a stranger's": (stranger, [stranger]),
        "a stranger's, with a trusted one after": (stranger, [stranger, root]),
        "trusted, signed by a stranger": (stranger, [far, between]),
        "expired": (None, [Holder("expired", "RSA", root, days=(-9, -1))]),
        "not yet valid": (None, [Holder("early", "RSA", root, days=(1, 9))]),
        "over an expired one": (None, [Holder("x", "RSA", old), old]),
        "over a future one": (None, [Holder("x", "RSA", new), new]),
        "leaf without chain": (far, [far]),
        "in the wrong order": (far, [between, far]),
        "reversed": (far, [root, between, far]),
        "its issuers in the wrong order": (far, [far, root, between]),
        "a stranger among them": (far, [far, stranger, between]),
        "a stranger on top": (far, [far, between, stranger]),
        "a pretender on top": (far, [far, between, cast.pretender]),
        "a stranger below the known root": (stranger, [stranger, root]),
        "twice the same": (leaf, [leaf, leaf]),
        "a certificate of the bundle twice": (root, [root, root]),
        "a certificate of the bundle six times": (root, [root] * 6),
        "an issuer of the bundle twice": (leaf, [leaf, root, root]),
        "a certificate of the bundle, and its issuer": (branch, [branch, root]),
        "above a certificate of the bundle": (None, [Holder("x", issuer=branch), branch, root]),
        "over one that may issue by its usage alone": (None, [Holder("x", issuer=cast.by_usage)]),
        "over one below that may issue by its usage alone": (None, [Holder("x", issuer=usage), usage]),
        "a root of a trusted name": (cast.dupe, [cast.dupe, cast.pretender]),
        "a root of a trusted name, left out": (cast.dupe, [cast.dupe]),
        "that root alone": (cast.pretender, [cast.pretender]),
        "over one that is no authority": (None, [Holder("x", "RSA", no_authority), no_authority]),
        "over a leaf of the bundle": (None, [Holder("x", "RSA", cast.known["P-256"])]),
        "of a known name": (None, [Holder("known RSA", "RSA")]),
        "signed with SHA-1": (None, [Holder("sha1", "RSA").certified_with_sha1(root)]),
        "of a weak key": (weak, [weak]),
        "of seven": (leaf, [leaf] + [between] * 6),
        "of a hundred": (stranger, [stranger] * 100),
    }


ODD_CHAINS = [
    "a stranger's", "a stranger's, with a trusted one after", "trusted, signed by a stranger", "expired",
    "not yet valid", "over an expired one", "over a future one", "leaf without chain", "in the wrong order",
    "reversed", "its issuers in the wrong order", "a stranger among them", "a stranger on top",
    "a pretender on top", "a stranger below the known root", "twice the same", "a certificate of the bundle twice",
    "a certificate of the bundle six times", "an issuer of the bundle twice",
    "a certificate of the bundle, and its issuer", "above a certificate of the bundle",
    "over one that may issue by its usage alone", "over one below that may issue by its usage alone",
    "a root of a trusted name",
    "a root of a trusted name, left out", "that root alone",
    "over one that is no authority", "over a leaf of the bundle", "of a known name", "signed with SHA-1",
    "of a weak key", "of seven", "of a hundred",
]  # fmt: skip


@pytest.fixture(scope="module")
def chains(cast):
    chains = odd_chains(cast)
    assert set(chains) == set(ODD_CHAINS)
    return chains


@pytest.mark.parametrize("place", ["x5c", "jwk"])
@pytest.mark.parametrize("name", ODD_CHAINS)
def test_odd_chain(judge, chains, name, place):
    holder, chain = chains[name]
    holder = holder or chain[0]
    algorithm = "RS256" if isinstance(holder.private, rsa.RSAPrivateKey) else "ES256"
    source = {"x5c": x5c(*chain)} if place == "x5c" else {"jwk": jwk(holder.private, x5c=x5c(*chain))}
    judge(BAD_TOKEN, forge.forge(holder.private, {"alg": algorithm, **source}))


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
    "odd intermediate": lambda good: [good[0], "AAAA"],
    "a key": lambda good: ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"],
    "zero in it": lambda good: [good[0] + "\0", *good[1:]],
}


@pytest.mark.parametrize("place", ["x5c", "jwk"])
@pytest.mark.parametrize("form", FORMS)
def test_x5c_of_an_odd_form(judge, cast, form, place):
    """Also where the key itself is trusted and its kid is there: x5c decides."""
    known = cast.known["RSA"]
    value = FORMS[form](x5c(known))
    if value and value == x5c(known):
        pytest.skip("this certificate has no letter in which the two alphabets differ")
    source = {"x5c": value} if place == "x5c" else {"jwk": jwk(known.private, x5c=value)}
    judge(BAD_TOKEN, forge.forge(known.private, {"alg": "RS256", "kid": known.kid, **source}))


def test_a_token_is_not_believed_beyond_its_certificates(judge, connection, cast):
    brief = Holder("brief", issuer=cast.root, days=(-1, 4 / 86400))
    token = forge.forge(brief.private, {"alg": "ES256", "x5c": x5c(brief)}, claims(["read"]))
    judge(GRANTED, token)
    ask = parameters("GET", routes.LIST, token)
    assert wait_until(lambda: connection.request(ask).status == 401, pause=0.2)
    judge(BAD_TOKEN, token)


# The key: jwk


def test_jwk_of_the_bundle_with_and_without_kid(judge, cast):
    for kind, algorithm in zip(KINDS, ("RS256", *EC_ALGORITHMS), strict=True):
        known = cast.known[kind]
        for more in ({}, {"kid": known.kid}, {"use": "sig", "alg": algorithm, "key_ops": ["verify"]}):
            judge(GRANTED, forge.forge(known.private, {"alg": algorithm, "jwk": jwk(known.private, **more)}))


JWK_FAULTS = {
    "a stranger's": lambda cast: jwk(cast.stranger["RSA"].private),
    "a stranger's with a known kid": lambda cast: jwk(cast.stranger["RSA"].private, kid=cast.known["RSA"].kid),
    "another trusted one": lambda cast: jwk(cast.second.private),
    "a vouched one without x5c": lambda cast: jwk(cast.vouched["RSA"].private),
    "x5c that does not match": lambda cast: jwk(cast.known["RSA"].private, x5c=cast.far["RSA"].chain),
    "x5c that matches, numbers that do not": lambda cast: jwk(cast.stranger["RSA"].private, x5c=cast.far["RSA"].chain),
    "x5c of the signer, numbers of another": lambda cast: jwk(cast.stranger["RSA"].private, x5c=cast.far["RSA"].chain),
    "kid of another": lambda cast: jwk(cast.known["RSA"].private, kid=cast.second.kid),
    "kid null": lambda cast: jwk(cast.known["RSA"].private, kid=None),
    "kid empty": lambda cast: jwk(cast.known["RSA"].private, kid=""),
    "n with a zero before": lambda cast: jwk(cast.known["RSA"].private, n=forge._number(
        cast.known["RSA"].private.public_key().public_numbers().n, 257)),
    "n with padding": lambda cast: jwk(cast.known["RSA"].private, n=jwk(cast.known["RSA"].private)["n"] + "=="),
    "n absent": lambda cast: {"kty": "RSA", "e": "AQAB"},
    "n null": lambda cast: jwk(cast.known["RSA"].private, n=None),
    "e another": lambda cast: jwk(cast.known["RSA"].private, e="Aw"),
    "e a number": lambda cast: jwk(cast.known["RSA"].private, e=65537),
    "kty EC": lambda cast: jwk(cast.known["RSA"].private, kty="EC"),
    "kty rsa": lambda cast: jwk(cast.known["RSA"].private, kty="rsa"),
    "kty oct": lambda cast: {"kty": "oct", "k": "AAAA"},
    "kty absent": lambda cast: {"n": jwk(cast.known["RSA"].private)["n"], "e": "AQAB"},
    "null": lambda cast: None,
    "text": lambda cast: json.dumps(jwk(cast.known["RSA"].private)),
    "list": lambda cast: [jwk(cast.known["RSA"].private)],
    "empty": lambda cast: {},
    "number": lambda cast: 7,
}  # fmt: skip


@pytest.mark.parametrize("fault", JWK_FAULTS)
@pytest.mark.parametrize("signer", ["the known key", "the jwk's key"])
def test_jwk_with_a_fault(judge, cast, fault, signer):
    """Signed with the known key, and where that is another, with the one in the jwk."""
    signers = {"a stranger's": "stranger", "a stranger's with a known kid": "stranger",
               "a vouched one without x5c": "vouched", "x5c of the signer, numbers of another": "far",
               "x5c that matches, numbers that do not": "stranger"}  # fmt: skip
    holder = cast.known["RSA"]
    if signer == "the jwk's key":
        holder = getattr(cast, signers[fault])["RSA"] if fault in signers else holder
    header = {"alg": "RS256", "kid": cast.known["RSA"].kid, "jwk": JWK_FAULTS[fault](cast)}
    judge(BAD_TOKEN, forge.forge(holder.private, header))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_jwk_with_private_members(judge, cast, member, kind):
    algorithm = "RS256" if kind == "RSA" else "ES256"
    for holder, more in ((cast.known[kind], {}), (cast.far[kind], {"x5c": cast.far[kind].chain})):
        for value in ("AQAB", None):
            key = jwk(holder.private, **{member: value}, **more)
            judge(BAD_TOKEN, forge.forge(holder.private, {"alg": algorithm, "jwk": key}))


EC_FAULTS = {
    "crv another": {"crv": "P-384"},
    "crv absent": {"crv": ABSENT},
    "crv in openssl's words": {"crv": "prime256v1"},
    "x absent": {"x": ABSENT},
    "x another": {"x": "A" * 43},
    "y absent": {"y": ABSENT},
    "y another": {"y": "A" * 43},
    "kty RSA": {"kty": "RSA"},
}


@pytest.mark.parametrize("fault", EC_FAULTS)
@pytest.mark.parametrize("chain", [False, True], ids=["alone", "with x5c"])
def test_ec_jwk_with_a_fault(judge, cast, fault, chain):
    holder = cast.far["P-256"] if chain else cast.known["P-256"]
    more = {**EC_FAULTS[fault], **({"x5c": holder.chain} if chain else {})}
    key = {name: value for name, value in jwk(holder.private, **more).items() if value is not ABSENT}
    judge(BAD_TOKEN, forge.forge(holder.private, {"alg": "ES256", "jwk": key}))


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
def test_header_with_a_fault(judge, cast, algorithm, source, change):
    private, header = cast.signer(algorithm, source)
    judge(BAD_TOKEN, forge.forge(private, {**header, **HEADERS[change]}))


@pytest.mark.parametrize(
    "change",
    [{"typ": "jwt"}, {"typ": ABSENT}, {"cty": "x"}, {"jku": "https://x/"}, {"x5u": "https://x/"}, {"b64": False}],
    ids=["jwt", "no typ", "cty", "jku", "x5u", "b64"],
)
def test_header_that_is_good(judge, cast, change):
    private, header = cast.signer("RS256", "kid")
    header = {name: value for name, value in {**header, **change}.items() if value is not ABSENT}
    judge(GRANTED, forge.forge(private, header))


def doubled(good, name, value, first):
    """The JSON of an object with one name twice."""
    pair = f"{json.dumps(name)}: {json.dumps(value)}"
    inside = json.dumps(good)[1:-1]
    return f"{{{pair}, {inside}}}" if first else f"{{{inside}, {pair}}}"


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "name, value",
    [("alg", "RS256"), ("alg", "none"), ("alg", "HS256"), ("kid", "other"), ("typ", "JWT")],
)
def test_header_member_twice(judge, cast, name, value, first):
    private, header = cast.signer("RS256", "kid")
    judge(BAD_TOKEN, forge.forge(private, doubled(header, name, value, first), algorithm="RS256"))


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "name, value",
    [("exp", 4000000000), ("exp", 1), ("nbf", 0), ("iss", "gitlab-issuer"), ("aud", SERVICE), ("sub", "root"),
     ("access", [entry("*")]), ("access", [])],
)  # fmt: skip
def test_claim_twice(judge, cast, name, value, first):
    private, header = cast.signer("RS256", "kid")
    judge(BAD_TOKEN, forge.forge(private, header, doubled(claims(), name, value, first)))


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


@pytest.mark.parametrize("place", ["header", "claims"])
@pytest.mark.parametrize("text", TEXTS)
def test_json_that_is_none_or_two(judge, cast, text, place):
    private, header = cast.signer("RS256", "kid")
    good = claims()
    if place == "header":
        header["sub"] = "x"
        del header["typ"]
    target = header if place == "header" else {name: good[name] for name in good if name != "access"}
    spoilt_text = f"{{{json.dumps(target)[1:-1]}, {TEXTS[text]}}}"
    if place == "header":
        if text == "a name twice in access":
            return
        judge(BAD_TOKEN, forge.forge(private, spoilt_text, good, algorithm="RS256"))
    else:
        judge(BAD_TOKEN, forge.forge(private, header, spoilt_text))


@pytest.mark.parametrize(
    "text", ['"a:b": "c:d"', '"x": "\\"a\\": \\\\"', '"x": "\'"', '"x": {"sub": {"sub": [{"sub": 1}]}}']
)
def test_json_that_looks_odd_and_is_good(judge, cast, text):
    private, header = cast.signer("RS256", "kid")
    judge(GRANTED, forge.forge(private, header, f" {{ {json.dumps(claims())[1:-1]} , {text} }} \n"))


# The token's spelling


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def beyond(text):
    """The same bytes, with a bit set in the last letter that belongs to none of them."""
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
def test_spelling(judge, cast, algorithm, spelling):
    private, header = cast.signer(algorithm, "kid")
    token = SPELLINGS[spelling](*forge.forge(private, header).split("."))
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
def test_authorization(judge, cast, algorithm, form):
    token = forge.forge(*cast.signer(algorithm, "kid"))
    judge(AUTHORIZATIONS[form], HTTP_AUTHORIZATION=form.format(token, token))


def raw_pairs(*pairs):
    """FastCGI's parameters, in which one name may come twice."""
    return b"".join(fastcgi.pairs({name: value}) for name, value in pairs)


@pytest.mark.parametrize("other", ["good", "bad", "Basic eDp5", ""])
@pytest.mark.parametrize("order", ["first", "last"])
def test_two_authorizations(service, cast, other, order):
    token = f"Bearer {forge.forge(*cast.signer('RS256', 'kid'))}"
    two = [token, token if other == "good" else "Bearer x.y.z" if other == "bad" else other]
    two = two if order == "first" else two[::-1]
    content = raw_pairs(*parameters("GET", routes.LIST).items(), *(("HTTP_AUTHORIZATION", value) for value in two))
    with fastcgi.Connection(service.address) as connection:
        connection.send(fastcgi.begin(False) + fastcgi.stream(fastcgi.PARAMS, content))
        connection.send(fastcgi.stream(fastcgi.STDIN, b""))
        assert_refused(connection.answer(), "read", NO_TOKEN)


def test_two_authorizations_through_nginx(service, cast):
    token = forge.forge(*cast.signer("RS256", "kid"))
    head = f"GET {routes.LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {token}\r\n" * 2 + "\r\n"
    with socket.create_connection(("127.0.0.1", service.client.port), timeout=10) as connection:
        connection.sendall(head.encode())
        status = connection.makefile("rb").readline().split()[1]
    # nginx passes both on, or from 1.23 on refuses by itself.
    assert status in (b"401", b"400")


# Size


def of_size(cast, size):
    """A good token of so many bytes, made up with other entries of access and then its subject."""
    private, header = cast.signer("RS256", "kid")
    sub = "x"
    while True:
        token = forge.forge(private, header, claims(["read"], sub=sub))
        if len(token) >= size:
            return token
        sub += "x" * max(1, (size - len(token)) * 3 // 4)


LINE = 8 * 1024 - len("Authorization: Bearer \r\n")


def test_the_largest_token_that_nginx_takes_in_one_line(service, cast):
    """Its large_client_header_buffers are of 8 KiB, if nobody has set them."""
    token = of_size(cast, LINE - 8)
    assert LINE - 8 <= len(token) <= LINE
    assert service.client.get(routes.LIST, token).status == 200
    assert_refused(service.client.get(routes.LIST, token[:-8] + "AAAAAAAA"), "read", BAD_TOKEN)


def test_a_token_of_8_kib_is_nginxs_to_refuse(service, cast):
    token = of_size(cast, 8 * 1024)
    assert service.client.get(routes.LIST, token).status == 400
    assert service.client.get(routes.LIST, of_size(cast, 1000)).status == 200


def test_a_token_of_8_kib_at_the_socket(judge, cast):
    judge(GRANTED, of_size(cast, 8 * 1024))


def test_a_token_of_64_kib_at_the_socket(judge, cast):
    token = of_size(cast, 64 * 1024)
    judge(GRANTED, token)
    judge(BAD_TOKEN, remember(token[:-8] + "AAAAAAAA"))
    judge(BAD_TOKEN, remember("A" * 64 * 1024))


@pytest.mark.parametrize("kind", ["good", "letters"])
def test_a_token_of_1_mib_at_the_socket(service, judge, cast, kind):
    token = of_size(cast, 1024 * 1024) if kind == "good" else remember("A" * 1024 * 1024)
    with fastcgi.Connection(service.address) as connection:
        assert connection.request(parameters("GET", routes.LIST, token)).status == 431
    judge(GRANTED, of_size(cast, 1000))
