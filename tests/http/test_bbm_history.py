"""bbm with a history behind it: reasons, who and why, dry runs, undo; and against servers that have none."""

import json

import pytest
from harness.command import Command, with_key
from harness.hostile import HostileServer, answer

LISTED = answer(200, {"migrations": [{"id": 1, "name": "m1", "status": "active"}]})


@pytest.fixture(scope="module")
def site(servers):
    with servers.database(history=True) as database, servers.site(database) as site:
        yield site


@pytest.fixture
def bbm(site, keys, tmp_path):
    """1 and 2 are active, 3 has failed, 4 is paused."""
    site.database.clear()
    site.database.clear_history()
    for number, status in ((1, 1), (2, 1), (3, 3), (4, 0)):
        site.database.add_migration(f"m{number}", id=number, status=status)
    return Command(f"http://127.0.0.1:{site.client.port}", tmp_path, **with_key(keys, tmp_path))


def statuses(site):
    return {row["id"]: row["status"] for row in site.database.migrations()}


def action_of(line):
    return int(line.split("(action ")[1].split(")")[0])


# Reasons


@pytest.mark.parametrize("reason", ["INC-4711", 'a "quoted" \\ $(text) & größer', "x" * 500])
def test_a_reason_is_recorded(bbm, site, reason):
    bbm.lines("pause", "--all", "--yes", "--reason", reason)
    (action,) = site.database.history()
    assert (action["reason"], action["actor"], action["action"]) == (reason, "alice", "pause")


def test_a_reason_that_is_too_long(bbm, site):
    assert "500" in bbm.error("pause", 1, "--reason", "x" * 501, code=1)
    assert statuses(site)[1] == 1


# History


def test_history(bbm, site):
    first = action_of(bbm.lines("pause", "--all", "--yes", "--reason", "INC-4711")[0])
    bbm.lines("resume", 2)
    lines = bbm.lines("history")
    assert lines[0].split() == ["ACTION", "TIME", "WHAT", "WHO", "MIGRATIONS", "REASON"]
    assert lines[1].split()[3:] == ["resume", "alice", "2"]
    assert lines[2].split()[0] == str(first) and lines[2].split()[3:] == ["pause", "alice", "1,2", "INC-4711"]
    assert len(bbm.lines("history", 1)) == 2
    assert len(bbm.lines("history", "-n", 1)) == 2
    columns = bbm.lines("history", "-o", "tsv")[1].split("\t")
    assert [columns[0], *columns[2:]] == [str(first), "pause", "alice", "1,2", "INC-4711"]
    assert json.loads(bbm("history", "-n", "1", "-o", "json").stdout)["actions"][0]["action"] == "resume"


def test_history_of_several_pages(bbm, site):
    site.database.execute(
        "INSERT INTO bbm_fcgi.actions (at, action, correlation_id) SELECT now(), 'pause', n FROM generate_series(1, 1100) AS n"
    )
    assert len(bbm.lines("history", "-n", 1050, "-o", "tsv")) == 1050


def test_the_list_says_who_paused(bbm, site):
    bbm.lines("pause", 1, "--reason", "INC-4711")
    lines = bbm.lines("list", "--status", "paused", "-q")
    assert "PAUSED BY" in lines[0] and "alice" in lines[1] and "alice" not in lines[2]
    assert bbm.lines("list", "--status", "paused", "-o", "tsv")[0].split("\t")[6] == "alice"
    shown = "\n".join(bbm.lines("show", 1))
    assert "by alice" in shown and "INC-4711" in shown
    assert "by alice" in "\n".join(bbm.lines("list", COLUMNS="40"))


def test_doctor_knows_of_the_history(bbm):
    assert any(line.split()[1:] == ["history", "kept"] for line in bbm.lines("doctor"))


def test_a_server_without_a_history(servers, keys, tmp_path):
    with servers.site() as site:
        bbm = Command(f"http://127.0.0.1:{site.client.port}", tmp_path, **with_key(keys, tmp_path))
        site.database.add_migration("m1", id=1)
        assert "keeps no history" in bbm.error("history", code=1)
        assert "keeps no history" in bbm.error("undo", 1, code=1)
        assert bbm.lines("pause", 1, "--reason", "INC-4711") == ["Paused 1 m1, was active"]


# Dry runs


