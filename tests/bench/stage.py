"""The servers that are compared: this service, PHP-FPM, the bare libfcgi program, and before them
one nginx, all on one PostgreSQL and all in the harness's folder."""

import contextlib
import glob
import os
import re
import shutil

from harness import postgres
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
"""
PHP_MODULES = ("zend_extension=opcache", "extension=pdo", "extension=pdo_pgsql")


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


class Stage:
    def __init__(self, servers):
        self.servers = servers
        self.load = servers.workspace.copy_program(os.path.join(build_folder(), "bench", "load"))

    @contextlib.contextmanager
    def database(self, migrations, jobs):
        with self.servers.database() as database:
            fill(database, migrations, jobs)
            yield database

    @contextlib.contextmanager
    def php(self, database, children):
        folder = self.servers.workspace.folder(self.servers.unique("php"))
        script = os.path.join(folder, "list.php")
        shutil.copyfile(os.path.join(HERE, "list.php"), script)
        settings = PHP_FPM.format(folder=folder, children=children, port=self.servers.cluster.port,
                                  dbname=database.name, user=SERVICE_ROLE, password=PASSWORD)  # fmt: skip
        file = self.servers.workspace.file(self.servers.unique("php") + ".conf", settings)
        argv = [newest_php_fpm(), "-n", "-y", file]
        for module in PHP_MODULES:
            argv += ["-d", module]
        address = os.path.join(folder, "php.sock")
        with running("php-fpm", argv, address, folder) as server:
            yield server, address, script

    @contextlib.contextmanager
    def floor(self, answer, threads):
        """The bare program, answering these bytes; a thread for each connection it may get."""
        folder = self.servers.workspace.folder(self.servers.unique("floor"))
        program = self.servers.workspace.copy_program(os.path.join(build_folder(), "bench", "floor"))
        file = self.servers.workspace.file(self.servers.unique("answer"), answer)
        address = os.path.join(folder, "floor.sock")
        with running("floor", [program, address, str(threads), file], address, folder) as server:
            yield server, address

    @contextlib.contextmanager
    def nginx(self, service, floor, php, script):
        with open(os.path.join(HERE, "nginx.conf.in"), encoding="utf-8") as file:
            main = file.read().replace("@floor@", floor).replace("@php@", php).replace("@script@", script)
        nginx = Nginx(self.servers.workspace.folder(self.servers.unique("nginx")), service.address, main)
        try:
            yield nginx
        finally:
            nginx.stop()

    def request_file(self, path=LIST, method="GET"):
        """A request with a good token as it goes over the wire."""
        whole = request_bytes(parameters(method, path, self.servers.keys.token("*")))
        return self.servers.workspace.file(self.servers.unique("request"), whole)

    def ask(self, address, path=LIST):
        """The list, without a web server and on a connection of its own."""
        with Connection(address, timeout=120) as connection:
            answer = connection.request(parameters("GET", path, self.servers.keys.token("*")))
        assert answer.status == 200, answer
        return answer

    def statements(self, database):
        """What the service sends for a list once it is warm, for pgbench: as PostgreSQL logs it."""
        log = self.servers.cluster.server.log
        role = f"ALTER ROLE {SERVICE_ROLE} {{}} log_statement {{}}"
        database.execute(role.format("SET", "= 'all'"))
        with self.servers.service(database.name, {"fcgi": {"threads": 1}}) as service:
            self.ask(service.address)
            start = os.path.getsize(log)
            self.ask(service.address)
        database.execute(role.format("RESET", ""))
        with open(log, "rb") as file:
            file.seek(start)
            return self.servers.workspace.file(self.servers.unique("statements"), in_log(file.read().decode()))


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


def fill(database, migrations, jobs):
    data = os.path.join(HERE, "data.sql")
    database.cluster.psql(
        database.name, "-v", f"migrations={migrations}", "-v", f"jobs={jobs}", "-f", data
    )

