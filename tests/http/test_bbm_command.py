"""bbm against the real service through a real nginx: what it prints, and its exit codes."""

import json
import os
import re
import subprocess

import pytest
from harness.command import BBM, CHATOPS, MINT, SHELLS, Command, with_key
from harness.ports import free_port


@pytest.fixture
def bbm(site, keys, tmp_path):
    """The command with a key to sign with; the sample's twelve migrations."""
    fill(site)
    return Command(f"http://127.0.0.1:{site.client.port}", tmp_path, **with_key(keys, tmp_path))


def fill(site):
    site.database.clear()
    site.database.cluster.psql(site.database.name, "-f", os.path.join(CHATOPS, "..", "..", "sql", "sample.sql"))


def statuses(site):
    return {row["id"]: row["status"] for row in site.database.migrations()}


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


# The file


def test_shellcheck_finds_nothing():
    done = run("shellcheck", BBM, MINT, os.path.join(CHATOPS, "bbm.bash-completion"))
    assert done.stdout == ""
    assert done.returncode == 0


def test_each_shell_runs_it_alike(bbm, site):
    """Every command that the service answers, with what it prints and its exit code."""
    commands = (
        "list --all", "list -o tsv --status failed,paused", "show 6", "show 6 -o json", "jobs 6 --failed", "jobs 2 -n 3 -o tsv",
        "history", "pause 6 3 99", "resume --all --except 7,8 --yes", "pause --all", "restart 4 5", "undo 1", "pause 7 --dry-run",
        "wait 1", "wait 6 --timeout 1 --every 1", "wait --all --for settled --timeout 1", "watch 99", "doctor", "help wait", "frob",
    )  # fmt: skip

    def outcome(shell):
        fill(site)
        bbm.shell = shell
        for command in commands:
            done = bbm(*command.split(), COLUMNS="80")
            # Times are those of the filling.
            yield command, done.returncode, re.sub(rb"20\d\d-\d\d-\d\d.\d\d:\d\d:\d\d[.\d]*", b"", done.stdout + done.stderr)

    first, *others = [list(outcome(shell)) for shell in SHELLS]
    assert others == [first]
    assert {code for _, code, _ in first} == {0, 1, 2, 3, 4}


# Lists


def test_unfinished_migrations_come_first(bbm):
    lines = bbm.lines("list", "--all")
    rows = [line.split() for line in lines[1 : lines.index("")]]
    assert lines[0].split() == ["ID", "STATE", "PROGRESS", "LEFT", "FAILED", "NAME"]
    states = ["running", *["active"] * 2, *["failed"] * 2, *["paused"] * 4, *["finished"] * 3]
    assert [row[1] for row in rows] == states
    assert [row[0] for row in rows] == "6 10 11 4 5 7 8 9 12 1 2 3".split()
    assert "backfill_manifests_top_level_namespace_id" in lines[1]
    assert re.search(r"█+░+  42\.9 %", lines[1])


def test_finished_migrations_are_left_out_unless_asked_for(bbm):
    lines = bbm.lines("list")
    assert not any(" finished " in line for line in lines[:-2])
    assert "12 migrations: 1 running, 2 active, 2 failed, 4 paused, 3 finished (--all)" in lines
    assert [line.split()[1] for line in bbm.lines("list", "-q", "--status", "finished")[1:]] == ["finished"] * 3
    assert [line.split()[0] for line in bbm.lines("list", "-q", "--status=failed,paused")[1:]] == "4 5 7 8 9 12".split()


def test_quiet_says_nothing_where_there_is_nothing(bbm, site):
    site.database.clear()
    assert bbm.lines("list", "-q") == []
    assert bbm.lines("list")[0] == "No migration to show."


def test_json_is_the_server_s_answer(bbm, site, token):
    answer = site.client.get("/v1/gitlab/background-migrations/", token)
    assert bbm("list", "-o", "json").stdout.strip() == answer.body.strip()
    assert b"9223372036854775807" in answer.body, "a number that jq would spoil"


