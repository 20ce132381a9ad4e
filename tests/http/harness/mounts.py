"""Every way of mounting the service, from the very files in deploy/.

Each mount is a context that yields a Mounted. In the deployed files paths, ports and users are
put in place of those of a host, and nothing else; what stands around them (a web server's main
file) is as small as it can be.
"""

import contextlib
import os
import signal
import subprocess

from .client import Client
from .nginx import Nginx
from .ports import PortTaken, accepts, free_port, on_free_port
from .postgres import REPOSITORY
from .process import DidNotStart, Server, clean_environment, wait_until
from .program import install_program, processes_of
from .timing import longer
from .workspace import UNPRIVILEGED, give_away

PROGRAM = "/usr/local/sbin/bbm-fcgi"
CONFIGURATION = "/etc/bbm-fcgi/config.yml"
SOCKET = "/run/bbm-fcgi/bbm-fcgi.sock"


class Mounted:
    """A client before it all, what the service writes to its log, its processes, the web server."""

    def __init__(self, client, written, processes=None, server=None):
        self.client = client
        self.written = written
        self.processes = processes
        self.server = server


def deployed(path, changes):
    """The text of a deployed file, each of these strings replaced wherever it stands."""
    with open(os.path.join(REPOSITORY, "deploy", path), encoding="utf-8") as file:
        text = file.read()
    for old, new in changes.items():
        assert old in text, f"{path} does not name {old}"
        text = text.replace(old, new)
    return text


def install(folder, name, path, changes, mode=0o644):
    target = os.path.join(folder, name)
    with open(target, "w", encoding="utf-8") as out:
        out.write(deployed(path, changes))
    os.chmod(target, mode)
    give_away(target)
    return target


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    give_away(path)
    return path


def configuration_without_listen(servers, database, changes=None):
    """For those who hand the socket over as descriptor 0."""
    configuration = servers.configuration(database.name, "", changes)
    del configuration["fcgi"]["listen"]
    return servers.write_configuration(configuration)


class WebServer:
    """A web server on a port of its own; what it says is kept."""

    def __init__(self, name, folder, argv, main):
        """argv(path of the main file); main(port) is its text."""
        self.name, self.folder, self.argv, self.main = name, folder, argv, main
        self.server, self.port = on_free_port(self._start)

    def _start(self, port):
        main = write(self.folder, "main.conf", self.main(port))
        log = os.path.join(self.folder, f"output.{port}")
        environment = {"HOME": self.folder, "XDG_DATA_HOME": self.folder, "XDG_CONFIG_HOME": self.folder}
        server = Server(self.name, self.argv(main), log, environment)
        try:
            server.wait_ready(lambda: accepts(("127.0.0.1", port)))
        except DidNotStart as failure:
            if "ddress already in use" in str(failure):
                raise PortTaken from failure
            raise
        return server, port

    def written(self):
        return self.server.written() + read_log(self.folder, "error.log")


def read_log(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="backslashreplace") as log:
        return log.read()


@contextlib.contextmanager
def running(server, good=(0,)):
    try:
        yield server
        code = server.server.stop()
    except BaseException:
        # With all that it has started: it leads a session of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.server.child.pid, signal.SIGKILL)
        server.server.kill()
        raise
    assert code in good, f"{server.name} ended with {code}:\n{server.written()[-2000:]}"


def tcp_address():
    return ("127.0.0.1", free_port())


# nginx


@contextlib.contextmanager
def nginx(servers, database, listen=None):
    with servers.service(database.name, listen=listen) as service, servers.nginx(service) as client:
        yield Mounted(client, service.written)


def nginx_tcp(servers, database):
    return nginx(servers, database, tcp_address())


# Apache

APACHE = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LogLevel info
DocumentRoot {folder}/htdocs
{modules}
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory {folder}/htdocs>
    Require all granted
