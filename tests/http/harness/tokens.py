"""Tokens as GitLab makes them, made by PyJWT, which the service does not use.

Every token is recorded: at the end none of them may be in a log.
"""

import base64
import datetime
import hashlib
import json
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

ISSUER = "gitlab-issuer"
SERVICE = "container_registry"
REALM = "https://gitlab.example.com/jwt/auth"
SUBJECT = "release-bot"


class Absent:
    def __repr__(self):
        return "ABSENT"


ABSENT = Absent()

minted = set()


def fingerprint(public_key):
    """libtrust's: SHA-256 of the public key's DER, 240 bits of it, base32 in groups of four."""
    der = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


class Key:
    """A signing key and its self-signed certificate."""

    def __init__(self, private, name):
        self.private = private
        self.name = name
        self.kid = fingerprint(private.public_key())
        self.certificate = self._certify()

    @classmethod
    def rsa(cls, name):
        return cls(rsa.generate_private_key(65537, 2048), name)

    @classmethod
    def ec(cls, name, curve=ec.SECP256R1):
        return cls(ec.generate_private_key(curve()), name)

    def _certify(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .sign(self.private, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def public_pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def entry(*actions, type="registry", name="background-migrations"):  # as the claim names them
    return {"type": type, "name": name, "actions": list(actions)}


def claims(actions=("*",), **changes):
    """The claims of a good token, with these changed; ABSENT removes one."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": SERVICE,
        "sub": SUBJECT,
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + 3600,
        "jti": f"jti-{now}",
        "access": [entry(*actions)],
    }
    good.update(changes)
    return {name: value for name, value in good.items() if value is not ABSENT}


def sign(key, payload, algorithm="RS256", **header):
    """A token, with the key's kid in its header unless another one is given."""
    header = {"typ": "JWT", "kid": key.kid, **header}
    header = {name: value for name, value in header.items() if value is not ABSENT}
    # Not jwt.encode, which checks the claims: some tests need wrong ones.
    token = jwt.api_jws.encode(json.dumps(payload).encode(), key.private, algorithm, headers=header)
    return remember(token)


def sign_by_hand(header, payload, signer):
    """A token that PyJWT refuses to make. signer(bytes) returns the signature."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    parts = [part(raw), part(json.dumps(payload).encode())]
    signature = signer(".".join(parts).encode())
    return remember(".".join(parts + [part(signature)]))


def remember(token):
    minted.add(token)
    return token


def part(raw):
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Keyring:
    """The keys that the service trusts, RSA and EC mixed, and one that it does not trust."""

    def __init__(self):
        self.trusted = Key.rsa("registry key")
        self.second = Key.rsa("another registry key")
        self.curve = Key.ec("an elliptic registry key")
        self.wide_curve = Key.ec("a wider elliptic registry key", ec.SECP384R1)
        self.stranger = Key.rsa("nobody knows this one")

    @property
    def bundle(self):
        keys = (self.trusted, self.curve, self.wide_curve, self.second)
        return "".join(key.certificate for key in keys)

    def token(self, *actions, **changes):
        """A token for these actions, with these claims changed."""
        return sign(self.trusted, claims(actions, **changes))