def test_tsv_has_stable_columns(bbm):
    lines = bbm.lines("list", "--all", "-o", "tsv")
    assert {len(line.split("\t")) for line in lines} == {8}
    first = lines[0].split("\t")
    assert first[:2] == ["6", "running"] and first[4:] == ["808", "4", "", "backfill_manifests_top_level_namespace_id"]
    assert first[2].startswith("42.9") and int(first[3]) > 0
    assert lines[1].split("\t")[:4] == ["10", "active", "", ""]


def test_one_migration(bbm):
    text = "\n".join(bbm.lines("show", 6))
    for part in ("6  backfill_manifests_top_level_namespace_id", "running", "42.9 %", "808 finished, 4 failed",
                 "public.manifests, column top_level_namespace_id", "1 to the end", "9412337"):  # fmt: skip
        assert part in text
    assert bbm.lines("show", 4, "-o", "tsv")[0].split("\t")[:2] == ["4", "failed"]
    assert "max_job_retry" in "\n".join(bbm.lines("show", 4))
    assert json.loads(bbm("show", 4, "-o", "json").stdout)["migration"]["error_code"] == 4


def test_failed_jobs(bbm):
    lines = bbm.lines("jobs", 6, "--failed")
    assert lines[0].split() == ["JOB", "STATE", "TRIES", "ERROR", "LAST", "CHANGE", "KEYS"]
    assert len(lines) == 5 and all("failed" in line and "unknown" in line for line in lines[1:])


def test_jobs_of_several_pages(bbm):
    """More than the server gives at once."""
    bbm_lines = bbm.lines("jobs", 6, "-n", 1, "-o", "tsv")
    assert len(bbm_lines) == 1
    all_of_them = bbm.lines("jobs", 2, "-n", 2000, "-o", "tsv")
    numbers = [int(line.split("\t")[0]) for line in all_of_them]
    assert len(numbers) == 479 and numbers == sorted(numbers, reverse=True)


def test_pages_are_followed_to_the_number_asked_for(bbm, site):
    site.database.execute(
        "INSERT INTO batched_background_migration_jobs (batched_background_migration_id, min_value, max_value, status)"
        " SELECT 10, n, n, 2 FROM generate_series(1, 2300) n"
    )
    numbers = [line.split("\t")[0] for line in bbm.lines("jobs", 10, "-n", 2200, "-o", "tsv")]
    assert len(numbers) == len(set(numbers)) == 2200


# Widths


def columns(text):
    """The sample's only wide letter counts twice."""
    return len(text) + text.count("鍵")


@pytest.mark.parametrize("width, locale", [(24, "C.UTF-8"), (40, "C"), (40, "C.UTF-8"), (80, "C"), (100, "C.UTF-8")])
def test_no_line_is_wider_than_the_terminal(bbm, width, locale):
    for arguments in (["list", "--all"], ["show", 12], ["jobs", 6, "--failed"]):
        lines = bbm.lines(*arguments, COLUMNS=str(width), LC_ALL=locale)
        assert max(columns(line) for line in lines) <= width
        if locale == "C":
            assert all(line.isascii() for line in lines)


def test_names_are_shortened_in_the_middle(bbm):
    text = "\n".join(bbm.lines("list", COLUMNS="80"))
    assert re.search(r"backfill_mani\w*…\w*namespace_id", text)
    text = "\n".join(bbm.lines("list", COLUMNS="80", LC_ALL="C"))
    assert re.search(r"backfill_mani\w*\.\.\w*namespace_id", text) and "####" in text


# Actions


