"""The plans of all statements at 193 migrations and 2 million jobs, against sql/plans.txt."""

import glob
import json
import os
import re
import time

import pytest
from harness import routes
from harness.fastcgi import Connection, parameters
from harness.postgres import REPOSITORY, schema_files

BUILD = os.environ.get("BBM_BUILD") or os.path.join(REPOSITORY, "build")
JOBS = "batched_background_migration_jobs"
MIGRATIONS, MANY, BIG, IN_BIG = 193, 2_000_000, 100, 500_000
NOT_SENT = {"history", "recorded", "role", "sample"}
RECORD = (
    "action=pause actor=NULL token_id=NULL remote_addr=NULL correlation_id=x reason=NULL action_id=NULL repeat_of=NULL seen=0"
)
INDEXES = {
    f"pk_{JOBS}": "pkey",
    f"index_{JOBS}_on_migration": "migration",
    f"index_{JOBS}_on_migration_max_value": "migration_max_value",
    f"index_{JOBS}_on_migration_id_desc": "migration_id_desc",
}


def sql_file(name):
    """A statement as it stands in sql/, or as the Makefile derives it from one that does."""
    written = os.path.join(REPOSITORY, "sql", name)
    return written if os.path.exists(written) else os.path.join(BUILD, "sql", name)


def lines():
    with open(sql_file("plans.txt"), encoding="utf-8") as plans:
        for line in plans:
            line = line.replace("{record}", RECORD)
            if line.strip() and not line.startswith("#"):
                name, *variables, by, rows = line.split()
                yield name, dict(v.split("=", 1) for v in variables if v != "-"), by.split(","), int(rows)


def statement(name):
    """As sql/embed.awk makes it: without comments, the variables numbered as they come."""
    with open(sql_file(f"{name}.sql"), encoding="utf-8") as file:
        text = "".join(line for line in file if not line.lstrip().startswith("--"))
    for constant, value in re.findall(r"^\\set (\w+) (\w+)$", text, re.M):
        text = re.sub(rf"(?<!:):{constant}\b", value, text)
    text = re.sub(r"^\\set .*$", "", text, flags=re.M)
    names = []

    def number(found):
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"(?<!:):([a-z_]+)", number, text), names


@pytest.fixture(scope="module")
def database(servers):
    """The jobs as the worker leaves them, one migration after the other; indexes last, for speed."""
    with servers.database(ages=1, history=True) as database:
        fill(database)
        for file in schema_files()[1:]:
            servers.cluster.psql(database.name, "-f", file)
        yield database


def fill(database):
    database.execute("SET session_replication_role = replica")  # no look at each foreign key
    database.execute(
        "INSERT INTO batched_background_migrations (name, status, max_value, batch_size, job_signature_name, table_name,"
        f" column_name) SELECT 'm' || n, CASE WHEN n < 190 THEN 2 ELSE 1 END, 9223372036854775807, 1000, 'j', 't', 'c'"
        f" FROM generate_series(1, {MIGRATIONS}) AS n"
    )
    database.execute(f"ALTER TABLE {JOBS} SET UNLOGGED")
    database.execute(
        f"INSERT INTO {JOBS} (batched_background_migration_id, min_value, max_value, status, attempts, created_at)"
        f" SELECT m, n, n, CASE WHEN m <> {BIG} AND n % 1000 = 0 THEN 3 ELSE 2 END, 1,"
        "  now() - interval '1 year' + n * interval '1 minute'"
        f" FROM (SELECT m, CASE m WHEN {BIG} THEN {IN_BIG} ELSE {each()} + (m <= {left_over()})::int END AS jobs"
        f"         FROM generate_series(1, {MIGRATIONS}) AS m) AS migration, generate_series(1, jobs) AS n ORDER BY m, n"
    )
    database.execute("RESET session_replication_role")


def each():
    return (MANY - IN_BIG) // (MIGRATIONS - 1)


def left_over():
    return (MANY - IN_BIG) % (MIGRATIONS - 1)


@pytest.fixture(scope="module")
def words(database):
    """What plans.txt names in braces."""
    ids = [row["id"] for row in page_ids(database)]
    return {
        "page1000": str(ids[0] - 1),
        "last": str(2**63 - 1),
        "newest": str(MANY),
        "some": "{" + ",".join(str(number * 99991) for number in range(1, 21)) + "}",
        "ids": "{" + ",".join(str(number) for number in range(1, MIGRATIONS + 1)) + "}",
    }


def page_ids(database):
    return database.rows(
        f"SELECT id FROM {JOBS} WHERE batched_background_migration_id = {BIG} ORDER BY id DESC OFFSET {999 * 100 - 1} LIMIT 1"
    )


def is_never_prepared(name):
    with open(sql_file(f"{name}.sql"), encoding="utf-8") as file:
        return "-- Never prepared" in file.read()