def test_a_dry_run_changes_nothing(bbm, site):
    before = statuses(site)
    lines = bbm.lines("pause", "--all", "--dry-run", "--reason", "x")
    assert lines[:3] == ["Dry run, would pause 2 migrations:", "  1  m1, was active", "  2  m2, was active"]
    assert bbm.lines("restart", 3, "--dry-run")[0].startswith("Dry run, would restart 3 m3")
    assert bbm.lines("resume", "--all", "--except", 1, "--dry-run") == ["Dry run, would resume 4 m4, was paused"]
    assert json.loads(bbm("pause", 1, "--dry-run", "-o", "json").stdout)["dry_run"] is True
    assert statuses(site) == before and site.database.history() == []


@pytest.mark.parametrize("arguments", [["pause", "1", "--dry-run"], ["pause", "--all", "--dry-run"], ["undo", "1"]])
def test_a_server_that_passes_over_what_it_does_not_know_is_sent_nothing(tmp_path, arguments):
    """The registry's own API would really pause, and would resume everything in place of an undo."""

    def registry(request):
        return LISTED if request.method == "GET" else answer(200, {"success": True})

    with HostileServer(registry) as server:
        bbm = Command(server.url, tmp_path, BBM_TOKEN="x")
        assert "nothing was sent" in bbm.error(*arguments, code=1)
        assert {request.method for request in server.requests} == {"GET"}


def test_a_server_that_acts_in_earnest_nevertheless_is_found_out(tmp_path):
    def lying(request):
        if request.method == "GET":
            return answer(400, {"errors": [{"code": "INVALID_QUERY_PARAMETER_NAME"}]})
        return answer(200, {"success": True, "migrations": []})

    with HostileServer(lying) as server:
        text = Command(server.url, tmp_path, BBM_TOKEN="x").error("pause", 1, "--dry-run", code=1)
    assert "in earnest" in text


def test_the_registry_s_own_answer(tmp_path):
    """It says that it is done, and no more."""
    with HostileServer(lambda request: answer(200, {"success": True})) as server:
        lines = Command(server.url, tmp_path, BBM_TOKEN="x").lines("pause", "--all", "--yes")
    assert lines == ["Done. This server does not say what has changed; bbm list does."]


# An answer that is lost


@pytest.mark.parametrize("lost", [b"", answer(200, b'{"succ', length=100)], ids=["no answer", "half an answer"])
def test_an_action_whose_answer_is_lost_is_sent_again_with_its_key(tmp_path, lost):
    turns = iter([lost, answer(200, {"success": True, "migrations": [{"id": 7, "name": "m", "previous_status": "active"}]})])
    with HostileServer(lambda request: next(turns)) as server:
        assert Command(server.url, tmp_path, BBM_TOKEN="x").lines("pause", 7) == ["Paused 7 m, was active"]
        first, second = [request.headers["idempotency-key"] for request in server.requests]
    assert first == second and len(first) == 34


def test_it_is_sent_no_third_time(tmp_path):
    with HostileServer(lambda request: b"") as server:
        Command(server.url, tmp_path, BBM_TOKEN="x").error("pause", 7, code=5)
        assert len(server.requests) == 2


def test_the_service_does_it_once(bbm, site):
    """A relay that loses the first answer stands between bbm and nginx."""
    sent = []

    def forward(request):
        body = request.body
        answered = site.client.request(request.method, request.path, headers={
            name: request.headers[name] for name in ("authorization", "idempotency-key", "content-type")}, body=body)
        sent.append(request.headers["idempotency-key"])
        return b"" if len(sent) == 1 else answer(answered.status, answered.body)

    with HostileServer(forward) as server:
        assert bbm.lines("pause", 1, BBM_URL=server.url)[0].startswith("Paused 1 m1, was active")
    assert len(sent) == 2 and len(site.database.history()) == 1


# Undo


def test_undo(bbm, site):
    action = action_of(bbm.lines("pause", "--all", "--yes", "--reason", "INC-4711")[0])
    bbm.lines("resume", 2)
    bbm.lines("pause", 2, "--reason", "another")
    lines = bbm.lines("undo", action, "--dry-run")
    assert lines[:2] == ["Dry run, would resume 1 migration:", "  1  m1, was paused"]
    lines = bbm.lines("undo", action, "--reason", "over")
    assert lines[0].startswith("Resumed 1 migration (action ") and lines[1] == "  1  m1, was paused"
    assert lines[2] == "Left as they are:" and lines[3].startswith("  2  m2: ")
    assert statuses(site) == {1: 1, 2: 0, 3: 3, 4: 0}
    assert bbm.lines("undo", action)[0] == "Nothing to resume."


def test_undo_of_what_is_no_pause(bbm, site):
    before = statuses(site)
    assert bbm("undo", 999999).returncode == 1
    assert statuses(site) == before
