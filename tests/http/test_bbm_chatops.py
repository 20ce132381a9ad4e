"""deploy/chatops/gitlab-ci.yml: the job's own script, with what people type in a chat."""

import os
import re
import subprocess
import textwrap

import pytest
from harness.command import CHATOPS, with_key
from harness.timing import longer


def script():
    """The script's one step, as GitLab's runner hands it to a shell."""
    with open(os.path.join(CHATOPS, "gitlab-ci.yml"), encoding="utf-8") as file:
        text = file.read()
    step = re.search(r"(?m)^    - \|\n((?:      .*\n|\n)+)", text[text.index("  script:") :])
    return textwrap.dedent(step.group(1))


@pytest.fixture(scope="module")
def site(servers):
    with servers.database(history=True) as database, servers.site(database) as site:
        yield site


@pytest.fixture(params=["sh", "bash", "busybox sh"])
def chat(request, site, keys, tmp_path):
    """What a chat gets to see, and the exit code."""
    site.database.clear()
    site.database.clear_history()
    for number in (1, 2):
        site.database.add_migration(f"m{number}", id=number)
    os.symlink(CHATOPS, tmp_path / "bin")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "BBM_URL": f"http://127.0.0.1:{site.client.port}",
        "LANG": "C.UTF-8", "COLUMNS": "80", "NO_COLOR": "1", **with_key(keys, tmp_path),
    }  # fmt: skip

    def run(words):
        done = subprocess.run(
            [*request.param.split(), "-e"], input=script().encode(), cwd=tmp_path, capture_output=True,
            env={**environment, "CHAT_INPUT": words}, timeout=longer(60), check=False,
        )  # fmt: skip
        marks = r"section_start:\d+:chat_reply\r\x1b\[0K\n(.*)section_end:\d+:chat_reply\r\x1b\[0K\n"
        reply = re.fullmatch(marks, done.stdout.decode(), re.S)
        assert reply, done
        assert "\x1b" not in reply.group(1)
        return done.returncode, reply.group(1)

    return run


def test_a_list(chat):
    code, reply = chat("list")
    assert code == 0 and "m1" in reply and "2 migrations: 2 active" in reply
    assert max(map(len, reply.splitlines())) <= 80


def test_an_action(chat, site):
    assert chat("pause 1 2")[1].startswith("Paused 1 m1, was active")
    assert {row["status"] for row in site.database.migrations()} == {0}
    assert chat("resume --all --yes")[0] == 0


def test_all_needs_yes(chat):
    code, reply = chat("pause --all")
    assert code == 2 and "--yes" in reply


@pytest.mark.parametrize("words", ["show 1; touch owned", "show $(touch owned)", "show `touch owned`", "list * ../*", "show 1 && touch owned"])
def test_words_mean_nothing_to_the_shell(chat, tmp_path, words):
    code, reply = chat(words)
    assert code == 2 and "expected an id" in reply
    assert not (tmp_path / "owned").exists()


def test_a_reason_is_one_text(chat, site, tmp_path):
    """Also with quotes and dollars."""
    reason = "it's \"too\" slow; $(touch owned) * again"
    assert chat(f"pause 1 --reason {reason}")[0] == 0
    (action,) = site.database.history()
    assert (action["reason"], action["actor"]) == (reason, "alice")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("words", ["token", "link", "watch"])
def test_what_is_nothing_for_a_chat(chat, words):
    code, reply = chat(words)
    assert code == 2 and reply.startswith("bbm: ") and "eyJ" not in reply


def test_without_words(chat):
    code, reply = chat("")
    assert code == 2 and "Usage: bbm" in reply
