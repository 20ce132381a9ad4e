"""The servers that are compared: this service, PHP-FPM, the bare libfcgi program, each behind an nginx
of its own, all on one PostgreSQL and all in the harness's folder."""

import contextlib
import glob
import os
import re
import shutil

import measure
from harness import postgres
from harness.client import Client
from harness.fastcgi import Connection, parameters, request_bytes
from harness.nginx import Nginx
from harness.ports import accepts
from harness.postgres import PASSWORD, SERVICE_ROLE
from harness.process import Server
from harness.program import build_folder
from harness.routes import LIST

HERE = os.path.dirname(os.path.abspath(__file__))

# As a database of that size would have it; vacuumed by hand, so that no round has it running.
postgres.SETTINGS.update(shared_buffers="512MB", maintenance_work_mem="512MB", max_wal_size="8GB", wal_level="minimal",
                         max_wal_senders="0")  # fmt: skip

PHP_FPM = """
[global]
error_log = {folder}/error.log
daemonize = no
[bench]
listen = {folder}/php.sock
pm = static
pm.max_children = {children}
env[BENCH_DSN] = "pgsql:host=127.0.0.1;port={port};dbname={dbname};sslmode=disable"
env[BENCH_USER] = {user}
env[BENCH_PASSWORD] = {password}
env[BENCH_PREPARES] = {prepares}
"""
PHP_MODULES = ("zend_extension=opcache", "extension=pdo", "extension=pdo_pgsql")


PHP_SCRIPTS = ("list.php", "one.php", "migration.php")

# However slow the machine, slow is not failed.
PATIENT = {"timeout": "60s", "queuetimeout": "60s"}


def newest_php_fpm():
    found = glob.glob("/usr/sbin/php-fpm*")
    if not found:
        raise FileNotFoundError("no PHP-FPM in /usr/sbin (package php-fpm)")
    return max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path)])


@contextlib.contextmanager
def running(name, argv, address, folder):
    """A server that is ready once it listens."""
    server = Server(name, argv, os.path.join(folder, "output"))
    server.wait_ready(lambda: accepts(address))
    try:
        yield server
    finally:
        server.stop()


class Site:
    """A server and the nginx before it."""

    def __init__(self, server, nginx, cluster=None, service=None):
        """cluster: where the server asks a database; service: where it is this one."""
        self.service = service
        self.port = nginx.port
        self.pids = {"program": server.child.pid, "nginx": nginx.server.child.pid}
        if cluster:
            self.pids["PostgreSQL"] = cluster.server.child.pid

    def load(self, asked, clients, seconds, token=None, refused=False):
        """Figures of wrk, and the CPU a request of each process."""
        return measure.watch(self.pids, lambda: measure.wrk(self.port, clients, seconds, asked, token, refused))

    def ask(self, asked, token=None):
        method, path = asked.split(" ", 1)
        with Client(self.port).connect(timeout=120) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read()


