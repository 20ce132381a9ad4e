"""All the servers under one roof: one PostgreSQL, and services and nginxes as tests ask."""

import contextlib
import itertools
import os
import stat

from . import service as services
from . import database_proxies
from .client import Client
from .nginx import Nginx
from .postgres import REPOSITORY
from .program import install_program
from .tokens import Keyring
from .workspace import Workspace, give_away


class Site:
    """A database, a service on it, and an nginx before it."""

    def __init__(self, database, service, client):
        self.database = database
        self.service = service
        self.client = client


class Servers:
    def __init__(self):
        self._number = itertools.count(1)
        self._stack = contextlib.ExitStack()
        self.keys = Keyring()

    def __enter__(self):
        with self._stack as stack:
            self.workspace = Workspace()
            stack.callback(self.workspace.remove)
            way = os.environ.get("BBM_TEST_DATABASE")
            self.cluster, self.way, stop = database_proxies.cluster_behind(way, self.workspace)
            stack.callback(self.cluster.stop)
            stack.callback(stop)
            self.program = install_program(self.workspace.path)
            self.bundle = self.workspace.file("bundle.pem", self.keys.bundle)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def unique(self, name):
        return f"{name}_{next(self._number)}"

    @contextlib.contextmanager
    def database(self, name="registry", **options):
        """A new database; options are those of Cluster.create_database."""
        database = self.cluster.create_database(self.unique(name), **options)
        try:
            yield database
        finally:
            database.close()

    def socket_path(self):
        return os.path.join(self.workspace.folder(self.unique("run")), "bbm-fcgi.sock")

    def copy_to_servers(self, path):
        """A copy of a file of the repository, where the servers' user can read it."""
        with open(os.path.join(REPOSITORY, path), "rb") as source:
            return self.workspace.file(self.unique("copy"), source.read())

    def open_to_servers(self, path):
        """For a socket that the tests have bound: nginx has to reach it."""
        give_away(path)

    def mode_of(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def group_of_servers(self):
        """The number of the one group that the servers' user is sure to be in."""
        return os.stat(self.bundle).st_gid

    def configuration(self, dbname, listen, changes=None):
        listen = "{}:{}".format(*listen) if isinstance(listen, tuple) else listen
        base = services.base_configuration(self.cluster, dbname, self.bundle, listen)
        base["database"].update(self.way)
        return services.changed(base, changes)

    def write_configuration(self, configuration):
        return self.workspace.file(self.unique("config") + ".yml", services.to_yaml(configuration))

    @contextlib.contextmanager
    def service(self, dbname, changes=None, listen=None, inherited=None, environment=None, program=None):
        """A running service; inherited is a listening socket for its descriptor 0."""
        listen = listen or self.socket_path()
        configuration = self.configuration(dbname, listen, changes)
        if inherited is not None:
            del configuration["fcgi"]["listen"]
        file = self.write_configuration(configuration)
        with self.service_with_file(file, listen, environment, inherited, program) as service:
            yield service

    @contextlib.contextmanager
    def service_with_file(self, file, listen, environment=None, inherited=None, program=None):
        name = self.unique("service")
        log = os.path.join(self.workspace.path, f"{name}.log")
        service = services.Service(name, program or self.program, file, listen, log, environment, inherited)
        try:
            yield service
        except BaseException:
            service.server.kill()
            raise
        service.stop()

    @contextlib.contextmanager
    def nginx(self, service):
        nginx = Nginx(self.workspace.folder(self.unique("nginx")), service.address)
        try:
            yield Client(nginx.port)
        finally:
            nginx.stop()

    @contextlib.contextmanager
    def site(self, database=None, **options):
        """A database of its own (unless one is given), a service and an nginx."""
        with contextlib.ExitStack() as stack:
            if database is None:
                database = stack.enter_context(self.database())
            service = stack.enter_context(self.service(database.name, **options))
            yield Site(database, service, stack.enter_context(self.nginx(service)))
