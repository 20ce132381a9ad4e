"""A real nginx in front of a service, with the very files that operators are given."""

import os
import re
import shutil

from .ports import PortTaken, accepts, on_free_port
from .postgres import REPOSITORY
from .process import DidNotStart, Server
from .workspace import give_away

DEPLOYED = os.path.join(REPOSITORY, "deploy", "nginx")
UPSTREAM = "bbm-fcgi-upstream.conf"
SNIPPETS = ("bbm-fcgi.conf", "bbm-fcgi-params.conf")

# nginx resolves "include snippets/..." beside this file, as it does in /etc/nginx.
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {upstream};
    server {{
        listen 127.0.0.1:{port};
        include snippets/bbm-fcgi.conf;
    }}
}}
"""

# A mount under a name of its own, which takes that name off, puts the base on and adds a token.
PROXIED = MAIN.replace("include snippets/bbm-fcgi.conf;", """
        location ^~ /ops/ {{
            rewrite ^/ops(/.*)$ /v1/gitlab$1 break;
            include snippets/bbm-fcgi-params.conf;
            fastcgi_param HTTP_AUTHORIZATION "Bearer TOKEN";
            fastcgi_pass bbm_fcgi;
        }}""")  # fmt: skip


class Nginx:
    """With `main`, another main file than the tests' own."""

    def __init__(self, folder, address, main=MAIN):
        self.folder = folder
        self.main = main
        self._copy_deployed_files(address)
        self.server, self.port = on_free_port(self._start)

    def _copy_deployed_files(self, address):
        snippets = os.path.join(self.folder, "snippets")
        os.mkdir(snippets)
        for name in SNIPPETS:
            shutil.copy(os.path.join(DEPLOYED, name), snippets)
        with open(os.path.join(DEPLOYED, UPSTREAM), encoding="utf-8") as deployed:
            text = deployed.read()
        upstream = "{}:{}".format(*address) if isinstance(address, tuple) else f"unix:{address}"
        text, number = re.subn(r"(?m)^(\s*server\s+)unix:[^\s;]+", rf"\g<1>{upstream}", text)
        assert number == 1, f"{UPSTREAM} names {number} unix sockets"
        self._write(UPSTREAM, text)

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        give_away(path)
        return path

    def _start(self, port):
        main = self._write("nginx.conf", self.main.format(folder=self.folder, port=port, upstream=UPSTREAM))
        errors = os.path.join(self.folder, "error.log")
        # -e: else it opens the system's own log before it has read a line of ours.
        argv = ["/usr/sbin/nginx", "-p", self.folder, "-e", errors, "-c", main]
        server = Server("nginx", argv, os.path.join(self.folder, "output"))
        try:
            server.wait_ready(lambda: accepts(("127.0.0.1", port)))
        except DidNotStart as failure:
            if "Address already in use" in str(failure):
                raise PortTaken from failure
            raise
        return server, port

    def stop(self):
        assert self.server.stop() == 0, self.server.written()
