"""Who signs tokens: keys of the trust bundle, keys that its authorities certify, and keys that are not trusted."""

from . import routes
from .fastcgi import parameters
from .jose import Holder, jwk, kind_of, pem
from .refusals import assert_refused

GRANTED = "granted"
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
EC_ALGORITHMS = ("ES256", "ES384", "ES512")
ALGORITHMS = RSA_ALGORITHMS + EC_ALGORITHMS
KINDS = ("RSA", "P-256", "P-384", "P-521")
# How a header names its key.
SOURCES = ("kid", "jwk", "x5c of the bundle", "x5c", "x5c over another", "jwk with x5c")
# What is asked for an access.
ROUTES = {"read": ("GET", routes.LIST), "write": ("POST", routes.PAUSE)}


class Signers:
    """Those in dictionaries by kind of key."""

    def __init__(self):
        # In the bundle; the branch is issued by the root, and by_usage may issue by its key usage alone.
        self.trusted = {kind: Holder(f"trusted {kind}", kind) for kind in KINDS}
        self.second = Holder("also trusted", "RSA")
        self.root = Holder("the root", ca=True)
        self.branch = Holder("the branch", issuer=self.root, ca=True)
        self.by_usage = Holder("by usage", ca=None)
        # Not in the bundle, and certified by the root, directly or over the intermediate.
        self.intermediate = Holder("the intermediate", issuer=self.root, ca=True)
        self.certified = {kind: Holder(f"certified {kind}", kind, self.root) for kind in KINDS}
        self.deep = {kind: Holder(f"deep {kind}", kind, self.intermediate) for kind in KINDS}
        # Not trusted. The impostor has the root's name.
        self.untrusted = {kind: Holder(f"untrusted {kind}", kind) for kind in KINDS}
        self.impostor = Holder("the root", ca=True)
        self.below_impostor = Holder("below the impostor", "RSA", self.impostor)

    @property
    def bundle(self):
        holders = [*self.trusted.values(), self.second, self.root, self.branch, self.by_usage]
        return "".join(pem(holder.certificate) for holder in holders)

    def signer(self, algorithm, source):
        """A private key that fits the algorithm, and the header that names it in this way."""
        kind = kind_of(algorithm)
        holders = {"x5c": self.certified, "x5c over another": self.deep, "jwk with x5c": self.deep}
        holder = holders.get(source, self.trusted)[kind]
        header = {
            "kid": {"kid": holder.kid},
            "jwk": {"jwk": jwk(holder.private, kid=holder.kid)},
            "jwk with x5c": {"jwk": jwk(holder.private, x5c=holder.chain)},
        }.get(source, {"x5c": holder.chain})
        return holder.private, {"typ": "JWT", "alg": algorithm, **header}


class Judge:
    """Asks a service with a token, and compares the answer with the expected one.

    It asks twice: an accepted token is in the token cache then, and a refused one must not be.
    """

    def __init__(self, connection):
        self.connection = connection

    def __call__(self, expected, token=None, access="read", **more):
        method, path = ROUTES[access]
        for _ in range(2):
            answer = self.connection.request(parameters(method, path, token, **more))
            if expected == GRANTED:
                assert answer.status == 200, answer
                assert answer.header("WWW-Authenticate") is None
            else:
                assert_refused(answer, access, expected)
