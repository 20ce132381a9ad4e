"""deploy/prometheus and deploy/grafana: the rules by promtool's unit tests, and every query of both
by a real Prometheus that scrapes a real service."""

import json
import os
import re
import subprocess
import urllib.parse

import pytest
from harness.client import Client
from harness.mounts import WebServer, running, write
from harness.postgres import REPOSITORY
from harness.process import wait_until

RULES = os.path.join(REPOSITORY, "deploy", "prometheus", "bbm-fcgi.rules.yml")
RULES_TEST = os.path.join(REPOSITORY, "tests", "prometheus", "rules_test.yml")
DASHBOARD = os.path.join(REPOSITORY, "deploy", "grafana", "bbm-fcgi.json")

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: bbm-fcgi
    metrics_path: /-/metrics
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dashboard():
    with open(DASHBOARD, encoding="utf-8") as file:
        return json.load(file)


def queries():
    """(title, expression) of each query of the dashboard, Grafana's variables with a value."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$job", ".+").replace("$instance", ".*").replace("$__rate_interval", "1m")
            yield panel["title"], expression


def rules():
    with open(RULES, encoding="utf-8") as file:
        text = file.read()
    names = re.findall(r"- alert: (\w+)", text)
    return text, names


def test_rules_fire_when_they_should():
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)


def test_each_rule_has_a_test_in_which_it_fires_and_one_in_which_not():
    _, names = rules()
    with open(RULES_TEST, encoding="utf-8") as file:
        text = file.read()
    for name in names:
        assert re.search(rf"alertname: {name}\n\s+exp_alerts:\n\s+- exp_labels", text), name
        assert re.search(rf"alertname: {name}, exp_alerts: \[\]", text), name


def test_runbook_sections_are_there():
    with open(os.path.join(REPOSITORY, "deploy", "RUNBOOK.md"), encoding="utf-8") as file:
        sections = set(re.findall(r"^## (\d+)\.", file.read(), re.M))
    named = set(re.findall(r"RUNBOOK\.md, section (\d+)", rules()[0]))
    assert named and named <= sections


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        sample = os.path.join(REPOSITORY, "sql", "sample.sql")
        site.database.cluster.psql(site.database.name, "-f", sample)
        yield site


@pytest.fixture(scope="module")
def prometheus(servers, site):
    folder = servers.workspace.folder(servers.unique("prometheus"))
    write(folder, "rules.yml", rules()[0])
    main = CONFIGURATION.format(rules=f"{folder}/rules.yml", port=site.client.port)

    def argv(file):
        port = re.search(r"port (\d+)", open(file, encoding="utf-8").read())[1]
        return ["/usr/bin/prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]  # fmt: skip

    os.mkdir(f"{folder}/data", 0o777)
    os.chmod(f"{folder}/data", 0o777)
    server = WebServer("prometheus", folder, argv, lambda port: f"# port {port}\n{main}")
    with running(server):
        prometheus = Prometheus(server.port)
        assert wait_until(lambda: prometheus.client.get("/-/ready").status == 200, seconds=30)
        yield prometheus


class Prometheus:
    def __init__(self, port):
        self.client = Client(port)

    def ask(self, path, **query):
        answer = self.client.get(f"/api/v1/{path}?{urllib.parse.urlencode(query)}")
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]


@pytest.fixture(scope="module")
def scraped(prometheus, site, token):
    """After two scrapes, with requests of each kind and a finished job in between."""
    assert wait_until(lambda: prometheus.query("bbm_fcgi_database_up"), seconds=20)
    before = site.client.get("/-/metrics").samples['bbm_fcgi_requests_total{route="/-/metrics",method="GET",status="200"}']
    site.database.add_jobs(6, 2, 1)
    for _ in range(3):
        site.client.get("/v1/gitlab/bbm/status/", token)
        site.client.get("/v1/gitlab/bbm/status/")
        site.client.post("/v1/gitlab/background-migrations/6/pause/", token)
        site.client.post("/v1/gitlab/background-migrations/6/resume/", token)

    def seen():
        found = prometheus.query('bbm_fcgi_requests_total{route="/-/metrics"}')
        return found and float(found[0]["value"][1]) >= float(before) + 4

    assert wait_until(seen, seconds=20)
    return prometheus


@pytest.mark.parametrize("title, expression", queries(), ids=[f"{number}: {title}" for number, (title, _) in enumerate(queries())])
def test_each_query_of_the_dashboard_finds_something(scraped, title, expression):
    # A migration's time remaining and its jobs of an hour come with the next scrapes.
    assert wait_until(lambda: scraped.query(expression), seconds=10), f"{title}: nothing for {expression}"


def test_each_metric_of_a_rule_is_scraped(scraped):
    names = set(re.findall(r"\b((?:bbm_fcgi|registry|process)_\w+)", rules()[0]))
    assert len(names) >= 6
    known = set(scraped.ask("label/__name__/values"))
    assert names <= known


def test_rules_run_without_an_error_and_the_failed_ones_fire(scraped):
    groups = scraped.ask("rules")["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(found) == set(rules()[1])
    assert {rule["health"] for rule in found.values()} <= {"ok", "unknown"}

    def failed():
        alerts = scraped.ask("alerts")["alerts"]
        return {alert["labels"]["migration_id"] for alert in alerts if alert["labels"]["alertname"] == "BbmMigrationFailed"}

    assert wait_until(lambda: failed() == {"4", "5"}, seconds=10)


def test_dashboard_is_in_order():
    board = dashboard()
    identities = [panel["id"] for panel in board["panels"]]
    assert len(identities) == len(set(identities)) > 15
    taken = set()
    for panel in board["panels"]:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        cells = {(position["x"] + x, position["y"] + y) for x in range(position["w"]) for y in range(position["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]
