"""How bbm gets its tokens, where they and passwords go, and where never: BBM_KEY, BBM_USER, the file, the process list."""

import base64
import os
import subprocess
import urllib.parse

import jwt
import pytest
from harness import tokens
from harness.command import SHELLS, Command, private_pem, with_key
from harness.hostile import HostileServer, answer

PASSWORD = 'pass"word\\ with $(everything) ü'
LISTED = answer(200, {"migrations": []})


class Realm(HostileServer):
    """GitLab's /jwt/auth: grants this user what he asks for."""

    def __init__(self, keys):
        super().__init__(self._grant)
        self.keys = keys
        self.life = 300
        self.grants = True

    @property
    def address(self):
        return f"{self.url}/jwt/auth"

    def asked(self):
        return [urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query) for request in self.requests]

    def _grant(self, request):
        expected = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
        scope = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)["scope"][0]
        actions = scope.split(":")[2].split(",") if self.grants else []
        return answer(200, {"token": self.keys.token(*actions, exp=tokens.claims()["iat"] + self.life), "expires_in": 300})


@pytest.fixture
def realm(keys):
    with Realm(keys) as realm:
        yield realm


@pytest.fixture
def site(servers, realm):
    with servers.site(changes={"auth": {"token": {"realm": realm.address}}}) as site:
        for number in range(1, 4):
            site.database.add_migration(f"m{number}", id=number)
        yield site


@pytest.fixture
def bbm(site, tmp_path):
    """Without any way to a token yet."""
    return Command(f"http://127.0.0.1:{site.client.port}", tmp_path)


USER = {"BBM_USER": "alice", "BBM_PASSWORD": PASSWORD}


# Fetched where the challenge says


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_token_is_fetched_by_the_challenge(bbm, site, realm, shell):
    bbm.shell = shell
    assert len(bbm.lines("list", "-q", **USER)) == 4
    assert realm.asked() == [{"service": [tokens.SERVICE], "scope": ["registry:background-migrations:read"]}]
    bbm.lines("pause", 1, 2, 3, **USER)
    assert realm.asked()[1:] == [{"service": [tokens.SERVICE], "scope": ["registry:background-migrations:write"]}]
    assert {row["status"] for row in site.database.migrations()} == {0}


def test_a_token_that_has_run_out_is_fetched_again(bbm, realm):
    """Tokens that are 60 s past their end when they are issued are refused, and then comes a good one."""
    argv = bbm.argv("wait", 1, "--every", "1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**bbm.environment, **USER}) as child:
        assert b"1  active" in child.stdout.readline()
        child.terminate()
        assert child.wait(20) == 143
    assert len(realm.requests) == 1
    realm.life = -100
    text = bbm.error("list", code=3, **USER)
    assert "its own realm" in text
    assert len(realm.requests) == 2, "no more than one attempt for a request"


def test_a_token_runs_out_while_waiting(tmp_path, keys, realm):
    """The second list is refused, as when the token has run out; a new one is fetched, and the wait goes on."""
    challenge = f'Bearer realm="{realm.address}",service="s",scope="registry:background-migrations:read"'
    turns = iter([True, False, True, False, True])

    def answers(request):
        if next(turns):
            return answer(401, {"errors": []}, {"WWW-Authenticate": challenge})
        status = "active" if len(realm.requests) == 1 else "finished"
        return answer(200, {"migrations": [{"id": 1, "name": "m", "status": status}]})

    with HostileServer(answers) as server:
        lines = Command(server.url, tmp_path).lines("wait", 1, "--every", "1", **USER)
    assert lines == ["1  active  m", "1  finished  m"]
    assert len(realm.requests) == 2


def test_a_wrong_password(bbm):
    assert "does not accept BBM_USER" in bbm.error("list", code=3, BBM_USER="alice", BBM_PASSWORD="wrong")


def test_an_issuer_that_grants_nothing(bbm, realm):
    """What GitLab does today; the message names the way that works."""
    realm.grants = False
    text = bbm.error("list", code=3, **USER)
    assert "BBM_KEY" in text and "may not read" in text


@pytest.mark.parametrize(
    "realm_address, code",
    [("http://gitlab.invalid/jwt/auth", 3), ("https://user@gitlab.invalid/", 3), ("ftp://gitlab.invalid/", 3),
     ("file:///etc/passwd", 3), ("", 3), ("https://gitlab.invalid/jwt/auth", 5), ('https://x.invalid/\\"\\nuser', 3)],
)  # fmt: skip
def test_where_a_password_does_not_go(tmp_path, realm_address, code):
    """And the last but one case: it would go there, were there anybody."""
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm_address}",service="s",scope="registry:x:read"'}
    with HostileServer(lambda request: answer(401, {}, challenge)) as server:
        text = Command(server.url, tmp_path).error("list", code=code, **USER)
        assert len(server.requests) == 1 and "authorization" not in server.requests[0].headers
    assert PASSWORD not in text


