"""How it starts, or says in one line why not: configuration, environment, options."""

import os
import pwd
import re
import socket

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.postgres import PASSWORD, REPOSITORY
from harness.refusals import challenge
from harness.service import REMOVED, listening_socket, run_program
from harness.workspace import UNPRIVILEGED


@pytest.fixture
def run(servers):
    return lambda *arguments, **more: run_program(servers.program, *arguments, **more)


@pytest.fixture
def configured(servers, database):
    """The path of a configuration file with these changes."""

    def write(changes=None):
        return servers.write_configuration(servers.configuration(database.name, servers.socket_path(), changes))

    return write


def assert_stops(done, *names):
    """It ended by itself with an error; its one line names all that is needed to correct it."""
    assert done.returncode not in (0, 99) and 0 < done.returncode < 128, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for name in names:
        assert str(name) in lines[0], f"{name!r} is not in {lines[0]!r}"


@pytest.fixture(params=["start", "check"])
def attempt(request, run):
    """The same must be said at the start and by -t."""
    check = ["-t"] if request.param == "check" else []
    return lambda file, **more: run("-c", file, *check, **more)


# Wrong configurations


def test_a_missing_file(attempt, servers):
    path = os.path.join(servers.workspace.path, "nowhere.yml")
    assert_stops(attempt(path), path)


def test_a_folder_for_a_file(attempt, servers):
    assert_stops(attempt(servers.workspace.path), servers.workspace.path)


def test_an_unreadable_file(attempt, configured):
    path = configured()
    os.chmod(path, 0)
    assert_stops(attempt(path), path)


@pytest.mark.parametrize(
    "text",
    [
        "", "log: {level: info", "a: b: c\n", "\tlog: x\n", "- a\n- list\n", "just text\n", "\x00\x01",
        b"\xff\xfe\xfd: x\n", "log: *nowhere\n",
    ],
    ids=["empty", "unclosed", "two colons", "tab", "list", "scalar", "controls", "bytes", "unknown alias"],
)  # fmt: skip
def test_a_broken_file(attempt, servers, text):
    path = servers.workspace.file(servers.unique("broken") + ".yml", text)
    assert_stops(attempt(path), path)


def test_a_key_that_stands_twice(attempt, servers, configured):
    with open(configured(), encoding="utf-8") as file:
        lines = file.read().splitlines()
    first = lines.index("log:") + 1
    path = servers.workspace.file(servers.unique("twice") + ".yml", "\n".join([*lines, "log: {}"]) + "\n")
    assert_stops(attempt(path), f"{path}:{len(lines) + 1}", "log", f"line {first}")


@pytest.mark.parametrize("line", [3, 11])
def test_a_broken_line_is_named_by_its_number(attempt, servers, configured, line):
    with open(configured(), encoding="utf-8") as file:
        lines = file.read().splitlines()
    lines.insert(line - 1, "  } broken: [")
    path = servers.workspace.file(servers.unique("broken") + ".yml", "\n".join(lines) + "\n")
    done = attempt(path)
    assert_stops(done, path)
    assert re.search(rf"\b{line}\b", done.stderr.replace(path, ""))