</Directory>
{more}
Include {folder}/bbm-fcgi.conf
"""
APACHE_MODULES = "/etc/apache2/mods-available"


def start_apache(folder, modules, more=""):
    os.mkdir(os.path.join(folder, "htdocs"), 0o755)
    loads = "\n".join(
        f"Include {APACHE_MODULES}/{name}.load" for name in ("mpm_event", "authz_core", "authz_host", *modules)
    )

    def main(port):
        return APACHE.format(folder=folder, port=port, modules=loads, more=more)

    return WebServer(
        "apache2", folder, lambda file: ["/usr/sbin/apache2", "-d", folder, "-f", file, "-DFOREGROUND"], main
    )


FCGID = """
FcgidIPCDir {folder}/ipc
FcgidProcessTableFile {folder}/processes
"""


@contextlib.contextmanager
def apache_fcgid(servers, database, more="", changes=None, options=None, source=None):
    """more: lines for Apache's main file; options: changes to the deployed file's own numbers."""
    folder = servers.workspace.folder(servers.unique("fcgid"))
    program = install_program(folder, source)
    file = configuration_without_listen(servers, database, changes)
    install(folder, "bbm-fcgi.conf", "apache-fcgid/bbm-fcgi.conf",
            {PROGRAM: program, CONFIGURATION: file, **(options or {})})  # fmt: skip
    give_away_folder(folder, "ipc")
    server = start_apache(folder, ("alias", "fcgid"), FCGID.format(folder=folder) + more)

    with running(server):
        yield Mounted(Client(server.port), server.written, lambda: processes_of(program), server.server)
    assert wait_until(lambda: not processes_of(program), seconds=15), "Apache has left processes behind"


def give_away_folder(folder, name):
    path = os.path.join(folder, name)
    os.mkdir(path, 0o755)
    give_away(path)


@contextlib.contextmanager
def apache_proxy_fcgi(servers, database, listen=None):
    with servers.service(database.name, listen=listen) as service:
        folder = servers.workspace.folder(servers.unique("apache"))
        place = f"unix:{SOCKET}|fcgi://bbm-fcgi"
        target = f"unix:{service.address}|fcgi://bbm-fcgi" if listen is None else "fcgi://{}:{}".format(*listen)
        install(folder, "bbm-fcgi.conf", "apache-proxy-fcgi/bbm-fcgi.conf", {place: target})
        with running(start_apache(folder, ("proxy", "proxy_fcgi"))) as server:
            yield Mounted(Client(server.port), service.written)


def apache_proxy_fcgi_tcp(servers, database):
    return apache_proxy_fcgi(servers, database, tcp_address())


# lighttpd

LIGHTTPD = """
server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{folder}/error.log"
include "{folder}/bbm-fcgi.conf"
"""


# 1 where a connection was still open.
LIGHTTPD_ENDS = (0, 1)


def start_lighttpd(folder):
    return WebServer(
        "lighttpd", folder, lambda file: ["/usr/sbin/lighttpd", "-D", "-f", file],
        lambda port: LIGHTTPD.format(folder=folder, port=port),
    )  # fmt: skip


@contextlib.contextmanager
def lighttpd(servers, database, listen=None):
    with servers.service(database.name, listen=listen) as service:
        folder = servers.workspace.folder(servers.unique("lighttpd"))
        changes = {f'"socket" => "{SOCKET}"': f'"socket" => "{service.address}"'}
        if listen is not None:
            changes = {f'"socket" => "{SOCKET}"': '"host" => "{}", "port" => {}'.format(*listen)}
        install(folder, "bbm-fcgi.conf", "lighttpd/bbm-fcgi.conf", changes)
        with running(start_lighttpd(folder), good=LIGHTTPD_ENDS) as server:
            yield Mounted(Client(server.port), service.written)


def lighttpd_tcp(servers, database):
    return lighttpd(servers, database, tcp_address())


@contextlib.contextmanager
def lighttpd_spawn(servers, database, source=None):
    folder = servers.workspace.folder(servers.unique("lighttpd"))
    program = install_program(folder, source)
    changes = {
        PROGRAM: program,
        CONFIGURATION: configuration_without_listen(servers, database),
        "/run/lighttpd/": f"{folder}/",
        "/var/log/lighttpd/": f"{folder}/",
    }
    install(folder, "bbm-fcgi.conf", "lighttpd/bbm-fcgi-spawn.conf", changes)

    def written():
        return read_log(folder, "bbm-fcgi.log")

    with running(start_lighttpd(folder), good=LIGHTTPD_ENDS) as server:
        yield Mounted(Client(server.port), written, lambda: processes_of(program))
    assert wait_until(lambda: not processes_of(program), seconds=15), "lighttpd has left processes behind"


# HAProxy

# The two lines are those that the deployed file's first lines say to put in a frontend.
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend test
    bind 127.0.0.1:{port}
{frontend}
"""


