"""Tokens made part by part, good or bad, and the certificates for their headers.

python3-cryptography signs them: the service verifies with other libraries.
"""

import base64
import datetime
import json
import os
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from .tokens import claims, fingerprint, part, remember

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
KINDS = {"RS": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def kind_of(algorithm):
    """The kind of key that fits the algorithm."""
    return KINDS.get(algorithm) or KINDS[algorithm[:2]]


def new_key(kind, bits=2048):
    return rsa.generate_private_key(65537, bits) if kind == "RSA" else ec.generate_private_key(CURVES[kind])


def encode(content):
    """A part of a token. Text and bytes are encoded as they are, anything else as JSON."""
    if isinstance(content, str):
        content = content.encode()
    return part(content if isinstance(content, bytes) else json.dumps(content).encode())


def signature(private, algorithm, text):
    """As JWS has it: PKCS #1, or r and s side by side (RFC 7518, 3.3 and 3.4)."""
    digest = HASHES[algorithm[2:]]
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(text, padding.PKCS1v15(), digest)
    size = (private.curve.key_size + 7) // 8
    r, s = decode_dss_signature(private.sign(text, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def make_token(private, header, payload=None, algorithm=None, sign=signature):
    """A token with this header, signed with the algorithm that it names unless another one is given."""
    signed = f"{encode(header)}.{encode(claims() if payload is None else payload)}"
    algorithm = algorithm or header["alg"]
    return remember(f"{signed}.{part(sign(private, algorithm, signed.encode()))}")


def _number(value, size=0):
    return part(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(key, **changes):
    """A key's public part as a JWK, with these members changed or added."""
    public = key.public_key() if hasattr(key, "public_key") else key
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        result = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    else:
        numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        name = {curve.name: name for name, curve in CURVES.items()}[public.curve.name]
        result = {"kty": "EC", "crv": name, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}
    result.update(changes)
    return result


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def der64(certificate):
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()


class Holder:
    """A key and its certificate, which is self-signed or of an issuer (another Holder).

    ca is what BasicConstraints says. None leaves them out, and the key usage alone allows to sign certificates.
    """

    def __init__(self, name, kind="P-256", issuer=None, ca=False, days=(-1, 30), key=None):
        self.private = key or new_key(kind)
        self.kid = fingerprint(self.private.public_key())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issuer = issuer
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
        )
        if ca is None:
            extension = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
        else:
            extension = x509.BasicConstraints(ca=ca, path_length=None)
        builder = builder.add_extension(extension, critical=True)
        self.certificate = builder.sign((issuer or self).private, hashes.SHA256())

    def certified_with_sha1(self, issuer):
        """Itself, with a certificate of this issuer in place of the self-signed one.

        The openssl command signs: python3-cryptography of Debian 13 does not sign with SHA-1.
        """
        with tempfile.TemporaryDirectory() as folder:
            key = issuer.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            contents = {"subject": pem(self.certificate), "issuer": pem(issuer.certificate), "key": key.decode()}
            for name, content in contents.items():
                with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                    file.write(content)
            command = "openssl x509 -in subject -CA issuer -CAkey key -sha1 -days 30 -set_serial 1"
            made = subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
        self.certificate = x509.load_pem_x509_certificate(made.stdout)
        assert self.certificate.signature_hash_algorithm.name == "sha1"
        self.issuer = issuer
        return self

    @property
    def chain(self):
        """The `x5c` of its certificate and its issuers', without the topmost one, which is in the bundle."""
        result, holder = [self], self
        while holder.issuer and holder.issuer.issuer:
            holder = holder.issuer
            result.append(holder)
        return x5c(*result)


def x5c(*holders):
    return [der64(holder.certificate) for holder in holders]
