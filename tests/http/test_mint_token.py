"""mint-token: what it signs is what the service trusts, and the keys that it makes open this service alone."""

import base64
import os
import stat
import subprocess

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import routes, tokens
from harness.command import MINT, SHELLS, private_pem
from harness.tokens import Key, fingerprint

ISSUED = ("-i", tokens.ISSUER, "-s", tokens.SERVICE)


@pytest.fixture(params=SHELLS, ids=" ".join)
def mint(request, tmp_path):
    def run(*arguments, code=0, **more):
        argv = [*request.param, MINT, *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False, **more)
        assert done.returncode == code, done
        return done.stdout if code == 0 else done.stderr

    return run


def answers(site, token):
    return site.client.get(routes.LIST, tokens.remember(token.strip())).status


@pytest.mark.parametrize("name", ["trusted", "curve", "wide_curve"])
def test_the_service_takes_tokens_of_each_kind_of_key(site, keys, mint, tmp_path, name):
    path = tmp_path / "a.key"
    path.write_text(private_pem(getattr(keys, name)))
    assert answers(site, mint("-k", path, *ISSUED)) == 200


def test_an_unknown_key_makes_no_good_token(site, keys, mint, tmp_path):
    path = tmp_path / "a.key"
    path.write_text(private_pem(keys.stranger))
    assert answers(site, mint("-k", path, *ISSUED)) == 401


def test_every_signature_of_an_ec_key_has_its_full_length(keys, mint, tmp_path):
    """Each half is short in one case of 256: DER leaves leading zeros out, and a token must not."""
    path = tmp_path / "a.key"
    key = Key.ec("wide", ec.SECP521R1)
    path.write_text(private_pem(key))
    for _ in range(12):
        token = mint("-k", path, *ISSUED).strip()
        assert len(base64.urlsafe_b64decode(token.split(".")[2] + "==")) == 132
        jwt.decode(token, key.public_pem, algorithms=["ES512"], audience=tokens.SERVICE)


def test_a_key_comes_through_a_pipe(site, keys, mint):
    assert answers(site, mint("-k", "-", *ISSUED, input=private_pem(keys.curve))) == 200
    read, write = os.pipe()
    os.write(write, private_pem(keys.trusted).encode())
    os.close(write)
    assert answers(site, mint("-k", f"/dev/fd/{read}", *ISSUED, pass_fds=[read])) == 200
    os.close(read)


def test_a_key_with_parameters_before_it(mint, tmp_path):
    """As openssl ecparam -genkey writes it."""
    argv = ["openssl", "ecparam", "-name", "prime256v1", "-genkey"]
    pem = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "EC PARAMETERS" in pem
    public = serialization.load_pem_private_key(pem[pem.index("-----BEGIN EC PRIVATE") :].encode(), None).public_key()
    token = mint("-k", "-", *ISSUED, input=pem).strip()
    assert jwt.get_unverified_header(token)["kid"] == fingerprint(public)


def test_the_claims_are_what_was_asked_for(keys, mint):
    text = mint("-k", "-", *ISSUED, "-u", 'a "b" \\ ü', "-a", "read,write", "-t", "90", input=private_pem(keys.trusted))
    claims = jwt.decode(text.strip(), keys.trusted.public_pem, algorithms=["RS256"], audience=tokens.SERVICE)
    assert claims["sub"] == 'a "b" \\ ü'
    assert claims["exp"] - claims["iat"] == 90
    assert claims["access"] == [tokens.entry("read", "write")]


@pytest.mark.parametrize(
    "pem, words",
    [("nothing", "no usable private key"), ("", "no usable private key"), ("ed25519", "neither an RSA key nor an EC key")],
)
def test_what_is_no_key_is_refused_in_words(mint, pem, words):
    if pem == "ed25519":
        argv = ["openssl", "genpkey", "-algorithm", "ed25519"]
        pem = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert words in mint("-k", "-", *ISSUED, input=pem, code=1)


def test_a_key_of_its_own(servers, keys, mint, tmp_path):
    """The whole way: made, its certificate added to the bundle, and then it opens the service."""
    said = mint("--new-key", "chatops")
    assert "chatops.crt" in said and "bundle" in said
    assert stat.S_IMODE(os.stat(tmp_path / "chatops.key").st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate((tmp_path / "chatops.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=chatops"
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)
    bundle = servers.workspace.file(servers.unique("bundle"), keys.bundle + (tmp_path / "chatops.crt").read_text())
    with servers.site(changes={"auth": {"token": {"rootcertbundle": bundle}}}) as site:
        assert answers(site, mint("-k", "chatops.key", *ISSUED)) == 200


def test_a_key_that_is_there_stays(mint, tmp_path):
    (tmp_path / "chatops.key").write_text("precious")
    assert "already" in mint("--new-key", "chatops", code=1)
    assert (tmp_path / "chatops.key").read_text() == "precious"
    assert not (tmp_path / "chatops.crt").exists()


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(mint, option):
    text = mint(option)
    assert text.startswith("Usage: mint-token") and "--new-key" in text


@pytest.mark.parametrize("arguments", [("--new-key",), ("--new-key", "-x"), ("--new-key", "a", "b"), ("-x",), ("-k",)])
def test_wrong_usage(mint, arguments):
    mint(*arguments, code=2)


def test_the_key_is_no_argument_of_any_process(keys, mint, tmp_path):
    """openssl under another name, which writes down what it is called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    seen = tmp_path / "seen"
    (folder / "openssl").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{seen}\nexec /usr/bin/openssl "$@"\n')
    (folder / "openssl").chmod(0o755)
    pem = private_pem(keys.curve)
    mint("-k", "-", *ISSUED, input=pem, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
    text = seen.read_text()
    assert "-sign" in text
    assert not any(line in text for line in pem.splitlines() if len(line) > 8)
