"""Liveness, readiness and metrics (contract, section 1), the metrics read as Prometheus reads them."""

import contextlib
import re
import subprocess
import time

import pytest
from harness import fastcgi, routes
from harness.answer import error_body
from harness.fastcgi import parameters
from harness.ports import free_port
from harness.proxy import Proxy

LIVENESS, READINESS, METRICS = "/-/liveness", "/-/readiness", "/-/metrics"
OPERATIONAL = (LIVENESS, READINESS, METRICS)
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROGRESS = "registry_database_bbm_progress_percent"
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
NOT_FOUND = error_body("NOT_FOUND", "no such route")


@pytest.fixture
def proxy(servers):
    proxy = Proxy(free_port(), ("127.0.0.1", servers.cluster.port))
    yield proxy
    proxy.close()


def ask(service, method, path, token=None, **params):
    return fastcgi.ask(service.address, parameters(method, path, token, **params))


def scrape(service):
    """Each sample by its name and labels."""
    answer = ask(service, "GET", METRICS)
    assert (answer.status, answer.header("Content-Type")) == (200, TEXT)
    return read_samples(answer.body.decode("utf-8"))


def read_samples(text):
    samples = {}
    assert text.endswith("\n")
    for line in text.split("\n")[:-1]:
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-z_]+ ", line), line
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        pairs = LABEL.findall(labels or "")
        assert ",".join(f'{key}="{text}"' for key, text in pairs) == (labels or ""), line
        key = (name, frozenset(pairs))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
    return samples


def value(samples, name, **labels):
    return samples.get((name, frozenset(labels.items())), 0)


# Routes


@pytest.mark.parametrize("path", OPERATIONAL)
def test_no_token_is_needed(site, path):
    for form in (path, path + "/"):
        answer = ask(site.service, "GET", form)
        assert answer.status == 200
        assert int(answer.header("Content-Length")) == len(answer.body)
        assert site.client.get(form).status == 200


@pytest.mark.parametrize("path", OPERATIONAL)
def test_any_token_is_ignored(site, keys, path):
    for token in ("garbage", keys.token("read")):
        assert ask(site.service, "GET", path, token).status == 200


@pytest.mark.parametrize("path", OPERATIONAL)
def test_other_methods(site, path):
    head = ask(site.service, "HEAD", path)
    assert (head.status, head.body) == (200, b"") and int(head.header("Content-Length")) > 0
    options = ask(site.service, "OPTIONS", path)
    assert (options.status, options.header("Allow")) == (204, "GET, HEAD, OPTIONS")
    for method in ("POST", "PUT", "DELETE", "get"):
        answer = ask(site.service, method, path)
        assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("path", OPERATIONAL)
def test_no_route_under_a_base(site, base, path):
    """In each form of the base: whole, or taken off by the mount."""
    for script, info in (("", base + path), (base, path), (base + "/", path), (base + path, "")):
        answer = ask(site.service, "GET", path, SCRIPT_NAME=script, PATH_INFO=info)
        assert (answer.status, answer.json) == (404, NOT_FOUND), (script, info)


@pytest.mark.parametrize("path", OPERATIONAL)
def test_each_form_of_the_path(site, path):
    for script, info in (("", path), (path, ""), (path, path), ("/-", path[2:])):
        assert ask(site.service, "GET", path, SCRIPT_NAME=script, PATH_INFO=info).status == 200, (script, info)


@pytest.mark.parametrize("prefix", ["", "/registry"])
def test_no_route_under_a_mount(servers, site, prefix):
    """A web server's rule on /-/ does not hold there."""
    with servers.service(site.database.name, changes={"http": {"prefix": prefix}}) as service:
        for script in ("/registry", "/elsewhere", "/v1/gitlab/x", "/registry/-", "/-/-"):
            for path in OPERATIONAL:
                answer = ask(service, "GET", path, SCRIPT_NAME=script, PATH_INFO=path)
                assert (answer.status, answer.json) == (404, NOT_FOUND), (script, path)


@pytest.mark.parametrize(
    "path",
    ["/-", "/-/", "/-/nothing", "/-/liveness/x", "/-/livenes", "/-//metrics", "//-/metrics", "/-/Metrics", "/metrics"],
)
def test_no_routes(site, path):
    assert ask(site.service, "GET", path).status == 404


