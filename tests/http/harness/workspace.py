"""One folder for everything the servers write, and the user they run as.

PostgreSQL refuses to run as root, and the service and nginx have no need to; the
checkout may be unreadable to that user, so what he needs is copied in here.
"""

import os
import shutil
import tempfile

UNPRIVILEGED = ("nobody", "nogroup")


class Workspace:
    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="bbm-fcgi-test.")
        os.chmod(self.path, 0o755)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, name):
        """A new folder which the servers' user owns."""
        path = os.path.join(self.path, name)
        os.mkdir(path, 0o755)
        give_away(path)
        return path

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.path, name)
        with open(path, "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        give_away(path)
        return path

    def copy_program(self, source):
        target = os.path.join(self.path, os.path.basename(source))
        shutil.copyfile(source, target)
        os.chmod(target, 0o755)
        return target


def give_away(path):
    if os.geteuid() == 0:
        shutil.chown(path, *UNPRIVILEGED)


def as_servers_user(argv):
    """argv, run without privileges, and ended by the kernel should the tests be killed."""
    command = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        user, group = UNPRIVILEGED
        command += ["--reuid", user, "--regid", group, "--clear-groups"]
    return command + ["--"] + list(argv)
