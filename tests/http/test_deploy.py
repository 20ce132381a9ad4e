"""What an operator copies onto a host: the init script, the units, make install."""

import glob
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters
from harness.mounts import InitScript, deployed, unit_line
from harness.postgres import REPOSITORY
from harness.process import wait_until
from harness.service import listening_socket
from harness.workspace import UNPRIVILEGED

EXPOSURE = 1.0


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.add_migration("seven", id=7, status=1)
        yield database


@pytest.fixture(scope="module")
def listing(keys):
    return parameters("GET", routes.LIST, keys.token("*"))


# spawn-fcgi


@pytest.mark.parametrize("processes", [1, 3])
def test_the_init_script(servers, database, listing, processes):
    script = InitScript(servers, database, processes)
    assert script.run("status").returncode == 3
    with script:
        first = script.processes()
        status = script.must("status")
        assert all(str(pid) in status.stdout for pid in first)
        script.must("start")
        assert script.processes() == first, "a second start has started something"

        script.must("reload")
        assert fastcgi.ask(script.listen, listing).status == 200
        assert script.processes() == first

        script.must("restart")
        script.wait_started(2 * processes)
        assert len(script.processes()) == processes
        assert not set(first) & set(script.processes())
        assert fastcgi.ask(script.listen, listing).status == 200
        assert servers.mode_of(script.listen) == 0o660
    assert script.run("status").returncode == 3
    assert not os.path.exists(script.listen)
    script.must("stop")
    assert script.written().count('"msg":"stopped"') == 2 * processes


def test_one_of_several_processes_may_die(servers, database, listing):
    with InitScript(servers, database, 2) as script:
        os.kill(script.processes()[0], signal.SIGKILL)
        assert wait_until(lambda: len(script.processes()) == 1)
        for _ in range(5):
            assert fastcgi.ask(script.listen, listing).status == 200
        assert script.run("status").returncode == 0


def test_a_start_after_a_crash(servers, database, listing):
    """The socket and the pid file of a killed service do not prevent a start; no other program is killed."""
    with InitScript(servers, database, 1) as script:
        (pid,) = script.processes()
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: script.processes() == [])
        with open(script.pid_file, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        assert script.run("status").returncode == 1
        script.must("stop")
        script.must("start")
        script.wait_started(2)
        assert fastcgi.ask(script.listen, listing).status == 200


def test_a_restart_with_a_wrong_configuration_leaves_the_old_processes(servers, database, listing):
    with InitScript(servers, database, 1) as script:
        before = script.processes()
        with open(script.configuration, encoding="utf-8") as file:
            good = file.read()
        with open(script.configuration, "w", encoding="utf-8") as file:
            file.write(good.replace("threads: 4", "threads: many"))
        done = script.run("restart")
        assert done.returncode == 6 and "fcgi.threads" in done.stderr
        assert script.processes() == before
        assert fastcgi.ask(script.listen, listing).status == 200
        with open(script.configuration, "w", encoding="utf-8") as file:
            file.write(good)


def test_exit_codes_of_the_linux_standard_base(servers, database):
    script = InitScript(servers, database, 1)
    assert script.run("reload").returncode == 7
    assert script.run("force-reload").returncode == 7
    assert script.run("try-restart").returncode == 0
    assert script.processes() == []
    assert script.run("stop").returncode == 0
    assert script.run("nonsense").returncode == 2
    with script:
        before = script.processes()
        script.must("try-restart")
        script.wait_started(2)
        assert script.processes() and script.processes() != before
    os.rename(script.settings, script.settings + ".away")
    assert script.run("status").returncode == 4
    assert script.run("start").returncode == 6


def test_start_on_a_socket_in_use(servers, database):
    script = InitScript(servers, database, 1)
    os.mkdir(os.path.dirname(script.listen))
    with listening_socket(script.listen):
        assert script.run("start").returncode == 1
        assert not os.path.exists(script.pid_file)
    assert script.run("status").returncode == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be misled")
def test_root_follows_no_link_of_the_services_user(servers, database, tmp_path):
    """The folder of an older version belongs to that user: its links are not followed, and it becomes root's."""
    script = InitScript(servers, database, 1)
    folder = os.path.dirname(script.listen)
    os.mkdir(folder)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    before = victim.stat()
    os.symlink(victim, script.listen)
    os.symlink(victim, script.pid_file)
    os.chown(script.pid_file, *servers_ids(), follow_symlinks=False)
    os.chown(folder, *servers_ids())
    with script:
        after = victim.stat()
        assert victim.read_text() == "precious"
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert os.stat(folder).st_uid == 0, "the service's user may still make links there"
        assert os.lstat(script.pid_file).st_uid == 0
        assert servers.mode_of(script.listen) == 0o660


def test_the_log_is_closed_to_others(servers, database):
    with InitScript(servers, database, 1) as script:
        assert servers.mode_of(os.path.join(script.folder, "log", "bbm-fcgi.log")) & 0o007 == 0


def servers_ids():
    user, group = UNPRIVILEGED
    return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid


# systemd


@pytest.fixture
def units(servers, tmp_path):
    for name in ("bbm-fcgi.service", "bbm-fcgi.socket"):
        changes = {"/usr/local/sbin/bbm-fcgi": servers.program} if name.endswith("service") else {}
        (tmp_path / name).write_text(deployed(f"systemd/{name}", changes))
        (tmp_path / name).chmod(0o644)  # systemd minds, and make coverage's umask is 0
    return tmp_path


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})  # fmt: skip