def test_outside_a_prefix(servers, site):
    with servers.service(site.database.name, changes={"http": {"prefix": "/some/prefix"}}) as service:
        assert ask(service, "GET", LIVENESS).status == 200
        assert ask(service, "GET", "/some/prefix" + LIVENESS).status == 404
        assert ask(service, "GET", LIVENESS, SCRIPT_NAME="/some/prefix", PATH_INFO=LIVENESS).status == 404


def test_health_bodies(site):
    for path, body in ((LIVENESS, {"status": "ok"}), (READINESS, {"status": "ok", "history": False})):
        answer = ask(site.service, "GET", path)
        assert answer.header("Content-Type") == "application/json"
        assert answer.json == body


# With and without a database


def test_ready_only_with_a_database(servers, site, proxy):
    with servers.service(site.database.name, changes={"database": {"port": proxy.port}}) as service:
        down = ask(service, "GET", READINESS)
        hint = "check database.host and database.port"
        assert (down.status, down.json) == (503, error_body("UNAVAILABLE", "service unavailable", hint))
        assert down.header("Retry-After")
        assert ask(service, "GET", LIVENESS).status == 200
        samples = scrape(service)
        assert value(samples, "bbm_fcgi_database_up") == 0
        assert value(samples, "bbm_fcgi_database_errors_total", kind="connect") >= 1
        assert value(samples, "bbm_fcgi_database_connections") == 0
        proxy.open()
        assert ask(service, "GET", READINESS).status == 200
        samples = scrape(service)
        assert value(samples, "bbm_fcgi_database_up") == 1
        assert value(samples, "bbm_fcgi_database_connections") >= 1


# What is counted


def test_requests_by_route_method_and_status(servers, site, token):
    with servers.service(site.database.name) as service:
        for method, path, bearer, count in (
            ("GET", routes.LIST, token, 3),
            ("HEAD", routes.LIST, token, 1),
            ("GET", routes.LIST, None, 2),
            ("GET", routes.one(999), token, 1),
            ("PATCH", routes.LIST, token, 1),
            ("GET", "/v1/gitlab/nonsense", token, 2),
            ("POST", routes.PAUSE, token, 1),
        ):
            for _ in range(count):
                ask(service, method, path, bearer)
        samples = scrape(service)
        for route, method, status, count in (
            ("background-migrations", "GET", "200", 3),
            ("background-migrations", "HEAD", "200", 1),
            ("background-migrations", "GET", "401", 2),
            ("background-migrations/{id}", "GET", "404", 1),
            ("background-migrations", "other", "405", 1),
            ("none", "GET", "404", 2),
            ("background-migrations/pause", "POST", "200", 1),
        ):
            found = value(samples, "bbm_fcgi_requests_total", route=route, method=method, status=status)
            assert found == count, (route, method, status, found)
        total = sum(v for (name, _), v in samples.items() if name == "bbm_fcgi_requests_total")
        assert total == 11, "the scrape itself is counted afterwards"


def test_latency_by_route_is_a_complete_histogram(servers, site, token):
    with servers.service(site.database.name) as service:
        for _ in range(5):
            ask(service, "GET", routes.LIST, token)
        samples = scrape(service)
        name, route = "bbm_fcgi_request_duration_seconds", "background-migrations"
        buckets = sorted(
            (float(dict(labels)["le"]), found)
            for (sample, labels), found in samples.items()
            if sample == f"{name}_bucket" and ("route", route) in labels
        )
        assert buckets[-1] == (float("inf"), 5) and len(buckets) > 10
        assert [found for _, found in buckets] == sorted(found for _, found in buckets)
        assert value(samples, f"{name}_count", route=route) == 5
        assert 0 < value(samples, f"{name}_sum", route=route) < 5
        assert value(samples, "bbm_fcgi_database_statement_duration_seconds_count") >= 5


def test_token_verdicts(servers, site, keys, token):
    with servers.service(site.database.name) as service:
        for bearer in (None, "garbage", "gar.ba.ge", keys.token("read"), token, token):
            ask(service, "POST", routes.PAUSE, bearer)
        samples = scrape(service)
        for verdict, count in (("none", 1), ("invalid", 2), ("insufficient", 1), ("accepted", 2)):
            assert value(samples, "bbm_fcgi_tokens_total", verdict=verdict) == count, verdict


