"""A private PostgreSQL cluster, and databases in it with the registry's two tables."""

import contextlib
import glob
import os
import re
import signal
import subprocess

import psycopg2
import psycopg2.extras

from .ports import PortTaken, on_free_port
from .process import DidNotStart, Server, clean_environment, wait_until
from .workspace import as_servers_user

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
SERVICE_ROLE = "bbm_fcgi"
PASSWORD = "hunter2-never-in-a-log"

# Trust keeps the tests fast. Two databases do authenticate: by the password, and by the system user.
PG_HBA = """
local with_peer all peer
host with_password bbm_fcgi 127.0.0.1/32 scram-sha-256
local all,replication all trust
host all all 127.0.0.1/32 trust
"""

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


def newest_bin():
    folders = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not folders:
        raise FileNotFoundError("no PostgreSQL server under /usr/lib/postgresql (package postgresql)")
    newest = max(folders, key=lambda path: [int(number) for number in re.findall(r"\d+", path)])
    return os.path.dirname(newest)


def schema_files(ages=None):
    """The increments in order; the first `ages` of them, or all."""
    files = sorted(glob.glob(os.path.join(REPOSITORY, "sql", "schema", "*.sql")))
    assert files, "sql/schema holds no increments"
    return files[:ages]


class Cluster:
    def __init__(self, workspace, name="postgres", settings=None, copy_of=None, hba=PG_HBA):
        self.bin = newest_bin()
        self.folder = workspace.folder(name)
        self.data = os.path.join(self.folder, "data")
        self.hba = hba
        self.settings = {**SETTINGS, **(settings or {})}
        if copy_of is None:
            self._init()
            self.server, self.port = on_free_port(self._start)
        else:
            self._copy(copy_of)
            self.port = copy_of.port
            self.server, _ = self._start(self.port)

    def _init(self):
        argv = [f"{self.bin}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]  # fmt: skip
        subprocess.run(
            as_servers_user(argv), check=True, stdout=subprocess.DEVNULL, cwd="/", env=clean_environment()
        )
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as hba:
            hba.write(self.hba)

    def _copy(self, primary):
        """A standby that follows the primary, on the same port of another address."""
        argv = [f"{self.bin}/pg_basebackup", "-D", self.data, "-h", primary.folder, "-p", str(primary.port),
                "-U", "postgres", "-c", "fast", "-X", "stream", "-R", "--no-sync"]  # fmt: skip
        subprocess.run(as_servers_user(argv), check=True, cwd="/", env=clean_environment())

    def crash(self):
        """As when the kernel takes it away; its children notice and end too."""
        self.server.kill()

    def start_again(self):
        self.server, _ = self._start(self.port)

    def promote(self):
        argv = [f"{self.bin}/pg_ctl", "-D", self.data, "promote", "-w", "-s"]
        subprocess.run(as_servers_user(argv), check=True, cwd="/", env=clean_environment())

    def _start(self, port):
        argv = [f"{self.bin}/postgres", "-D", self.data, "-p", str(port), "-k", self.folder]
        for name, value in self.settings.items():
            argv += ["-c", f"{name}={value}"]
        server = Server("postgres", argv, os.path.join(self.folder, f"log.{port}"))
        try:
            # After a crash the last one's children may be ending still, and hold its memory.
            server.wait_ready(lambda: self._answers(port))
        except DidNotStart as failure:
            if "Address already in use" in str(failure):
                raise PortTaken from failure
            raise
        return server, port

    def _answers(self, port):
        try:
            psycopg2.connect(host=self.folder, port=port, user="postgres", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self):
        # "Fast": it ends sessions that are still open instead of waiting for them.
        assert self.server.stop(signal.SIGINT, seconds=30) == 0, self.server.written()[-2000:]

    def connect(self, dbname="postgres", user="postgres"):
        connection = psycopg2.connect(host=self.folder, port=self.port, user=user, dbname=dbname)
        connection.autocommit = True
        return connection

    def execute(self, statement):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def psql(self, dbname, *arguments):
        argv = [f"{self.bin}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
                "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-d", dbname]  # fmt: skip
        done = subprocess.run(
            argv + list(arguments), env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"psql {arguments}: {done.stderr}"

    def create_database(self, name, encoding="UTF8", ages=None, sample=False, history=False):
        """A database as a registry of that age has it, and the service's role in it; history: with its table, too."""
        locale = "C.UTF-8" if encoding == "UTF8" else "C"
        self.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'"
            f" LC_COLLATE '{locale}' LC_CTYPE '{locale}'"
        )
        files = schema_files(ages)
        if sample:
            files.append(os.path.join(REPOSITORY, "sql", "sample.sql"))
        self.psql(name, *[part for file in files for part in ("-f", file)])
        role = os.path.join(REPOSITORY, "sql", "role.sql")
        self.psql(name, "-v", f"role={SERVICE_ROLE}", "-v", f"password={PASSWORD}", "-f", role)
        if history:
            self.add_history(name)
        return Database(self, name)

    def add_history(self, name):
        self.psql(name, "-v", f"role={SERVICE_ROLE}", "-f", os.path.join(REPOSITORY, "sql", "history.sql"))


class Database:
    """The superuser's view of one database, for setting the scene and for looking after it."""

    MIGRATION = {
        "min_value": 1,
        "max_value": 1000,
        "batch_size": 10,
        "status": 1,
        "job_signature_name": "someJob",
        "table_name": "public.some_table",
        "column_name": "id",
    }

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.connection = cluster.connect(name)

    def close(self):
        self.connection.close()

    def execute(self, statement, arguments=None):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)

    def rows(self, statement, arguments=None):
        with self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(statement, arguments)
            return [dict(row) for row in cursor.fetchall()]

    def insert(self, table, columns):
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        statement = f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id"
        return self.rows(statement, list(columns.values()))[0]["id"]

    def add_migration(self, name, **columns):
        """A migration with believable defaults; gives back its id."""
        return self.insert("batched_background_migrations", {"name": name, **self.MIGRATION, **columns})

    def add_jobs(self, migration, status, number, **columns):
        for _ in range(number):
            job = {"min_value": 1, "max_value": 10, "status": status, **columns}
            self.insert("batched_background_migration_jobs", {"batched_background_migration_id": migration, **job})

    def clear(self):
        self.execute("TRUNCATE batched_background_migrations RESTART IDENTITY CASCADE")

    def history(self):
        """What is recorded, oldest first: each action, with its changes."""
        actions = self.rows("SELECT * FROM bbm_fcgi.actions ORDER BY id")
        for action in actions:
            changes = "SELECT * FROM bbm_fcgi.changes WHERE action_id = %s ORDER BY migration_id"
            action["changes"] = self.rows(changes, (action["id"],))
        return actions

    def clear_history(self):
        self.execute("DELETE FROM bbm_fcgi.actions")

    def migrations(self):
        return self.rows("SELECT * FROM batched_background_migrations ORDER BY id")

    @contextlib.contextmanager
    def locked(self):
        """Every statement that reads migrations waits meanwhile."""
        with contextlib.closing(self.cluster.connect(self.name)) as holder, holder.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE batched_background_migrations IN ACCESS EXCLUSIVE MODE")
            yield
            cursor.execute("ROLLBACK")

    def waiting_for_a_lock(self):
        """How many do."""
        waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return self.rows(waiting, (self.name,))[0]["n"]

    def someone_waits_for_a_lock(self):
        return bool(wait_until(self.waiting_for_a_lock, seconds=5))

    def count_jobs(self, migration, status):
        statement = (
            "SELECT count(*) AS n FROM batched_background_migration_jobs"
            " WHERE batched_background_migration_id = %s AND status = %s"
        )
        return self.rows(statement, (migration, status))[0]["n"]