def test_the_units_exposure(units):
    done = analyze("security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", units / "bbm-fcgi.service")
    level = float(re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout).group(1))
    assert level <= EXPOSURE, done.stdout
    assert done.returncode == 0


def test_systemd_understands_every_line_of_the_units(units):
    done = analyze("verify", "--man=no", units / "bbm-fcgi.service", units / "bbm-fcgi.socket")
    assert "bbm-fcgi" not in done.stderr + done.stdout, done
    assert done.returncode == 0


def test_the_unit_gives_requests_time_to_finish():
    """TimeoutStopSec is longer than the default of fcgi.draintimeout."""
    assert unit_line(deployed("systemd/bbm-fcgi.service", {}), "TimeoutStopSec") == "30s"


def test_the_unit_starts_again_however_often_it_ends():
    """Seven ends in ten seconds left service and socket failed for good. All three together prevent that."""
    unit = deployed("systemd/bbm-fcgi.service", {})
    assert unit_line(unit, "StartLimitIntervalSec") == "0"
    assert unit.index("StartLimitIntervalSec") < unit.index("[Service]")
    assert unit_line(unit, "RestartSec") == "2"
    assert "\nRestartPreventExitStatus" not in unit


# make install


def make(*arguments):
    return subprocess.run(["make", "-C", REPOSITORY, "--no-print-directory", *arguments],
                          capture_output=True, text=True, check=False, timeout=120)  # fmt: skip


def files_under(folder):
    return {
        os.path.relpath(os.path.join(root, name), folder) for root, _, names in os.walk(folder) for name in names
    }  # fmt: skip


@pytest.fixture
def installed(tmp_path):
    def install(target, *more):
        build = f"BUILD={os.environ.get('BBM_BUILD') or os.path.join(REPOSITORY, 'build')}"
        done = make(target, f"DESTDIR={tmp_path}", build, *more)
        assert done.returncode == 0, done
        return files_under(tmp_path)

    install.root = tmp_path
    return install


def expected_files(place, systemd):
    share = f"{place}/share/bbm-fcgi"
    yield from (f"{place}/sbin/bbm-fcgi", f"{share}/config.yml", f"{share}/role.sql", f"{place}/share/doc/bbm-fcgi/LICENSE")
    if os.path.exists(os.path.join(REPOSITORY, "sql/history.sql")):
        yield f"{share}/history.sql"
    for path in files_under(os.path.join(REPOSITORY, "deploy")):
        folder, name = os.path.split(path)
        if folder == "man":
            yield f"{place}/share/man/man{name[-1]}/{name}"
        elif path == "chatops/bbm.bash-completion":
            yield f"{place}/share/bash-completion/completions/bbm"
        elif path in ("chatops/bbm", "chatops/mint-token"):
            yield f"{place}/bin/{name}"
        elif folder.split("/")[0] not in ("demo", "debian"):
            yield f"{share}/deploy/{path}"
    if systemd:
        yield from (f"{place}/lib/systemd/system/bbm-fcgi.{kind}" for kind in ("service", "socket"))
        yield from (f"{place}/lib/{kind}.d/bbm-fcgi.conf" for kind in ("sysusers", "tmpfiles"))