def test_pause_and_resume_of_some(bbm, site):
    lines = bbm.lines("pause", 6, 10, 7)
    assert lines[0].startswith("Paused 6 backfill_manifests_top_level_namespace_id, was running")
    assert lines[1].startswith("Paused 10 ") and lines[2] == "Nothing to pause: 7 is paused already"
    assert statuses(site)[6] == statuses(site)[10] == 0
    assert bbm.lines("resume", 6)[0].startswith("Resumed 6 ")
    assert statuses(site)[6] == 1


def test_all_needs_yes_where_there_is_no_terminal(bbm, site):
    before = statuses(site)
    for action in ("pause", "resume", "restart"):
        assert "--yes" in bbm.error(action, "--all", code=2)
    assert statuses(site) == before
    lines = bbm.lines("pause", "--all", "--yes")
    assert re.match(r"Paused 3 migrations( \(action \d+\))?:", lines[0]) and len(lines) == 4
    assert set(statuses(site).values()) == {0, 2, 3}
    assert bbm.lines("pause", "--all", "-y") == ["Nothing to pause."]


def test_all_but_some(bbm, site):
    bbm.lines("resume", "--all", "--except", "7,9", "-y")
    now = statuses(site)
    assert (now[7], now[9], now[8], now[12]) == (0, 0, 1, 1)


def test_restart_all_takes_the_failed_ones(bbm, site):
    lines = bbm.lines("restart", "--all", "-y")
    assert [line.split()[:2] for line in lines[:2]] == [["Restarted", "4"], ["Restarted", "5"]]
    assert statuses(site)[4] == statuses(site)[5] == 1


def test_quiet_actions_print_nothing(bbm):
    assert bbm.lines("pause", "6", "-q") == []


def test_actions_in_json_and_tsv(bbm):
    done = bbm("pause", 6, "-o", "json")
    assert json.loads(done.stdout)["migrations"][0]["id"] == 6
    assert bbm.lines("resume", 6, "-o", "tsv") == ["6\tpaused\tactive\tchanged\tbackfill_manifests_top_level_namespace_id"]


def test_a_state_that_does_not_allow_it_is_refused(bbm, site):
    text = bbm.error("pause", 3, code=3)
    assert "finished" in text and text.startswith("bbm: ")
    assert "not found" in bbm.error("show", 99, code=1)
    done = bbm("pause", 3, 99, 6)
    assert done.returncode == 3, "the highest of 3, 1 and 0"
    assert statuses(site)[6] == 0, "the others are done nevertheless"


# Waiting


def test_wait_ends_when_it_is_so(bbm, site):
    bbm.lines("wait", 1, 2, 3)
    bbm.lines("wait", 7, 8, "--for", "paused")
    bbm.lines("wait", 3, 4, 7, "--for", "settled")
    assert "not all are finished" in bbm.error("wait", 3, 4, code=1)
    assert "there is no migration 99" in bbm.error("wait", 99, code=1)
    assert "not finished in time" in bbm.error("wait", 6, "--timeout", "1s", "--every", "1", code=4)
    assert "not paused in time" in bbm.error("wait", "--all", "--for", "paused", "--timeout", "1", code=4)