WRONG = {
    "port no number": ({"database": {"port": "abc"}}, "database.port", "abc"),
    "port too large": ({"database": {"port": 65536}}, "database.port", "65536"),
    "port negative": ({"database": {"port": -1}}, "database.port", "-1"),
    "port a list": ({"database": {"port": [5432]}}, "database.port"),
    "host a map": ({"database": {"host": {"name": "x"}}}, "database.host"),
    "database no map": ({"database": "postgres://x"}, "database"),
    "log no map": ({"log": ["info"]}, "log"),
    "timeout no duration": ({"database": {"connecttimeout": "soon"}}, "database.connecttimeout", "soon"),
    "timeout without a unit": ({"database": {"connecttimeout": "5x"}}, "database.connecttimeout", "5x"),
    "sslmode unknown": ({"database": {"sslmode": "perhaps"}}, "database.sslmode", "perhaps", "disable"),
    "level unknown": ({"log": {"level": "loud"}}, "log.level", "loud", "info"),
    "formatter unknown": ({"log": {"formatter": "xml"}}, "log.formatter", "xml", "json"),
    "autoredirect no bool": ({"auth": {"token": {"autoredirect": "perhaps"}}}, "auth.token.autoredirect", "perhaps"),
    "threads no number": ({"fcgi": {"threads": "many"}}, "fcgi.threads", "many"),
    "threads zero": ({"fcgi": {"threads": 0}}, "fcgi.threads", "0"),
    "threads without end": ({"fcgi": {"threads": 10**9}}, "fcgi.threads"),
    "mode no octal": ({"fcgi": {"mode": "rw"}}, "fcgi.mode", "rw"),
    "group unknown": ({"fcgi": {"group": "no-such-group"}}, "fcgi.group", "no-such-group"),
    "challenge unknown": ({"fcgi": {"challenge": "read"}}, "fcgi.challenge", "read", "action"),
    "unknown key": ({"fcgi": {"thread": 4}}, "fcgi.thread"),
    "another unknown key": ({"fcgi": {"socket": "/x"}}, "fcgi.socket"),
    "listen without port": ({"fcgi": {"listen": "127.0.0.1"}}, "fcgi.listen", "127.0.0.1"),
    "listen on port 0x": ({"fcgi": {"listen": "127.0.0.1:http0"}}, "fcgi.listen", "http0"),
    "listen on a port too large": ({"fcgi": {"listen": "127.0.0.1:70000"}}, "fcgi.listen", "70000", "65535"),
    "a host left out": ({"database": {"host": "a,,b"}}, "database.host", "a,,b"),
    "no issuer": ({"auth": {"token": {"issuer": REMOVED}}}, "auth.token.issuer"),
    "empty issuer": ({"auth": {"token": {"issuer": ""}}}, "auth.token.issuer"),
    "no service": ({"auth": {"token": {"service": REMOVED}}}, "auth.token.service"),
    "no realm": ({"auth": {"token": {"realm": REMOVED}}}, "auth.token.realm"),
    "no bundle": ({"auth": {"token": {"rootcertbundle": REMOVED}}}, "auth.token.rootcertbundle"),
    "no token": ({"auth": {"token": REMOVED}}, "auth.token"),
    "no auth": ({"auth": REMOVED}, "auth"),
    "no database": ({"database": REMOVED}, "database"),
    "no host": ({"database": {"host": REMOVED}}, "database.host"),
    "no dbname": ({"database": {"dbname": REMOVED}}, "database.dbname"),
    "no user": ({"database": {"user": REMOVED}}, "database.user"),
}


@pytest.mark.parametrize("changes, names", [(wrong[0], wrong[1:]) for wrong in WRONG.values()], ids=WRONG)
def test_a_wrong_value(attempt, configured, changes, names):
    path = configured(changes)
    assert_stops(attempt(path), path, *names)


