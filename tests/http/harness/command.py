"""The command bbm as people run it: under each shell that it has to run under, with a clean environment."""

import os
import subprocess

from cryptography.hazmat.primitives import serialization

from . import tokens
from .postgres import REPOSITORY
from .timing import longer

CHATOPS = os.path.join(REPOSITORY, "deploy", "chatops")
BBM = os.path.join(CHATOPS, "bbm")
MINT = os.path.join(CHATOPS, "mint-token")
SHELLS = (("dash",), ("busybox", "sh"))


def private_pem(key):
    return key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class Command:
    """bbm with an environment of its own; home is a folder of this test's."""

    def __init__(self, url, home, shell=SHELLS[0], **environment):
        self.shell = shell
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        if url is not None:
            self.environment["BBM_URL"] = url
        self.environment.update(environment)

    def argv(self, *arguments):
        return [*self.shell, BBM, *map(str, arguments)]

    def __call__(self, *arguments, stdin=subprocess.DEVNULL, seconds=60, **environment):
        return subprocess.run(
            self.argv(*arguments),
            stdin=stdin,
            capture_output=True,
            timeout=longer(seconds),
            check=False,
            env={**self.environment, **environment},
        )

    def lines(self, *arguments, code=0, **more):
        """The lines of its output, once it has ended with this code."""
        done = self(*arguments, **more)
        assert done.returncode == code, done
        if code == 0:
            assert done.stderr == b"", done
        return done.stdout.decode().splitlines()

    def error(self, *arguments, code, **more):
        """What it says on standard error, where it ends with this code."""
        done = self(*arguments, **more)
        assert done.returncode == code, done
        return done.stderr.decode()


def with_key(keys, folder, key=None):
    """The environment that has bbm sign its tokens with a key of the keyring."""
    path = os.path.join(folder, "signing.key")
    with open(path, "w", encoding="ascii") as file:
        file.write(private_pem(key or keys.trusted))
    return {"BBM_KEY": path, "BBM_ISSUER": tokens.ISSUER, "BBM_SERVICE": tokens.SERVICE, "BBM_SUBJECT": "alice"}