def test_refused_statement_is_counted(servers, token):
    with servers.database() as database, servers.service(database.name) as service:
        database.execute("ALTER TABLE batched_background_migration_jobs RENAME COLUMN status TO state")
        assert ask(service, "GET", routes.LIST, token).status == 500
        assert value(scrape(service), "bbm_fcgi_database_errors_total", kind="refused") == 2, "and one is the scrape's"


def test_process_metrics(site):
    samples = scrape(site.service)
    child = site.service.server.child.pid
    (build,) = [labels for (name, labels) in samples if name == "bbm_fcgi_build_info"]
    # No label that is another at each start: it would make a new series each time.
    assert set(dict(build)) == {"version"} and re.fullmatch(r"\d+\.\d+\.\d+", dict(build)["version"])
    assert 5 < value(samples, "process_open_fds") < 100
    assert value(samples, "process_resident_memory_bytes") > 1e6
    assert value(samples, "process_cpu_seconds_total") > 0
    with open(f"/proc/{child}/stat", encoding="ascii") as stat, open("/proc/uptime", encoding="ascii") as uptime:
        age = float(uptime.read().split()[0]) - int(stat.read().rpartition(")")[2].split()[19]) / 100
    assert abs(time.time() - age - value(samples, "process_start_time_seconds")) < 2


# Progress under the registry's own name

ODD = 'a "quoted" \\ name\nof två lines'


def test_progress_metric_of_the_registry(servers):
    with servers.database() as database, servers.service(database.name) as service:
        half = database.add_migration("half", status=1, total_tuple_count=100, batch_size=10)
        database.add_jobs(half, 2, 5)
        database.add_migration(ODD, status=2)
        database.add_migration("unknown", status=0, total_tuple_count=None)
        full = database.add_migration("full", status=4, total_tuple_count=10, batch_size=10)
        database.add_jobs(full, 2, 2)
        samples = scrape(service)
        found = {
            tuple(dict(labels)[key] for key in ("migration_id", "migration_name", "status")): sample
            for (name, labels), sample in samples.items()
            if name == PROGRESS
        }
        escaped = ODD.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert found == {
            ("1", "half", "active"): 50,
            ("2", escaped, "finished"): 100,
            ("4", "full", "running"): 99.9,
        }


def test_names_that_are_not_utf8(servers):
    with servers.database(encoding="SQL_ASCII") as database, servers.service(database.name) as service:
        database.execute(
            "INSERT INTO batched_background_migrations (name, max_value, batch_size, status, job_signature_name,"
            " table_name, column_name) VALUES (E'caf\\xe9', 1, 1, 2, 'j', 't', 'c')"
        )
        names = [dict(labels)["migration_name"] for name, labels in scrape(service) if name == PROGRESS]
        assert names == ["caf\N{REPLACEMENT CHARACTER}"]


# Series of each migration


def series(samples, family):
    """The value by id, name and, where it has one, state."""
    keys = ("migration_id", "migration_name", "status")
    return {
        tuple(dict(labels)[key] for key in keys if key in dict(labels)): found
        for (name, labels), found in samples.items()
        if name == family
    }


@pytest.fixture(scope="module")
def migrations(servers):
    """A migration in each state without a progress, and one for which everything is known."""
    with servers.database() as database:
        for status in (0, 1, 2, 3, 4, 9):
            database.add_migration(f"m{status}", status=status, total_tuple_count=None)
        known = database.add_migration("known", status=4, total_tuple_count=100, batch_size=10)
        for minute in range(4):
            database.add_jobs(known, 2, 1, created_at=f"2026-01-01 00:0{minute}")
        database.add_jobs(known, 3, 2, created_at="2026-01-01 00:04")
        database.add_jobs(1, 3, 1)
        yield database


def test_each_migration_has_its_state(servers, migrations):
    """Even without a progress: an alert on status="failed" misses no migration."""
    with servers.service(migrations.name) as service:
        assert series(scrape(service), "bbm_fcgi_migration_status") == {
            ("1", "m0", "paused"): 1,
            ("2", "m1", "active"): 1,
            ("3", "m2", "finished"): 1,
            ("4", "m3", "failed"): 1,
            ("5", "m4", "running"): 1,
            ("6", "m9", "unknown"): 1,
            ("7", "known", "running"): 1,
        }


