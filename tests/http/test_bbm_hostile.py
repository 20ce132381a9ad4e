"""bbm against servers that answer wrongly: a clear error, the right exit code, no escape on the terminal.

The one place where a played server is right: no real one does this on demand.
"""

import itertools
import json
import re
import threading

import pytest
from harness.command import SHELLS, Command
from harness.hostile import HostileServer, always, answer
from harness.ports import free_port

TOKEN = "abc.def.ghi"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\u200f\x00\x08\r\n\tend"
HTML = b"<html>\x1b[31m<title>404 Not Found</title></html>"


def _ask(tmp_path, shell):
    def run(server, *arguments, **environment):
        url = server if isinstance(server, str) else server.url
        environment.setdefault("BBM_TOKEN", TOKEN)
        return Command(url, tmp_path, shell)(*arguments, **environment)

    return run


@pytest.fixture
def ask(tmp_path):
    """Runs bbm against a server."""
    return _ask(tmp_path, SHELLS[0])


@pytest.fixture(params=SHELLS, ids=" ".join)
def ask_by_each(request, tmp_path):
    """The same under each shell."""
    return _ask(tmp_path, request.param)


def assert_harmless(done):
    """Nothing that moves a cursor, hides or turns text."""
    for text in (done.stdout, done.stderr):
        assert re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", text) is None, text
        decoded = text.decode("utf-8")
        assert re.search("[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]", decoded) is None, text


def assert_error(done, code, *words):
    assert_harmless(done)
    assert done.returncode == code, done
    assert done.stdout == b"", done
    text = done.stderr.decode()
    assert text.startswith("bbm: ") and text.count("\n") == 1 and len(text) < 700, text
    for word in words:
        assert word in text


def one(**fields):
    return {"id": 7, "name": "seven", "status": "paused", "finished_jobs": 3, "failed_jobs": 0, **fields}


def listed(*migrations, **more):
    return {"migrations": list(migrations), "job_in_flight": False, **more}


# Answers that are none