def explain(database, name, variables, words, kind="custom"):
    """The plan, run; what it wrote is taken back. A prepared statement may get either kind."""
    text, names = statement(name)
    assert set(names) == set(variables), f"plans.txt gives {sorted(variables)} to {name}, which has {sorted(names)}"
    values = [words.get(variables[v].strip("{}"), variables[v]) for v in names]
    arguments = ", ".join(value if value == "NULL" else f"'{value}'" for value in values)
    execute = f"EXECUTE planned({arguments})" if names else "EXECUTE planned"
    with database.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(f"SET LOCAL plan_cache_mode = force_{kind}_plan")
            cursor.execute(f"PREPARE planned AS {text}")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {execute}")
            plan = cursor.fetchone()[0]
        finally:
            cursor.execute("ROLLBACK")
            cursor.execute("DEALLOCATE ALL")
    return plan if isinstance(plan, list) else json.loads(plan)


def nodes(plan):
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def accesses(plan):
    """(by what, rows touched) for each place where the plan reads the jobs table."""
    for node in nodes(plan):
        index = INDEXES.get(node.get("Index Name"))
        if node["Node Type"] == "Bitmap Heap Scan" and node["Relation Name"] == JOBS:
            continue  # the index scan below it is what is looked at
        if node.get("Relation Name") == JOBS and node["Node Type"] not in ("ModifyTable", "LockRows") or index:
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            # max(id) reads an index without a condition since PostgreSQL 17, and stops at its first entry.
            whole = "Index Cond" not in node and rows >= MANY / 2
            yield ("scan" if index is None else "whole_index" if whole else index), rows


def test_every_statement_has_a_line():
    folders = (os.path.join(REPOSITORY, "sql"), os.path.join(BUILD, "sql"))
    sent = {os.path.basename(file)[:-4] for folder in folders for file in glob.glob(f"{folder}/*.sql")} - NOT_SENT
    assert {name for name, _, _, _ in lines()} == sent


def test_the_scene(database):
    counted = database.rows(f"SELECT batched_background_migration_id AS m, count(*) AS n FROM {JOBS} GROUP BY 1 ORDER BY 1")
    assert sum(row["n"] for row in counted) == MANY and len(counted) == MIGRATIONS
    assert {row["n"] for row in counted} == {each(), each() + 1, IN_BIG}


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def planned(request, database):
    if request.param == "analyzed":
        database.execute("ANALYZE")
    return database


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name, variables, by, rows", lines(), ids=lambda v: v if isinstance(v, str) else None)
def test_the_plan(planned, words, name, variables, by, rows, kind):
    if kind == "generic" and is_never_prepared(name):
        pytest.skip("it is never prepared")
    plan = explain(planned, name, variables, words, kind)[0]["Plan"]
    found = list(accesses(plan))
    allowed = set() if by == ["none"] else set(by)
    assert {access for access, _ in found} <= allowed, json.dumps(plan, indent=1)
    assert sum(touched for _, touched in found) <= rows, json.dumps(plan, indent=1)


def test_a_scan_is_seen(database, words):
    """What this file is to find: a statement that cannot use an index."""
    with database.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM {JOBS} WHERE attempts = 9")
        plan = cursor.fetchone()[0][0]["Plan"]
        assert sum(rows for access, rows in accesses(plan) if access == "scan") >= MANY / 10
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM {JOBS} ORDER BY id")
        plan = cursor.fetchone()[0][0]["Plan"]
        assert {access for access, _ in accesses(plan)} <= {"scan", "whole_index"}


def test_a_thousand_pages(servers, database, words, keys, record_property):
    """Every job of a hundred thousand once, newest first; the times are reported, not judged."""
    token = keys.token("read")
    with servers.service(database.name) as service, Connection(service.address) as connection:

        def ask(query):
            path = routes.jobs(BIG)
            started = time.monotonic()
            answer = connection.request(parameters("GET", path, token, QUERY_STRING=query))
            took = time.monotonic() - started
            assert answer.status == 200, answer
            return answer, took

        def best(query):
            return min(ask(query)[1] for _ in range(20))

        query, last = "n=100", MANY
        for _ in range(1000):
            answer, _ = ask(query)
            ids = [job["id"] for job in answer.json["jobs"]]
            assert len(ids) == 100 and ids == sorted(ids, reverse=True) and ids[0] < last
            assert ids[0] - ids[-1] == 99
            last, asked = ids[-1], query
            query = re.search(r"\?(.*)>", answer.header("Link"))[1]
        assert asked == f"n=100&last={int(words['page1000']) + 1}"

        first, thousandth, failed = best("n=100"), best(asked), best("n=100&status=failed")
        assert ask("n=100&status=failed")[0].json == {"jobs": []}
        figures = f"first {first * 1e3:.2f} ms, thousandth {thousandth * 1e3:.2f} ms, failed {failed * 1e3:.2f} ms"
        record_property("pages", figures)
        print(figures)