def test_wait_sees_a_migration_finish(bbm, site):
    argv = bbm.argv("wait", 6, "--every", "1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=bbm.environment) as child:
        assert child.stdout.readline().split()[:2] == [b"6", b"running"]
        site.database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id = 6")
        assert child.stdout.readline().split()[:2] == [b"6", b"finished"]
        assert child.wait(30) == 0


# Usage


@pytest.mark.parametrize(
    "arguments",
    ["", "frob", "show", "show 1 2", "show x", "show 0", "show 007", "show 99999999999999999999", "list 3", "list -n 3",
     "list -o xml", "list -o", "list --status gone", "jobs", "jobs 1 -n 0", "jobs 1 -n x", "pause", "pause 1 --all",
     "pause 1 --except 2", "pause 1 --reason=", "pause --all --yes --except x", "undo", "wait", "wait 1 --for ever",
     "wait 1 --timeout soon", "wait 1 --every 0", "watch --every", "token 1", "link --for x", "doctor --all", "list --frob",
     "list --all=yes", "pause --yes", "wait 1 --all"],
)  # fmt: skip
def test_wrong_usage(tmp_path, arguments):
    done = Command("http://127.0.0.1:9", tmp_path, BBM_TOKEN="x")(*arguments.split())
    assert done.returncode == 2, done
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_help_for_each_command(tmp_path, shell):
    """Without any configuration."""
    bbm = Command(None, tmp_path, shell)
    usage = bbm.lines("--help")
    commands = "list show jobs history pause resume restart undo watch wait token link doctor".split()
    assert all(re.search(rf"^  .*\b{command}\b", "\n".join(usage), re.M) for command in commands)
    for command in commands:
        lines = bbm.lines(command, "--help")
        assert lines[0].startswith(f"Usage: bbm {command}") and lines == bbm.lines("help", command)
        assert max(map(len, lines)) <= 79
    with open(os.path.join(CHATOPS, "..", "..", "Makefile"), encoding="utf-8") as makefile:
        version = re.search(r"(?m)^VERSION := (.*)$", makefile.read()).group(1)
    assert bbm.lines("--version") == [f"bbm {version}"]


def test_the_manual_page_and_the_completion_name_every_option():
    with open(BBM, encoding="utf-8") as file:
        script = file.read()
    allowed = script[script.index("allowed_for() {") : script.index("# Options may stand")]
    options = {option.removeprefix("--") for option in re.findall(r"--[a-z-]+", allowed)}
    assert len(options) >= 10
    with open(os.path.join(CHATOPS, "..", "man", "bbm.1"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    with open(os.path.join(CHATOPS, "bbm.bash-completion"), encoding="utf-8") as file:
        completion = file.read()
    assert [option for option in options if f"--{option}" not in page] == []
    assert [option for option in options if f"--{option}" not in completion] == []
    variables = set(re.findall(r"\$\{(BBM_[A-Z]+)", script))
    assert len(variables) >= 10
    assert [name for name in variables if name not in page] == []


def lines_of_the_documents():
    """Each line that starts with bbm, in what people read."""
    root = os.path.join(CHATOPS, "..", "..")
    for name in ("README.md", "deploy/RUNBOOK.md", "deploy/demo/run", "deploy/man/bbm.1"):
        with open(os.path.join(root, name), encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        for line in re.findall(r"(?m)^ *bbm [a-z]+ *[^#\n]*", text[text.find(".SH EXAMPLES") :] if name.endswith(".1") else text):
            yield pytest.param(line.strip(), id=f"{os.path.basename(name)}: {line.strip()}")


@pytest.mark.parametrize("line", [*lines_of_the_documents()])
def test_the_documents_show_lines_that_work(tmp_path, line):
    """As far as nobody answering: what is no good usage ends before."""
    (tmp_path / "bbm").symlink_to(BBM)
    environment = {**Command(f"http://127.0.0.1:{free_port()}", tmp_path, BBM_TOKEN="x").environment}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    line = line.replace(" ID", " 7")
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)  # fmt: skip
    if "no terminal to ask on" not in done.stderr and not re.match("bbm (token|help)", line):
        assert done.returncode == 5, done


@pytest.mark.parametrize(
    "typed, offered",
    [("bbm wa", {"watch", "wait"}), ("bbm pause --r", {"--reason"}), ("bbm wait 6 --for p", {"paused"}),
     ("bbm list --status f", {"failed", "finished"}), ("bbm -o t", {"table", "tsv"}), ("bbm --h", {"--help"})],
)  # fmt: skip
def test_completion(typed, offered):
    words = typed.split(" ")
    script = (
        f". {CHATOPS}/bbm.bash-completion; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1};"
        ' _bbm; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = run("bash", "-c", script)
    assert (set(done.stdout.split()), done.stderr) == (offered, "")