class Stage:
    def __init__(self, servers):
        self.servers = servers
        self.load, self.floor_program = (
            servers.workspace.copy_program(os.path.join(build_folder(), "bench", name)) for name in ("load", "floor")
        )

    @contextlib.contextmanager
    def database(self, migrations, jobs, failed_every=200):
        with self.servers.database() as database:
            fill(database, migrations, jobs, failed_every)
            yield database

    def changes(self, prepared, threads):
        """To the harness's configuration of a service."""
        return {"fcgi": {"threads": threads, **PATIENT}, "database": {"preparedstatements": prepared}}

    @contextlib.contextmanager
    def site(self, database, changes, program=None):
        """This service."""
        with self.servers.service(database.name, changes, program=program) as service:
            with self.nginx(service.address) as nginx:
                yield Site(service.server, nginx, self.servers.cluster, service)

    @contextlib.contextmanager
    def php(self, database, children, emulate):
        """PHP-FPM, with PDO's emulated prepares or with its own prepared statements."""
        folder = self.servers.workspace.folder(self.servers.unique("php"))
        scripts = os.path.join(folder, "php")
        os.mkdir(scripts)
        for name in PHP_SCRIPTS:
            shutil.copyfile(os.path.join(HERE, name), os.path.join(scripts, name))
        settings = PHP_FPM.format(folder=folder, children=children, port=self.servers.cluster.port,
                                  dbname=database.name, user=SERVICE_ROLE, password=PASSWORD,
                                  prepares="emulated" if emulate else "native")  # fmt: skip
        file = self.servers.workspace.file(self.servers.unique("php") + ".conf", settings)
        argv = [newest_php_fpm(), "-n", "-y", file]
        for module in PHP_MODULES:
            argv += ["-d", module]
        address = os.path.join(folder, "php.sock")
        with running("php-fpm", argv, address, folder) as server, self.nginx(address, folder) as nginx:
            yield Site(server, nginx, self.servers.cluster)

    @contextlib.contextmanager
    def floor(self, answer, threads):
        """The bare program, with this answer to everything; a thread for each connection it may get."""
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        content = f"Status: 200 OK\r\n{head}\r\n".encode() + answer.body
        folder = self.servers.workspace.folder(self.servers.unique("floor"))
        file = self.servers.workspace.file(self.servers.unique("answer"), content)
        address = os.path.join(folder, "floor.sock")
        argv = [self.floor_program, address, str(threads), file]
        with running("floor", argv, address, folder) as server, self.nginx(address) as nginx:
            yield Site(server, nginx)

    @contextlib.contextmanager
    def nginx(self, address, scripts=""):
        with open(os.path.join(HERE, "nginx.conf.in"), encoding="utf-8") as file:
            main = file.read().replace("@scripts@", scripts)
        nginx = Nginx(self.servers.workspace.folder(self.servers.unique("nginx")), address, main)
        try:
            yield nginx
        finally:
            nginx.stop()

    def token(self):
        return self.servers.keys.token("*")

    def request_file(self, path=LIST, method="GET"):
        """A request with a good token as it goes over the wire."""
        whole = request_bytes(parameters(method, path, self.token()))
        return self.servers.workspace.file(self.servers.unique("request"), whole)

    def ask(self, address, path=LIST):
        """Without a web server and on a connection of its own."""
        with Connection(address, timeout=120) as connection:
            answer = connection.request(parameters("GET", path, self.token()))
        assert answer.status == 200, answer
        return answer

    def statements(self, database, path):
        """What the service sends for it once it is warm, for pgbench: as PostgreSQL logs it.

        The shortest of several: at times it asks for more, such as whether there is a history."""
        log = self.servers.cluster.server.log
        pieces = []
        role = f"ALTER ROLE {SERVICE_ROLE} {{}} log_statement {{}}"
        database.execute(role.format("SET", "= 'all'"))
        with self.servers.service(database.name, self.changes(False, 1)) as service:
            for _ in range(5):
                start = os.path.getsize(log)
                self.ask(service.address, path)
                with open(log, "rb") as file:
                    file.seek(start)
                    pieces.append(in_log(file.read().decode()))
        database.execute(role.format("RESET", ""))
        return self.servers.workspace.file(self.servers.unique("statements"), min(pieces, key=len))


def in_log(text):
    """The statements in a piece of PostgreSQL's log, their parameters filled in."""
    entries = re.split(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ", text, flags=re.MULTILINE)
    statements = []
    for entry in entries:
        statement = re.match(r"LOG:  (?:execute <unnamed>|statement): (.*)", entry, re.DOTALL)
        if statement:
            statements.append(statement[1].strip())
        elif entry.startswith("DETAIL:  parameters: "):
            values = dict(re.findall(r"(\$\d+) = (NULL|'(?:[^']|'')*')", entry))
            statements[-1] = re.sub(r"\$\d+", lambda place, v=values: v[place[0]], statements[-1])
    assert statements, f"no statement in the log: {text}"
    return "".join(f"{statement};\n" for statement in statements)


def fill(database, migrations, jobs, failed_every=200):
    data = os.path.join(HERE, "data.sql")
    sizes = {"migrations": migrations, "jobs": jobs, "failed_every": failed_every}
    variables = [part for name, value in sizes.items() for part in ("-v", f"{name}={value}")]
    database.cluster.psql(database.name, *variables, "-f", data)