@pytest.mark.parametrize(
    "text", [None, "", "no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ids=["missing", "empty", "other text", "broken certificate"],
)  # fmt: skip
def test_a_bundle_that_cannot_be_used(attempt, servers, configured, text):
    bundle = os.path.join(servers.workspace.path, servers.unique("bundle") + ".pem")
    if text is not None:
        servers.workspace.file(os.path.basename(bundle), text)
    path = configured({"auth": {"token": {"rootcertbundle": bundle}}})
    assert_stops(attempt(path), path, "auth.token.rootcertbundle", bundle)


def test_an_unreadable_bundle(attempt, servers, configured, keys):
    bundle = servers.workspace.file(servers.unique("bundle") + ".pem", keys.bundle, mode=0)
    path = configured({"auth": {"token": {"rootcertbundle": bundle}}})
    assert_stops(attempt(path), path, "auth.token.rootcertbundle", bundle, "ermission denied")


def test_a_key_of_the_bundle_that_is_no_certificate(attempt, servers, configured, keys):
    """A likely mistake: the public key, or worse, the private one."""
    bundle = servers.workspace.file(servers.unique("bundle") + ".pem", keys.trusted.public_pem)
    path = configured({"auth": {"token": {"rootcertbundle": bundle}}})
    assert_stops(attempt(path), path, "auth.token.rootcertbundle", bundle)


def test_the_wrong_line_does_not_tell_the_password(attempt, configured):
    done = attempt(configured({"database": {"password": ["pa55-in-a-list"]}}))
    assert_stops(done, "database.password")
    assert "pa55" not in done.stderr


# Where it cannot listen


def test_a_port_in_use(run, configured):
    with listening_socket(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        path = configured({"fcgi": {"listen": address}})
        assert_stops(run("-c", path), path, "fcgi.listen", address)


def test_a_socket_in_use(servers, database, run, configured, token):
    with servers.service(database.name) as service:
        path = configured({"fcgi": {"listen": service.address}})
        assert_stops(run("-c", path), path, "fcgi.listen", service.address)
        assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 200


def test_a_file_in_the_sockets_place_is_left_alone(servers, run, configured):
    file = servers.workspace.file(servers.unique("precious"), "do not delete")
    path = configured({"fcgi": {"listen": file}})
    assert_stops(run("-c", path), path, "fcgi.listen", file)
    with open(file, encoding="ascii") as kept:
        assert kept.read() == "do not delete"


@pytest.mark.parametrize(
    "listen", ["/no/such/folder/sock", "/" + "x" * 200, "192.0.2.1:9000"], ids=["folder", "long", "foreign"]
)
def test_an_address_that_cannot_be(run, configured, listen):
    path = configured({"fcgi": {"listen": listen}})
    assert_stops(run("-c", path), path, "fcgi.listen", listen)


def test_no_address_and_no_inherited_socket(run, configured):
    path = configured({"fcgi": {"listen": REMOVED}})
    assert_stops(run("-c", path), path, "fcgi.listen")
    with socket.socket() as not_listening:
        assert_stops(run("-c", path, stdin=not_listening), path, "fcgi.listen")


# Options


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(run, option):
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")
    for each in ("-c", "-t", "-d", "-h", "-V", "--config", "--test", "--database", "--help", "--version"):
        assert each in done.stdout


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(run, option):
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bbm-fcgi ") and len(done.stdout.splitlines()) == 1
    assert any(letter.isdigit() for letter in done.stdout)


@pytest.mark.parametrize("arguments", [["-x"], ["--nonsense"], ["-c"], ["stray"], ["-d"], ["--help=x"]])
def test_a_wrong_option(run, arguments):
    done = run(*arguments)
    assert 0 < done.returncode < 99
    assert done.stdout == "" and "-h" in done.stderr


def test_no_configuration_named(run):
    assert_stops(run(), "-c")


# What it takes


def serves(service, token, path=routes.LIST):
    return fastcgi.ask(service.address, parameters("GET", path, token)).status == 200


REGISTRY_CONFIGURATION = """
version: 0.1   # as on the host
log: &log
  accesslog: {disabled: false, formatter: combined}
  fields: {service: registry, environment: production}
  level: info
storage:
  s3: {accesskey: AKIA, secretkey: "x", bucket: b, region: eu-west-1}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  maintenance:
    uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}
redis:
  addr: redis:6379
  tls: {enabled: true}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
notifications:
  endpoints:
    - name: gitlab
      url: https://gitlab.example.com/api/v4/container_registry_event/events
      headers: {Authorization: [abc]}
validation: {disabled: true}
middleware:
  storage: [{name: cloudfront, options: {baseurl: "https://x", privatekey: /p, keypairid: K}}]
http:
  addr: :5000
  secret: secret
  headers: {X-Content-Type-Options: [nosniff]}
  debug: {addr: "localhost:5001", prometheus: {enabled: true, path: /metrics}}
  http2: {disabled: false}
database:
  enabled: "true"
  host: 127.0.0.1
  port: "%(port)s"
  user: bbm_fcgi
  password: 'it''s'
  dbname: '%(dbname)s'
  sslmode: 'disable'
  sslcert:
  sslkey: ~
  sslrootcert: ""
  connecttimeout: 1m30s
  draintimeout: 2m
  preparedstatements: false
  primary: 127.0.0.1
  pool: {maxidle: 10, maxopen: 10, maxlifetime: 5m}
  backgroundmigrations: {enabled: true, jobinterval: 1m}
  loadbalancing: {enabled: false, hosts: [a, b]}
gc: {disabled: false}
auth:
  token:
    autoredirect: false
    realm: https://gitlab.example.com/jwt/auth
    service: container_registry
    issuer: gitlab-issuer
    rootcertbundle: %(bundle)s
    signingalgorithms: [RS256]
fcgi:
  listen: %(listen)s
"""


def test_a_registrys_whole_configuration(servers, database, run, token):
    listen = servers.socket_path()
    text = REGISTRY_CONFIGURATION % {
        "port": servers.cluster.port, "dbname": database.name, "bundle": servers.bundle, "listen": listen,
    }  # fmt: skip
    file = servers.workspace.file(servers.unique("registry") + ".yml", text)
    assert run("-c", file, "-t").returncode == 0
    with servers.service_with_file(file, listen) as service:
        assert serves(service, token)


def test_log_is_json_and_info_if_not_given(servers, database, token):
    with servers.service(database.name, changes={"log": REMOVED}) as service:
        answer = fastcgi.ask(service.address, parameters("GET", routes.LIST, token))
        assert service.entry(answer.header("X-Request-Id"))["level"] == "info"


@pytest.fixture
def example(servers):
    """conf/config.yml with the paths of this test in place of a host's, and nothing else changed."""

    def write(**paths):
        with open(os.path.join(REPOSITORY, "conf", "config.yml"), encoding="utf-8") as file:
            text = file.read()
        for old, new in {"/etc/bbm-fcgi/bundle.pem": servers.bundle, **paths}.items():
            assert old in text
            text = text.replace(old, new)
        return servers.workspace.file(servers.unique("example") + ".yml", text)

    return write


@pytest.fixture
def peer_database(servers):
    """A database that lets a role in by the system user's name, as Debian's PostgreSQL does over its socket."""
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else UNPRIVILEGED[0]
    cluster = servers.cluster
    database = cluster.create_database("before_peer")
    cluster.psql(database.name, "-v", f"role={user}", "-f", os.path.join(REPOSITORY, "sql", "role.sql"))
    database.close()
    cluster.execute("ALTER DATABASE before_peer RENAME TO with_peer")
    return user


def test_example_configuration_serves(servers, example, peer_database, keys):
    """As the README has it on a fresh Debian."""
    listen = servers.socket_path()
    file = example(**{
        "/run/postgresql": servers.cluster.folder, "port: 5432": f"port: {servers.cluster.port}",
        "dbname: registry": "dbname: with_peer", "user: bbm-fcgi": f"user: {peer_database}",
        "/run/bbm-fcgi/bbm-fcgi.sock": listen,
    })  # fmt: skip
    with servers.service_with_file(file, listen) as service:
        assert serves(service, keys.token("*"))


# The environment


def test_the_configuration_named_by_the_environment(run, configured, servers):
    path = configured()
    assert run("-t", environment={"REGISTRY_CONFIGURATION_PATH": path}).returncode == 0
    missing = os.path.join(servers.workspace.path, "absent.yml")
    assert_stops(run("-t", environment={"REGISTRY_CONFIGURATION_PATH": missing}), missing)
    assert run("-t", "-c", path, environment={"REGISTRY_CONFIGURATION_PATH": missing}).returncode == 0


def test_the_password_of_the_environment_wins(servers, token):
    """This database really asks for the password."""
    environment = {"REGISTRY_DATABASE_PASSWORD": PASSWORD}
    wrong = {"database": {"password": "wrong"}}
    database = servers.cluster.create_database("with_password")
    try:
        with servers.service(database.name) as service:
            assert serves(service, token)
        with servers.service(database.name, changes=wrong) as service:
            assert fastcgi.ask(service.address, parameters("GET", routes.LIST, token)).status == 503
        with servers.service(database.name, changes=wrong, environment=environment) as service:
            assert serves(service, token)
    finally:
        database.close()


def test_keys_of_the_environment_win(servers, database, keys):
    environment = {
        "REGISTRY_AUTH_TOKEN_ISSUER": "issuer-of-the-environment",
        "REGISTRY_AUTH_TOKEN_REALM": "https://environment.example.com/auth",
        "REGISTRY_AUTH_TOKEN_SERVICE": "container_registry",
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": servers.bundle,
        "REGISTRY_DATABASE_HOST": servers.cluster.folder,
        "REGISTRY_DATABASE_PORT": str(servers.cluster.port),
        "REGISTRY_DATABASE_USER": "bbm_fcgi",
        "REGISTRY_DATABASE_DBNAME": database.name,
        "REGISTRY_DATABASE_SSLMODE": "disable",
        "REGISTRY_LOG_FORMATTER": "text",
        "REGISTRY_HTTP_PREFIX": "/env",
    }
    changes = {
        "auth": {"token": {"issuer": "x", "rootcertbundle": "/nowhere", "realm": "y"}},
        "database": {"host": "192.0.2.1", "port": 1, "user": "nobody", "dbname": "nothing"},
    }
    with servers.service("nothing", changes=changes, environment=environment) as service:
        path = "/env" + routes.LIST
        good = keys.token("*", iss="issuer-of-the-environment")
        answer = fastcgi.ask(service.address, parameters("GET", path, good))
        assert answer.status == 200
        (line,) = service.request_lines(answer.header("X-Request-Id"))
        assert line.startswith("time=") and "method=" in line
        refused = fastcgi.ask(service.address, parameters("GET", path))
        expected = challenge("read", realm="https://environment.example.com/auth")
        assert refused.header("WWW-Authenticate") == expected


def test_a_key_that_only_the_environment_has(servers, database, keys):
    changes = {"auth": {"token": {"issuer": REMOVED}}, "database": REMOVED, "log": REMOVED}
    environment = {
        "REGISTRY_AUTH_TOKEN_ISSUER": "only-here",
        "REGISTRY_DATABASE_HOST": "127.0.0.1",
        "REGISTRY_DATABASE_PORT": str(servers.cluster.port),
        "REGISTRY_DATABASE_USER": "bbm_fcgi",
        "REGISTRY_DATABASE_DBNAME": database.name,
        "REGISTRY_DATABASE_SSLMODE": "disable",
    }
    with servers.service(database.name, changes=changes, environment=environment) as service:
        assert serves(service, keys.token("*", iss="only-here"))


def test_the_log_level_of_the_environment(servers, database, token):
    with servers.service(database.name, environment={"REGISTRY_LOG_LEVEL": "error"}) as service:
        assert serves(service, token)
    assert '"method"' not in service.written()


@pytest.mark.parametrize(
    "name, value, key",
    [("DATABASE_PORT", "abc", "database.port"), ("LOG_LEVEL", "loud", "log.level")],
)  # fmt: skip
def test_a_wrong_value_of_the_environment(attempt, configured, name, value, key):
    done = attempt(configured(), environment={f"REGISTRY_{name}": value})
    assert_stops(done, key)
    assert f"REGISTRY_{name}" in done.stderr, "the line does not say where the value comes from"


def test_what_means_nothing_here_does_not_stop_the_start(servers, database, token):
    environment = {
        "REGISTRY_FF_BBM": "true",
        "REGISTRY_PORT": "tcp://10.0.0.1:5000",
        "REGISTRY_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "REGISTRY_PORT_5000_TCP_ADDR": "10.0.0.1",
        "REGISTRY_SERVICE_HOST": "10.0.0.1",
        "REGISTRY_SERVICE_PORT": "5000",
        "REGISTRY_STORAGE_S3_BUCKET": "b",
        "REGISTRY_REDIS_ADDR": "redis:6379",
        "REGISTRY_HTTP_SECRET": "x",
        "REGISTRY_LOG_FIELDS_ENVIRONMENT": "production",
        "REGISTRY_DATABASE_POOL_MAXOPEN": "5",
        "REGISTRY_VALIDATION_DISABLED": "true",
        "REGISTRY_": "x",
        "REGISTRY": "x",
        "REGISTRY_AUTH": "token",
    }
    with servers.service(database.name, environment=environment) as service:
        assert serves(service, token)