@contextlib.contextmanager
def haproxy(servers, database, listen=None, changes=None):
    with servers.service(database.name, changes, listen=listen) as service:
        folder = servers.workspace.folder(servers.unique("haproxy"))
        target = "{}:{}".format(*listen) if listen else f"unix@{service.address}"
        file = install(folder, "bbm-fcgi.cfg", "haproxy/bbm-fcgi.cfg", {f"unix@{SOCKET}": target})
        frontend = "\n".join(line.lstrip("#") for line in deployed("haproxy/bbm-fcgi.cfg", {}).splitlines()
                             if line.startswith("#     "))  # fmt: skip
        server = WebServer(
            "haproxy", folder, lambda main: ["/usr/sbin/haproxy", "-db", "-f", main, "-f", file],
            lambda port: HAPROXY.format(port=port, frontend=frontend),
        )  # fmt: skip
        with running(server, good=(-signal.SIGTERM,)):
            yield Mounted(Client(server.port), service.written)


def haproxy_tcp(servers, database):
    return haproxy(servers, database, tcp_address())


# Caddy

CADDY = """
{{
	admin off
	auto_https off
	storage file_system {folder}
}}
http://127.0.0.1:{port} {{
	import {folder}/bbm-fcgi.caddy
	respond 404
}}
"""


@contextlib.contextmanager
def caddy(servers, database, listen=None, changes=None):
    with servers.service(database.name, changes, listen=listen) as service:
        folder = servers.workspace.folder(servers.unique("caddy"))
        target = "{}:{}".format(*listen) if listen else f"unix/{service.address}"
        install(folder, "bbm-fcgi.caddy", "caddy/bbm-fcgi.caddy", {f"unix/{SOCKET}": target})
        server = WebServer(
            "caddy", folder, lambda main: ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", main],
            lambda port: CADDY.format(folder=folder, port=port),
        )  # fmt: skip
        with running(server):
            yield Mounted(Client(server.port), service.written)


def caddy_tcp(servers, database):
    return caddy(servers, database, tcp_address())


# spawn-fcgi


class InitScript:
    """The SysV script with its settings, in a folder of their own."""

    def __init__(self, servers, database, processes, listen=None, source=None):
        self.number = processes
        self.folder = servers.workspace.folder(servers.unique("spawn"))
        self.program = install_program(self.folder, source)
        self.listen = listen or os.path.join(self.folder, "run", "bbm-fcgi.sock")
        self.configuration = configuration_without_listen(servers, database)
        self.pid_file = os.path.join(self.folder, "bbm-fcgi.pid")
        # Root's, as /run and /var/log are.
        os.mkdir(os.path.join(self.folder, "log"), 0o755)
        user, group = UNPRIVILEGED
        settings = {
            PROGRAM: self.program,
            CONFIGURATION: self.configuration,
            f"LISTEN={SOCKET}": "LISTEN={}".format(self.listen if listen is None else "{}:{}".format(*listen)),
            "/run/bbm-fcgi.pid": self.pid_file,
            "/var/log/": f"{self.folder}/log/",
            "SOCKET_GROUP=www-data": f"SOCKET_GROUP={group}",
            "RUN_AS=bbm-fcgi": f"RUN_AS={user}",
            "RUN_AS_GROUP=bbm-fcgi": f"RUN_AS_GROUP={group}",
            "PROCESSES=1": f"PROCESSES={processes}",
        }
        file = install(self.folder, "default", "spawn-fcgi/bbm-fcgi.default", settings)
        spawn = install(self.folder, "bbm-fcgi-spawn", "spawn-fcgi/bbm-fcgi-spawn", {}, 0o755)
        self.settings = file
        places = {"settings=/etc/default/bbm-fcgi\n": f"settings={file}\n", "/usr/local/sbin/bbm-fcgi-spawn\n": f"{spawn}\n"}
        self.script = install(self.folder, "init", "spawn-fcgi/bbm-fcgi.init", places, 0o755)

    def run(self, action):
        return subprocess.run(
            [self.script, action], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=longer(60),
            check=False, cwd="/", env=clean_environment(),
        )  # fmt: skip

    def must(self, action):
        done = self.run(action)
        assert done.returncode == 0, done
        return done

    def processes(self):
        return processes_of(self.program)

    def written(self):
        return read_log(os.path.join(self.folder, "log"), "bbm-fcgi.log")

    def wait_started(self, number):
        """Until so many processes in all have come to serve: the socket is there before they are."""
        assert wait_until(lambda: self.written().count("serving the inherited socket") >= number, seconds=20)

    def __enter__(self):
        self.must("start")
        self.wait_started(self.number)
        return self

    def __exit__(self, *_):
        self.must("stop")
        assert self.processes() == []