def test_each_migration_has_its_jobs_and_its_time(servers, migrations):
    with servers.service(migrations.name) as service:
        samples = scrape(service)
        finished = series(samples, "bbm_fcgi_migration_finished_jobs")
        failed = series(samples, "bbm_fcgi_migration_failed_jobs")
        assert len(finished) == len(failed) == 7
        assert (finished["7", "known"], failed["7", "known"]) == (4, 2)
        assert (finished["1", "m0"], failed["1", "m0"]) == (0, 1)
        assert series(samples, "bbm_fcgi_migration_remaining_seconds") == {("7", "known"): 6 * 60}


def test_worker_in_a_run(servers, site):
    with servers.service(site.database.name) as service:
        assert value(scrape(service), "bbm_fcgi_job_in_flight") == 0
        with contextlib.closing(site.database.cluster.connect(site.database.name)) as worker:
            worker.autocommit = False
            worker.cursor().execute("SELECT pg_try_advisory_xact_lock(1)")
            assert value(scrape(service), "bbm_fcgi_job_in_flight") == 1
            worker.rollback()
        assert value(scrape(service), "bbm_fcgi_job_in_flight") == 0


def test_writes_by_outcome(servers, keys, token, proxy):
    proxy.open()
    with servers.database() as database:
        database.add_migration("m", status=2)
        with servers.service(database.name, changes={"database": {"port": proxy.port}}) as service:
            for path, bearer in (
                (routes.PAUSE, token),
                (routes.RESUME, token),
                (routes.action("pause", 1), token),
                (routes.PAUSE, keys.token("read")),
                (routes.action("restart", 7), token),
            ):
                ask(service, "POST", path, bearer)
            ask(service, "GET", routes.LIST, token)
            dry_run = parameters("POST", routes.PAUSE, token, QUERY_STRING="dry_run=true")
            assert fastcgi.ask(service.address, dry_run).status == 200
            proxy.close()
            ask(service, "POST", routes.PAUSE, token)
            samples = scrape(service)
            for outcome, count in (("done", 2), ("refused", 3), ("failed", 1), ("unknown", 0)):
                assert value(samples, "bbm_fcgi_writes_total", outcome=outcome) == count, outcome


HOSTILE = ['"', "\\", "\n", "\r\n", "}", ",", "\t\x01\x1b[2J", "\u202e\u2028\ufeff", "x" * 5000, '\\"} 1\nforged 1', ""]


def unescaped(label):
    return re.sub(r'\\([\\n"])', lambda escape: {"n": "\n"}.get(escape[1], escape[1]), label)


def test_hostile_names_stay_in_their_labels(servers):
    """Each family has one series for each migration, and promtool reads them all."""
    with servers.database() as database, servers.service(database.name) as service:
        for name in HOSTILE:
            database.add_migration(name, status=2)
        samples = scrape(service)
        for family in (PROGRESS, "bbm_fcgi_migration_status", "bbm_fcgi_migration_finished_jobs"):
            found = {int(key[0]): unescaped(key[1]) for key in series(samples, family)}
            assert [found[number] for number in sorted(found)] == HOSTILE
        assert not any(name == "forged" for name, _ in samples)
        assert_promtool_is_content(ask(service, "GET", METRICS).body)


# Prometheus' own judgement


def assert_promtool_is_content(text):
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    said = [line for line in (check.stdout + check.stderr).decode().splitlines() if line]
    # The registry's own name is not ours to improve; 3 is "nothing but advice".
    assert check.returncode in (0, 3), said
    assert [line for line in said if PROGRESS not in line] == []


def test_promtool_finds_no_fault(servers, token):
    with servers.database(sample=True) as database, servers.service(database.name) as service:
        ask(service, "GET", routes.LIST, token)
        ask(service, "GET", "/nonsense", token)
        assert_promtool_is_content(ask(service, "GET", METRICS).body)


def test_several_processes_count_for_themselves(servers, site, token):
    with contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(servers.service(site.database.name)) for _ in range(2))
        ask(one, "GET", routes.LIST, token)
        labels = {"route": "background-migrations", "method": "GET", "status": "200"}
        assert value(scrape(one), "bbm_fcgi_requests_total", **labels) == 1
        assert value(scrape(other), "bbm_fcgi_requests_total", **labels) == 0