@pytest.mark.parametrize("systemd", [False, True], ids=["", "systemd"])
@pytest.mark.parametrize("prefix", [None, "/usr"])
def test_install_and_uninstall(installed, prefix, systemd):
    more = [f"PREFIX={prefix}"] * bool(prefix) + ["SYSTEMD=1"] * systemd
    place = (prefix or "/usr/local")[1:]
    assert installed("install", *more) == set(expected_files(place, systemd))

    program = installed.root / place / "sbin" / "bbm-fcgi"
    version = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("bbm-fcgi ")
    share = installed.root / place / "share" / "bbm-fcgi"
    for units in [share / "deploy/systemd"] + [installed.root / place / "lib/systemd/system"] * systemd:
        unit = (units / "bbm-fcgi.service").read_text()
        assert unit_line(unit, "ExecStart").startswith(f"/{place}/sbin/bbm-fcgi ")
    for script in (share / "deploy/spawn-fcgi/bbm-fcgi.init", installed.root / place / "bin/mint-token"):
        assert os.access(script, os.X_OK)

    (program.parent / "another").write_text("not ours")
    for _ in range(2):
        assert installed("uninstall", *more) == {f"{place}/sbin/another"}
    (program.parent / "another").unlink()
    installed("uninstall", *more)
    assert os.listdir(installed.root) == [], "a folder that is left behind"


def test_uninstall_leaves_the_folders_of_the_system(installed):
    """Without DESTDIR, those that every system has under PREFIX stay, though they are empty."""
    place = installed.root / "usr"
    build = f"BUILD={os.environ.get('BBM_BUILD') or os.path.join(REPOSITORY, 'build')}"
    for target in ("install", "uninstall"):
        assert make(target, f"PREFIX={place}", "SYSTEMD=1", build).returncode == 0
    assert {str(path.relative_to(place)) for path in place.rglob("*")} == {
        "bin", "sbin", "lib", "share", "share/doc", "share/man"
    }  # fmt: skip


def test_the_package_is_built_with_what_the_program_is_built_with():
    """What deploy/demo/packages installs for a build, Debian's package names as Build-Depends."""
    with open(os.path.join(REPOSITORY, "deploy/demo/packages"), encoding="utf-8") as file:
        (needed,) = re.findall(r"^build='([^']*)'", file.read(), re.MULTILINE)
    with open(os.path.join(REPOSITORY, "deploy/debian/control"), encoding="utf-8") as file:
        (named,) = re.findall(r"^Build-Depends:\n((?: .*\n)+)", file.read(), re.MULTILINE)
    essential = {"gcc", "libc6-dev", "make"}
    assert set(needed.split()) - essential <= {line.split()[0].rstrip(",") for line in named.splitlines()}


def test_a_tag_that_is_not_the_version_is_refused(tmp_path):
    """Before anything is built: a release whose tag and program disagree."""
    tree = tmp_path / "tree"  # git refuses one of another owner
    build = tree / "deploy" / "debian" / "build"
    build.parent.mkdir(parents=True)
    for path in ("Makefile", "deploy/debian/build"):
        shutil.copy(os.path.join(REPOSITORY, path), tree / path)
    git = ["git", "-C", tree, "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a release"], ["tag", "v9.9.9"]):
        subprocess.run([*git, *command], check=True, timeout=60)
    done = subprocess.run([build], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"deb: the tag v9.9.9 is not v{make('-s', 'version').stdout.strip()}, the Makefile's version\n"
    assert not (tree / "build").exists()


def test_everything_names_one_version(servers):
    version = make("-s", "version").stdout.strip()
    said = subprocess.run([servers.program, "-V"], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == version
    for page in glob.glob(os.path.join(REPOSITORY, "deploy/man/*")):
        with open(page, encoding="utf-8") as file:
            assert f'"bbm-fcgi {version}"' in file.read(), page
    with open(os.path.join(REPOSITORY, "CHANGELOG.md"), encoding="utf-8") as file:
        assert f"\n## {version}" in file.read()


@pytest.mark.parametrize("page", sorted(os.listdir(os.path.join(REPOSITORY, "deploy/man"))))
def test_the_manual_pages_are_in_order(page):
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", os.path.join(REPOSITORY, "deploy/man", page)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 40


def test_the_manual_page_names_every_key(servers):
    """The program's own words for what it knows: an unknown key's message lists fcgi's."""
    with open(os.path.join(REPOSITORY, "deploy/man/bbm-fcgi.8"), encoding="utf-8") as file:
        page = file.read()
    with open(os.path.join(REPOSITORY, "fcgi/base/conf_settings.c"), encoding="utf-8") as file:
        keys = re.findall(r'\.path = "([a-z.]+)"', file.read())
    assert len(keys) > 25
    missing = [key for key in keys if key not in page]
    assert missing == []