CASES = {
    "garbage": (answer(200, b"\x00\xff\x1b[2Jgarbage"), 1, ["not the API's"]),
    "HTML": (answer(200, HTML, content_type="text/html"), 1, ["not the API's", "text/html"]),
    "nothing in it": (answer(200, b""), 1, ["empty"]),
    "a list": (answer(200, [1, 2]), 1, ["not the API's"]),
    "a string": (answer(200, "text"), 1, ["not the API's"]),
    "two documents": (answer(200, b'{"migrations":[]}{"migrations":[]}'), 1, ["not the API's"]),
    "another object": (answer(200, {"status": "ok"}), 1, ["not the API's"]),
    "another type": (answer(200, {"migrations": {"id": 1}}), 1, ["not the API's"]),
    "cut off JSON": (answer(200, b'{"migrations":[{"id":1'), 1, ["not the API's"]),
    "deep JSON": (answer(200, b'{"migrations":' + b"[" * 100000 + b"]" * 100000 + b"}"), 1, ["not the API's"]),
    "a type with escapes": (answer(200, HTML, content_type="text/\x1b[31mhtml"), 1, ["not the API's"]),
    "502": (answer(502, HTML, content_type="text/html"), 5, ["cannot reach bbm-fcgi"]),
    "504": (answer(504, b""), 5, ["cannot reach bbm-fcgi"]),
    "503 HTML": (answer(503, HTML, {"Retry-After": "\x1b[31m"}, "text/html"), 5, ["503"]),
    "500 HTML": (answer(500, HTML, content_type="text/html"), 1, ["500"]),
    "404 HTML": (answer(404, HTML, content_type="text/html"), 1, ["no such route", "BBM_URL"]),
    "403": (answer(403, HTML), 3, ["403"]),
    "no such status": (answer(999, b""), 1, ["999"]),
    "a hostile error": (
        answer(400, {"errors": [{"code": ESCAPES, "message": ESCAPES, "detail": ESCAPES}]}), 1, ["end"]
    ),
    "a hostile detail": (answer(409, {"errors": [{"message": "no", "detail": {"reason": [ESCAPES]}}]}), 3, ["no"]),
    "errors that are none": (answer(400, {"errors": "no"}), 1, ["400"]),
    "errors of numbers": (answer(400, {"errors": [1, 2]}), 1, ["400"]),
    "a redirect": (answer(302, b"", {"Location": "http://evil.example/\x1b[31m"}), 1, ["redirect", "evil.example"]),
    "no redirect": (answer(302, b""), 1, ["redirect"]),
    "nothing": (b"", 5, ["connection"]),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", 1, ["empty"]),
    "half a body": (answer(200, b'{"migrations":[]}', length=100), 5, ["connection"]),
    "no HTTP": (b"\x1b[31mSSH-2.0-OpenSSH_9.2\r\n", 1, ["does not speak HTTP"]),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_that_is_none(ask, case):
    out, code, words = CASES[case]
    with always(out) as server:
        assert_error(ask(server, "list"), code, *words)


def test_a_few_of_them_under_each_shell(ask_by_each):
    for case in ("garbage", "nothing in it", "deep JSON", "502", "a hostile error", "a redirect", "half a body"):
        out, code, words = CASES[case]
        with always(out) as server:
            assert_error(ask_by_each(server, "list"), code, *words)


@pytest.mark.parametrize(
    "command",
    ["show 7", "jobs 7", "history", "wait 7", "watch 7", "pause 7", "resume --all --yes", "restart --all -y", "undo 7", "doctor"],
)
@pytest.mark.parametrize("case", ["garbage", "another object", "nothing", "502", "a redirect"])
def test_every_command_ends_with_a_clear_error(ask, command, case):
    out, code, words = CASES[case]
    with always(out) as server:
        done = ask(server, *command.split())
    assert_harmless(done)
    assert done.returncode == code, done
    assert any(word in (done.stderr + done.stdout).decode() for word in (*words, "nothing was sent")), done


def test_nobody_answers(ask):
    assert_error(ask(f"http://127.0.0.1:{free_port()}", "list"), 5, "nobody answers")


def test_a_name_that_nobody_has(ask):
    assert_error(ask("https://registry.invalid", "list"), 5, "registry.invalid")


def test_a_server_that_never_ends_is_given_up(ask):
    """A byte a time, for ever."""

    def slowly(request):
        yield answer(200, b"", length=1000000)
        while True:
            yield b" "
            ended.wait(0.05)

    ended = threading.Event()
    with HostileServer(slowly) as server:
        assert_error(ask(server, "list", BBM_TIMEOUT="1"), 5, "in time")
        ended.set()


BIG = b'{"migrations":[' + b" " * 10_000_000 + b"]}"


@pytest.mark.parametrize("known", [True, False], ids=["its length is known", "its length is not known"])
def test_ten_megabytes_are_too_many(ask_by_each, known):
    out = answer(200, BIG)
    if not known:
        out = re.sub(rb"Content-Length: \d+\r\n", b"", out)
    with always(out) as server:
        assert_error(ask_by_each(server, "list"), 1, "larger than 8 MiB")


def test_a_head_without_end_is_given_up(ask):
    def endless(request):
        yield b"HTTP/1.1 200 OK\r\n"
        for number in itertools.count():
            yield b"X-%d: %s\r\n" % (number, b"x" * 60000)

    with HostileServer(endless) as server:
        assert_error(ask(server, "list", BBM_TIMEOUT="30"), 1, "head without end")


def test_eight_megabytes_of_one_name_are_shown(ask):
    """Slow is no answer either."""
    with always(answer(200, listed(one(name="x" * 7_000_000)))) as server:
        done = ask(server, "list", COLUMNS="80")
    assert done.returncode == 0 and len(done.stdout) < 1000


# Texts in answers

HOSTILE = one(
    name=ESCAPES, status=ESCAPES, paused_by=ESCAPES, pause_reason=ESCAPES, error=ESCAPES, target_table=ESCAPES,
    target_column=ESCAPES, job_signature_name=ESCAPES, batching_strategy=ESCAPES, created_at=ESCAPES, updated_at=ESCAPES,
    paused_at=ESCAPES, started_at="2026-01-01T00:00:00Z" + ESCAPES, in_flight_since=ESCAPES, why=ESCAPES,
)  # fmt: skip
HOSTILE_JOB = {"id": 1, "status": ESCAPES, "error": ESCAPES, "created_at": ESCAPES, "min_value": ESCAPES}
HOSTILE_ACTION = {
    "id": 4, "at": ESCAPES, "action": ESCAPES, "actor": ESCAPES, "reason": ESCAPES, "migrations": [HOSTILE, ESCAPES]
}  # fmt: skip


def hostile_texts(request):
    path = request.path.split("?")[0]
    if "bbm-asks" in request.path:
        return answer(400, {"errors": [{"code": "INVALID_QUERY_PARAMETER_NAME"}]})
    if request.method == "POST":
        return answer(200, {"success": True, "message": ESCAPES, "migrations": [HOSTILE], "job_in_flight": True,
                            "left": [HOSTILE], "warning": ESCAPES, "action_id": ESCAPES, "dry_run": True})  # fmt: skip
    if path.endswith("/jobs/"):
        return answer(200, {"jobs": [HOSTILE_JOB, ESCAPES, None]})
    if path.endswith("/actions/"):
        return answer(200, {"actions": [HOSTILE_ACTION, 3]})
    if path.endswith("/7/"):
        return answer(200, {"migration": HOSTILE})
    return answer(200, listed(HOSTILE, ESCAPES, None, job_in_flight=True))


@pytest.mark.parametrize(
    "command",
    ["list --all", "show 7", "jobs 7", "history", "history 7", "pause 7", "resume --all --yes", "restart 7", "undo 4",
     "pause 7 --dry-run"],
)  # fmt: skip
def test_no_escape_is_printed(ask_by_each, command):
    with HostileServer(hostile_texts) as server:
        done = ask_by_each(server, *command.split())
        narrow = ask_by_each(server, *command.split(), COLUMNS="40", LC_ALL="C")
        tsv = ask_by_each(server, *command.split(), "-o", "tsv")
        in_json = ask_by_each(server, *command.split(), "-o", "json")
    for each in (done, narrow, tsv):
        assert each.returncode == 0, each
        assert_harmless(each)
    assert b"end" in done.stdout and b"end" in tsv.stdout and narrow.stdout.isascii()
    json.loads(in_json.stdout)


@pytest.mark.parametrize("command", ["wait --all --timeout 1 --every 1", "watch"])
def test_no_escape_is_printed_while_waiting(ask, command):
    turns = iter(range(2))

    def twice(request):
        return hostile_texts(request) if next(turns, None) is not None else answer(403)

    with HostileServer(twice) as server:
        done = ask(server, *command.split(), *(["--every", "1"] if command == "watch" else []))
    assert done.returncode in (3, 4)
    assert b"end" in done.stdout
    assert_harmless(done)


WRONG = [None, True, -1, 1e308, "x", [], {}, [1], {"a": 1}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_values_of_a_wrong_type_become_nothing(ask, wrong):
    odd = {name: wrong for name in (*HOSTILE, "progress", "estimated_seconds_remaining", "batch_size", "total_tuple_count")}
    odd["id"] = 7

    def answers(request):
        path = request.path.split("?")[0]
        if path.endswith("/7/"):
            return answer(200, {"migration": odd})
        if path.endswith("/jobs/"):
            return answer(200, {"jobs": [odd]})
        if path.endswith("/actions/"):
            return answer(200, {"actions": [{**odd, "migrations": wrong}]})
        return answer(200, listed(odd))

    with HostileServer(answers) as server:
        for command in ("list --all", "show 7", "jobs 7", "history"):
            for output in ("table", "tsv"):
                done = ask(server, *command.split(), "-o", output, COLUMNS="80")
                assert (done.returncode, done.stderr) == (0, b""), (command, done)


def test_ids_from_a_server_are_numbers_before_they_go_into_an_address(ask):
    """What --all --except and restart --all take from the list."""
    evil = one(id="1/../../../admin/?x=", status="failed")
    with always(answer(200, listed(evil))) as server:
        ask(server, "restart", "--all", "--yes")
        assert {request.method for request in server.requests} == {"GET"}


# Where the token goes


def test_the_token_is_not_sent_along_a_redirect(ask):
    with always(answer(200, listed())) as other:
        target = f"{other.url}/v1/gitlab/background-migrations/"
        with always(answer(302, b"", {"Location": target})) as server:
            assert_error(ask(server, "list"), 1, "redirect", target)
            assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert other.requests == []


def test_a_next_link_to_another_host_is_not_followed(ask):
    with always(answer(200, {"jobs": []})) as other:
        jobs = [{"id": 10, "status": "finished"}]
        link = {"Link": f'<{other.url}/steal?n=1&last=10>; rel="next"'}

        def answers(request):
            return answer(200, {"jobs": [] if "last=10" in request.path else jobs}, link)

        with HostileServer(answers) as server:
            assert ask(server, "jobs", "7", "-n", "5").returncode == 0
            assert [request.path.split("jobs/")[1] for request in server.requests] == ["?n=5", "?n=4&last=10"]
        assert other.requests == []


def test_pages_that_never_end_are_given_up(ask):
    """A link that leads to itself."""
    with always(answer(200, {"jobs": []}, {"Link": '</x?last=5>; rel="next"'})) as server:
        assert ask(server, "jobs", "7").returncode == 0
        assert len(server.requests) == 2


def test_a_curlrc_of_the_user_changes_nothing(ask, tmp_path):
    """It could follow redirects, or write a trace with the token in it."""
    (tmp_path / ".curlrc").write_text(f'location\ntrace-ascii = "{tmp_path}/trace"\n')
    with always(answer(302, b"", {"Location": "/elsewhere"})) as server:
        assert_error(ask(server, "list"), 1, "redirect")
        assert len(server.requests) == 1
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "url",
    ["registry.example.com", "ftp://registry.example.com", "https://user:word@registry.example.com", "https://a b",
     'https://a"b', "https://a\\b", "https://a/#b", "https://a/?b=c", "https://", "file:///etc/passwd", "https://a\nb",
     "-K/etc/passwd", "https://-x"],
)  # fmt: skip
def test_an_address_that_is_none(ask, url):
    assert_error(ask(url, "list"), 2, "BBM_URL")


def test_a_token_goes_over_tls_or_stays_on_this_host(ask):
    for url in ("http://registry.example.com", "http://127.0.0.1.evil.example", "http://localhost.evil.example"):
        assert_error(ask(url, "list"), 2, "https")
    assert_error(ask("http://registry.invalid", "list", BBM_INSECURE="1"), 5, "registry.invalid")
    with always(answer(200, listed())) as server:
        assert ask(f"http://localhost:{server.port}", "list").returncode in (0, 5)


def test_a_token_that_is_none(ask_by_each):
    with always(answer(200, listed())) as server:
        for token in ("two words", 'a"b', "a\r\nX-Evil: 1", "a\\b", "ü"):
            assert_error(ask_by_each(server, "list", BBM_TOKEN=token), 2, "BBM_TOKEN")
        assert server.requests == []
