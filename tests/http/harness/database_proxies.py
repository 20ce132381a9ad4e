"""TLS and PgBouncer between a service and its database. BBM_TEST_DATABASE selects one for a whole run."""

import datetime
import os
import re
import subprocess

import psycopg2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .ports import PortTaken, accepts, on_free_port
from .postgres import SERVICE_ROLE, Cluster
from .process import DidNotStart, Server

# Fewer connections to the server than clients have, so clients share sessions.
PGBOUNCER = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
{settings}
max_client_conn = 400
"""
HBA_TLS = """
local all,replication all trust
hostssl all all 127.0.0.1/32 trust
hostssl all all ::1/128 trust
"""


def cluster_behind(proxy, workspace):
    """The run's cluster, the settings by which a service reaches it, and a function that stops the proxy."""
    if proxy == "tls":
        return *tls(workspace, "postgres"), lambda: None
    cluster = Cluster(workspace)
    if proxy == "pgbouncer":
        bouncer = PgBouncer(workspace, "pgbouncer", cluster.port)
        return cluster, {"port": bouncer.port}, bouncer.stop
    assert not proxy, f"BBM_TEST_DATABASE is {proxy}; it can be pgbouncer or tls"
    return cluster, {}, lambda: None


def pgbouncer_version():
    done = subprocess.run(["/usr/sbin/pgbouncer", "--version"], capture_output=True, text=True, check=True)
    return tuple(int(number) for number in re.search(r"(\d+)\.(\d+)", done.stdout).groups())


class PgBouncer:
    def __init__(self, workspace, name, server, pool_size=2, prepared=None, **settings):
        """prepared: how many prepared statements it keeps for a client, where it knows of them."""
        self.pool_size = pool_size
        if prepared is not None and pgbouncer_version() >= (1, 21):
            settings["max_prepared_statements"] = prepared
        self.settings = "".join(f"{setting} = {value}\n" for setting, value in settings.items())
        self.folder = workspace.folder(name)
        workspace.file(f"{name}/users", f'"{SERVICE_ROLE}" ""\n')
        self.workspace = workspace
        self.name = name
        self.behind = server
        self.server, self.port = on_free_port(self._start)

    def _start(self, port):
        text = PGBOUNCER.format(server=self.behind, port=port, folder=self.folder, pool_size=self.pool_size, settings=self.settings)
        file = self.workspace.file(f"{self.name}/pgbouncer.ini", text)
        server = Server("pgbouncer", ["/usr/sbin/pgbouncer", file], os.path.join(self.folder, "log"))
        try:
            server.wait_ready(lambda: accepts(("127.0.0.1", port)))
        except DidNotStart as failure:
            if "Address already in use" in str(failure):
                raise PortTaken from failure
            raise
        return server, port

    def stop(self):
        # SIGINT: it waits for queries under way, of which there are none left.
        self.server.stop()


def connect(place, dbname, user):
    """A client of its own on the way that a service's configuration names."""
    connection = psycopg2.connect(host=place["host"], port=place["port"], dbname=dbname, user=user)
    connection.autocommit = True
    return connection


def tls(workspace, name):
    """A cluster that accepts TLS only, with a certificate for localhost, and the settings to reach it."""
    key, certificate = self_signed("localhost")
    files = {
        "listen_addresses": "localhost",  # all that the name stands for, in whatever order
        "ssl": "on",
        "ssl_key_file": workspace.file(f"{name}.key", key, mode=0o600),
        "ssl_cert_file": workspace.file(f"{name}.crt", certificate),
    }
    cluster = Cluster(workspace, name, settings=files, hba=HBA_TLS)
    place = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": files["ssl_cert_file"]}
    return cluster, place


def self_signed(host):
    """A key and a certificate for this name, and no address, in PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return (
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        certificate.public_bytes(pem),
    )