@contextlib.contextmanager
def spawn_fcgi(servers, database, processes=1, listen=None, source=None):
    with InitScript(servers, database, processes, listen, source) as script:
        server = Nginx(servers.workspace.folder(servers.unique("nginx")), script.listen)
        try:
            yield Mounted(Client(server.port), script.written, script.processes)
        finally:
            server.stop()


def spawn_fcgi_three(servers, database):
    return spawn_fcgi(servers, database, 3)


def spawn_fcgi_tcp(servers, database):
    return spawn_fcgi(servers, database, 1, tcp_address())


# systemd


def unit_line(unit, key):
    values = [line.split("=", 1)[1] for line in unit.splitlines() if line.startswith(f"{key}=")]
    assert len(values) == 1, f"{key} stands {len(values)} times"
    return values[0]


@contextlib.contextmanager
def systemd(servers, database):
    """systemd-socket-activate in systemd's place, and the unit's restrictions as far as they go."""
    folder = servers.workspace.folder(servers.unique("systemd"))
    # No valgrind: it writes code and runs it, which the unit forbids.
    program = install_program(folder, wrapped=False)
    socket_path = os.path.join(folder, "bbm-fcgi.sock")
    unit = install(
        folder, "bbm-fcgi.service", "systemd/bbm-fcgi.service",
        {PROGRAM: program, CONFIGURATION: configuration_without_listen(servers, database)},
    )  # fmt: skip
    with open(unit, encoding="utf-8") as file:
        text = file.read()
    assert unit_line(text, "StandardInput") == "socket"
    listen = unit_line(deployed("systemd/bbm-fcgi.socket", {SOCKET: socket_path}), "ListenStream")
    argv = ["systemd-socket-activate", "--inetd", f"--listen={listen}"]
    # A leak cannot be looked for under these restrictions.
    argv += ["-E", "ASAN_OPTIONS=detect_leaks=0:exitcode=99"]
    argv += ["/usr/bin/python3", servers.copy_to_servers("tests/http/harness/confined.py"), unit]
    argv += unit_line(text, "ExecStart").split()
    server = Server("systemd-socket-activate", argv, os.path.join(folder, "output"))
    try:
        server.wait_ready(lambda: accepts(listen))
        front = Nginx(servers.workspace.folder(servers.unique("nginx")), listen)
        try:
            yield Mounted(Client(front.port), server.written, lambda: processes_of(program))
        finally:
            front.stop()
    except BaseException:
        server.kill()
        raise
    code = server.stop()
    assert code == 0, f"ended with {code}:\n{server.written()[-3000:]}"


MOUNTS = {
    "nginx, unix": nginx,
    "nginx, tcp": nginx_tcp,
    "apache-fcgid": apache_fcgid,
    "apache-proxy-fcgi, unix": apache_proxy_fcgi,
    "apache-proxy-fcgi, tcp": apache_proxy_fcgi_tcp,
    "lighttpd": lighttpd,
    "lighttpd, spawning": lighttpd_spawn,
    "haproxy": haproxy,
    "caddy": caddy,
    "spawn-fcgi": spawn_fcgi,
    "spawn-fcgi, three processes": spawn_fcgi_three,
    "systemd": systemd,
}
# Their files say how to use them. That this works is tested, but not with the whole run.
ALSO_OVER_TCP = {"lighttpd": lighttpd_tcp, "haproxy": haproxy_tcp, "caddy": caddy_tcp, "spawn-fcgi": spawn_fcgi_tcp}

__all__ = ["ALSO_OVER_TCP", "MOUNTS", "InitScript", "apache_fcgid", "deployed", "lighttpd_spawn", "processes_of", "spawn_fcgi", "unit_line"]