def test_the_realm_can_be_pinned(bbm, realm):
    assert "BBM_REALM" in bbm.error("list", code=3, **USER, BBM_REALM="https://gitlab.example.com/jwt/auth")
    assert realm.requests == []
    bbm.lines("list", **USER, BBM_REALM=realm.address)


@pytest.mark.parametrize(
    "given, words",
    [(answer(200, b"<html>"), "without a token"), (answer(200, {"token": 5}), "without a token"),
     (answer(200, {"token": "a b\r\nc"}), "other characters"), (answer(500, b""), "500"), (b"", "no token from"),
     (answer(302, b"", {"Location": "https://evil.invalid/"}), "302")],
)  # fmt: skip
def test_a_realm_that_gives_no_token(tmp_path, given, words):
    def answers(request):
        if request.path.startswith("/jwt"):
            return given
        realm = f"http://127.0.0.1:{server.port}/jwt/auth"
        return answer(401, {}, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="x"'})

    with HostileServer(answers) as server:
        done = Command(server.url, tmp_path)("list", **USER)
        assert done.returncode in (3, 5) and words in done.stderr.decode(), done
        assert len(server.requests) == 2


# Signed with a key


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_tokens_are_signed_with_a_key(bbm, site, keys, tmp_path, shell):
    bbm.shell = shell
    key = with_key(keys, tmp_path, keys.curve)
    assert len(bbm.lines("list", "-q", **key)) == 4
    bbm.lines("pause", 1, **key)
    pem = private_pem(keys.trusted)
    assert len(bbm.lines("list", "-q", **{**key, "BBM_KEY": pem})) == 4, "the key itself in place of a file's name"
    assert "may not" not in bbm.error("list", code=3, **with_key(keys, tmp_path, keys.stranger))


def test_a_key_needs_issuer_and_service(bbm, keys, tmp_path):
    for name in ("BBM_ISSUER", "BBM_SERVICE"):
        assert name in bbm.error("list", code=2, **{**with_key(keys, tmp_path), name: ""})
    assert "cannot read" in bbm.error("list", code=2, **{**with_key(keys, tmp_path), "BBM_KEY": "/none"})


def test_reading_commands_sign_for_reading_only(bbm, keys, tmp_path):
    token = bbm.lines("token", "--read", "--for", "10m", **with_key(keys, tmp_path))[0]
    claims = jwt.decode(token, keys.trusted.public_pem, algorithms=["RS256"], audience=tokens.SERVICE)
    assert claims["access"] == [tokens.entry("read")]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["sub"] == "alice"


def test_a_link_to_the_page(bbm, keys, tmp_path, site):
    link = bbm.lines("link", **with_key(keys, tmp_path))[0]
    address, _, token = link.partition("#token=")
    assert address == f"{bbm.environment['BBM_URL']}/v1/gitlab/bbm/"
    claims = jwt.decode(token, keys.trusted.public_pem, algorithms=["RS256"], audience=tokens.SERVICE)
    assert claims["access"] == [tokens.entry("read", "write")]
    assert claims["exp"] - claims["iat"] == 900
    assert site.client.get("/v1/gitlab/background-migrations/", tokens.remember(token)).status == 200


def test_a_fetched_token_and_a_given_one(bbm, realm, keys):
    token = bbm.lines("token", **USER)[0]
    assert realm.asked()[0]["scope"] == ["registry:background-migrations:read,write"]
    assert len(bbm.lines("list", "-q", BBM_TOKEN=token)) == 4
    assert bbm.lines("token", BBM_TOKEN=token) == [token]
    assert "set BBM_TOKEN" in bbm.error("list", code=3)
    read = keys.token("read")
    assert "may not write" in bbm.error("pause", 1, code=3, BBM_TOKEN=read)
    assert "run out" in bbm.error("list", code=3, BBM_TOKEN=keys.token("read", exp=1))


# The address


@pytest.mark.parametrize("path", ["", "/", "/v1/gitlab", "/v1/gitlab/", "/gitlab/v1", "/gitlab/v1//"])
def test_the_address_may_name_a_base(bbm, keys, tmp_path, path):
    assert len(bbm.lines("list", "-q", **with_key(keys, tmp_path), BBM_URL=bbm.environment["BBM_URL"] + path)) == 4


# Files


def write_config(tmp_path, text, mode=0o600):
    folder = tmp_path / ".config" / "bbm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(text)
    (folder / "config").chmod(mode)
    return folder / "config"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_configuration_file(bbm, keys, tmp_path, shell):
    bbm.shell = shell
    url = bbm.environment.pop("BBM_URL")
    token = keys.token("read")
    write_config(tmp_path, f"# a note\n\n  BBM_URL = \nBBM_URL={url}\r\nBBM_TOKEN='{token}'\n")
    assert "knows no such key" in bbm.error("list", code=2)
    write_config(tmp_path, f"# a note\n\n  BBM_URL={url}\r\nBBM_TOKEN='{token}'")
    assert len(bbm.lines("list", "-q")) == 4
    assert "BBM_TOKEN" in bbm.error("list", code=3, BBM_TOKEN="a.b.c"), "the environment goes before"


def test_nothing_in_the_file_is_run(bbm, tmp_path):
    write_config(tmp_path, f"BBM_TOKEN=x\nBBM_ISSUER=$(touch {tmp_path}/run)`touch {tmp_path}/run`; touch {tmp_path}/run\n")
    bbm.error("list", code=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", ["PATH=/tmp", "BBM_URL", "export BBM_URL=x", "BBM_X=1", "BBM_URL x=1"])
def test_an_unknown_line_is_an_error(bbm, tmp_path, line):
    write_config(tmp_path, f"# first\n{line}\n")
    assert "line 2" in bbm.error("list", code=2)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_with_secrets_must_be_private(bbm, tmp_path, mode):
    for line in ("BBM_TOKEN=x", "BBM_PASSWORD=x"):
        write_config(tmp_path, line + "\n", mode)
        assert "chmod 600" in bbm.error("list", code=2)
    write_config(tmp_path, "BBM_ISSUER=x\n", mode)
    bbm.error("list", code=3)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_nobody_else_may_write_the_file(bbm, tmp_path, mode):
    """It says where tokens go."""
    write_config(tmp_path, "BBM_ISSUER=x\n", mode)
    assert "chmod 600" in bbm.error("list", code=2)


def test_a_way_in_the_environment_excludes_those_of_the_file(bbm, keys, tmp_path):
    write_config(tmp_path, "BBM_TOKEN=a.b.c\n")
    assert len(bbm.lines("list", "-q", **USER)) == 4
    assert len(bbm.lines("list", "-q", **with_key(keys, tmp_path))) == 4


def test_another_file(bbm, tmp_path):
    assert "BBM_CONFIG" in bbm.error("list", code=2, BBM_CONFIG=str(tmp_path / "none"))


# What others on the host can see


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_no_secret_is_an_argument_or_stays_in_a_file(bbm, keys, tmp_path, shell):
    """Every program that bbm starts, under a wrapper that writes down its arguments and its environment."""
    bbm.shell = shell
    folder, seen, scratch = tmp_path / "bin", tmp_path / "seen", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    for name in ("curl", "jq", "sed", "awk", "tr", "cut", "head", "cat", "grep", "openssl", "rm", "wc", "base32"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (folder / name).write_text(
            f'#!/bin/sh\n{{ printf "%s\\n" "{name} $*"; /usr/bin/env; }} >>{seen}\n'
            f'case {name} in rm) /bin/cp -r "{scratch}" "{tmp_path}/kept" 2>/dev/null ;; esac\nexec {real} "$@"\n'
        )
        (folder / name).chmod(0o755)
    token, key = keys.token("*"), with_key(keys, tmp_path)
    pem = private_pem(keys.trusted)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(scratch)}
    bbm.lines("list", **environment, **USER)
    bbm.lines("pause", 1, **environment, BBM_TOKEN=token)
    bbm.lines("resume", 1, **environment, **{**key, "BBM_KEY": pem})
    assert os.listdir(scratch) == []
    text = seen.read_text(errors="replace")
    assert "curl -q -K -" in text
    signed = [part for minted in tokens.minted for part in minted.split(".")[1:]]
    secrets = [PASSWORD, base64.b64encode(f"alice:{PASSWORD}".encode()).decode(), *signed]
    secrets += [line for line in pem.splitlines() if "-----" not in line]
    assert not any(secret in text for secret in secrets)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert b"migrations" in kept and not any(secret.encode() in kept for secret in secrets)


# doctor


def steps(done):
    return [line.split()[:2] for line in done.stdout.decode().splitlines()]


GOOD = ["ok", "configuration"], ["ok", "name"], ["ok", "connection"], ["-", "TLS"], ["ok", "service"]


def test_doctor_finds_nothing(bbm, keys, tmp_path):
    done = bbm("doctor", **with_key(keys, tmp_path))
    assert done.returncode == 0, done
    assert steps(done)[:8] == [*GOOD, ["ok", "token"], ["ok", "rights"], ["ok", "database"]]
    text = done.stdout.decode()
    assert "read and write" in text and "3 migrations" in text and "of alice, issuer gitlab-issuer" in text


def test_doctor_changes_nothing(bbm, site, keys, tmp_path):
    before = site.database.migrations()
    bbm("doctor", **with_key(keys, tmp_path))
    assert site.database.migrations() == before


def test_doctor_says_which_step_fails(bbm, site, keys, tmp_path, relay):
    def failing(code, step, *words, **environment):
        done = bbm("doctor", **environment)
        assert done.returncode == code, done
        assert steps(done)[-1] == ["FAILED", step], done
        for word in words:
            assert word in done.stdout.decode()

    failing(5, "name", BBM_URL="https://registry.invalid", BBM_TOKEN="x")
    failing(5, "connection", "nobody answers", BBM_URL="http://127.0.0.1:9", BBM_TOKEN="x")
    failing(5, "TLS", BBM_URL=bbm.environment["BBM_URL"].replace("http", "https"), BBM_TOKEN="x")
    failing(1, "service", "no such route", BBM_URL=bbm.environment["BBM_URL"] + "/elsewhere", BBM_TOKEN="x")
    failing(3, "token", "set BBM_TOKEN")
    failing(3, "token", "runs out 1970-01-01", BBM_TOKEN=keys.token("*", exp=1))
    failing(3, "token", **with_key(keys, tmp_path, keys.stranger))
    failing(3, "rights", "may not read", BBM_TOKEN=keys.token())
    done = bbm("doctor", BBM_TOKEN=keys.token("read"))
    assert done.returncode == 0 and "read, not write" in done.stdout.decode()


def test_doctor_and_a_database_that_is_away(servers, keys, tmp_path, relay):
    changes = {"database": {"host": relay.host, "port": relay.port}}
    with servers.site(changes=changes) as site:
        relay.close()
        bbm = Command(f"http://127.0.0.1:{site.client.port}", tmp_path, **with_key(keys, tmp_path))
        done = bbm("doctor")
        assert done.returncode == 5, done
        assert steps(done)[-3:] == [["ok", "token"], ["ok", "rights"], ["FAILED", "database"]], done
        assert "again in" in bbm.error("list", code=5)


def test_doctor_and_a_clock_that_is_wrong(tmp_path):
    headers = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "WWW-Authenticate": 'Bearer realm="https://x/",service="s"'}
    with HostileServer(lambda request: answer(401, {}, headers)) as server:
        done = Command(server.url, tmp_path, BBM_TOKEN="x")("doctor")
    assert ["warning", "clock"] in steps(done)
    assert steps(done)[-1] == ["FAILED", "token"]
