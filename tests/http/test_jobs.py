"""The jobs of a migration, contract section 2: their fields, their pages, and what is refused."""

import datetime
import re

import pytest
from harness import routes, rows
from harness.answer import ID_INVALID, error_body
from harness.refusals import NO_TOKEN, assert_refused
from harness.rows import JOB_FAILED, JOB_FINISHED

INT64_MAX = 2**63 - 1
LOOKED_AT_MOST = 10000
JOB_STATUS = {1: "active", 2: "finished", 3: "failed"}


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("read")


@pytest.fixture
def seven(site):
    """The migration 7, and 8 beside it, whose jobs must never be seen."""
    site.database.clear()
    for identity in (7, 8):
        site.database.add_migration(f"m{identity}", id=identity)
    site.database.add_jobs(8, JOB_FINISHED, 1)
    return 7


@pytest.fixture
def ask(site, token):
    def ask(query="", identity=7):
        return site.client.get(routes.jobs(identity, query), token)

    return ask


def add_many(database, migration, number, status=JOB_FINISHED):
    database.execute(
        "INSERT INTO batched_background_migration_jobs (batched_background_migration_id, min_value, max_value, status)"
        " SELECT %s, n, n, %s FROM generate_series(1, %s) AS n",
        (migration, status, number),
    )


def ids(answer):
    assert answer.status == 200, answer
    assert set(answer.json) == {"jobs"}
    return [job["id"] for job in answer.json["jobs"]]


def next_query(answer):
    """The query of the next page, from a Link header that has to be exactly so; or None."""
    link = answer.header("Link")
    if link is None:
        return None
    found = re.fullmatch(r'</v1/gitlab/background-migrations/7/jobs/\?([^>]+)>; rel="next"', link)
    assert found, link
    return found[1]


def walk(ask, query):
    """All pages from this one on."""
    pages = []
    while query is not None:
        answer = ask(query)
        pages.append(ids(answer))
        query = next_query(answer)
        assert len(pages) < 100
    return pages


def newest_first(database, condition="true"):
    statement = (
        "SELECT id FROM batched_background_migration_jobs"
        f" WHERE batched_background_migration_id = 7 AND {condition} ORDER BY id DESC"
    )
    return [row["id"] for row in database.rows(statement)]


# Fields


def expected_job(row):
    job = {
        "id": row["id"],
        "min_value": row["min_value"],
        "max_value": row["max_value"],
        "status": JOB_STATUS.get(row["status"], "unknown"),
        "attempts": row["attempts"],
        "error_code": row["failure_error_code"],
        "error": None if row["status"] == JOB_FINISHED else rows.ERROR.get(row["failure_error_code"]),
        **{name: row[name] for name in rows.TIMES},
    }
    return {name: value for name, value in job.items() if value is not None}


def comparable(job):
    return {name: rows.read_time(value) if name in rows.TIMES else value for name, value in job.items()}


def assert_as_in_database(answer, database):
    stored = database.rows(
        "SELECT * FROM batched_background_migration_jobs WHERE batched_background_migration_id = 7 ORDER BY id DESC"
    )
    assert [comparable(job) for job in answer.json["jobs"]] == [expected_job(row) for row in stored]


def test_a_migration_without_jobs(site, seven, ask, token):
    answer = ask()
    assert (answer.status, answer.json) == (200, {"jobs": []})
    assert re.search(rb'"jobs"\s*:\s*\[\s*\]', answer.body)
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Link") is None


def test_all_fields_and_their_types(site, seven, ask):
    moment = datetime.datetime(2025, 3, 4, 5, 6, 7, 891000, tzinfo=datetime.timezone.utc)
    site.database.add_jobs(7, JOB_FAILED, 1, attempts=3, failure_error_code=0, **{name: moment for name in rows.TIMES})
    answer = ask()
    [job] = answer.json["jobs"]
    numbers = {"id", "min_value", "max_value", "attempts", "error_code"}
    assert {name for name, value in job.items() if type(value) is int} == numbers
    assert {name for name, value in job.items() if type(value) is str} == {"status", "error", *rows.TIMES}
    assert_as_in_database(answer, site.database)


def test_what_is_null_is_left_out(site, seven, ask):
    site.database.add_jobs(7, JOB_FINISHED, 1)
    answer = ask()
    assert set(answer.json["jobs"][0]) == {"id", "min_value", "max_value", "status", "attempts", "created_at"}
    assert_as_in_database(answer, site.database)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, -1, 32767])
def test_status(site, seven, ask, number):
    site.database.add_jobs(7, number, 1)
    assert ask().json["jobs"][0]["status"] == JOB_STATUS.get(number, "unknown")


@pytest.mark.parametrize("code", [*rows.ERROR, 99])
def test_error(site, seven, ask, code):
    site.database.add_jobs(7, JOB_FAILED, 1, failure_error_code=code)
    [job] = ask().json["jobs"]
    assert (job["error_code"], job["error"]) == (code, rows.ERROR.get(code, "unknown"))


def test_a_finished_job_has_no_error(site, seven, ask):
    """The worker leaves the code of the failed try in the row (contract, section 7)."""
    site.database.add_jobs(7, JOB_FINISHED, 1, attempts=2, failure_error_code=0)
    answer = ask()
    assert "error" not in answer.json["jobs"][0]
    assert_as_in_database(answer, site.database)


@pytest.mark.parametrize("value", [INT64_MAX, -INT64_MAX - 1, 2**53 + 1, 0])
def test_integers_keep_their_64_bits(site, seven, ask, value):
    site.database.add_jobs(7, JOB_FINISHED, 1, min_value=value, max_value=value)
    answer = ask()
    [job] = answer.json["jobs"]
    assert (job["min_value"], job["max_value"]) == (value, value)
    assert f":{value}," in answer.body.decode().replace(" ", "")
    assert_as_in_database(answer, site.database)


def test_the_sample_is_served_as_it_stands_in_the_database(servers, token):
    with servers.database(sample=True) as database, servers.site(database) as site:
        answer = site.client.get(routes.jobs(7, "n=1000"), token)
        assert len(answer.json["jobs"]) > 100
        assert_as_in_database(answer, database)


# Pages


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
def test_the_link_leads_to_the_path_that_was_asked(site, seven, token, base, slash):
    add_many(site.database, 7, 3)
    path = f"{base}/background-migrations/7/jobs{slash}"
    answer = site.client.get(path + "?n=2", token)
    assert ids(answer) == [4, 3]
    assert answer.header("Link") == f'<{path}?n=2&last=3>; rel="next"'
    answer = site.client.get(path + "?n=2&last=3", token)
    assert (ids(answer), answer.header("Link")) == ([2], None)


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250])
def test_a_hundred_where_no_number_is_given(site, seven, ask, number):
    add_many(site.database, 7, number)
    pages = walk(ask, "")
    assert [len(page) for page in pages] == [100] * ((number - 1) // 100) + [number - max(number - 1, 0) // 100 * 100]
    assert sum(pages, []) == newest_first(site.database)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 8, 1000])
def test_pages_cover_all_and_nothing_twice(site, seven, ask, n):
    for _ in range(7):
        site.database.add_jobs(7, JOB_FINISHED, 1)
        site.database.add_jobs(8, JOB_FINISHED, 1)
    pages = walk(ask, f"n={n}")
    assert sum(pages, []) == newest_first(site.database)
    assert all(len(page) == n for page in pages[:-1]) and len(pages[-1]) <= n


def test_a_thousand_is_the_most(site, seven, ask):
    add_many(site.database, 7, 1001)
    answer = ask("n=1000")
    assert len(ids(answer)) == 1000
    assert next_query(answer) == "n=1000&last=3"


def test_a_page_starts_after_last_whether_that_is_there_or_not(site, seven, ask):
    add_many(site.database, 7, 5)
    site.database.execute("DELETE FROM batched_background_migration_jobs WHERE id = 4")
    assert ids(ask("last=5")) == ids(ask("last=4")) + [] == [3, 2]
    assert ids(ask("last=1")) == []
    assert ids(ask(f"last={INT64_MAX}")) == [6, 5, 3, 2]


def test_jobs_that_come_meanwhile_do_not_shift_a_page(site, seven, ask):
    add_many(site.database, 7, 5)
    first = ask("n=2")
    add_many(site.database, 7, 5)
    assert ids(first) + ids(ask(next_query(first))) == [6, 5, 4, 3]


def test_the_largest_ids(site, seven, ask):
    for identity in (INT64_MAX, INT64_MAX - 1, 1):
        site.database.add_jobs(7, JOB_FINISHED, 1, id=identity + (identity == 1))
    answer = ask("n=1")
    assert (ids(answer), next_query(answer)) == ([INT64_MAX], f"n=1&last={INT64_MAX}")
    assert walk(ask, "n=1") == [[INT64_MAX], [INT64_MAX - 1], [2]]


# The filter


def test_each_status_and_no_other(site, seven, ask):
    for status in (1, 2, 3, 4, 3, 2, 1):
        site.database.add_jobs(7, status, 1)
    for number, name in JOB_STATUS.items():
        assert walk(ask, f"status={name}") == [newest_first(site.database, f"status = {number}")]
    assert walk(ask, "status=%66ailed") == [newest_first(site.database, "status = 3")]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_link_keeps_the_filter(site, seven, ask, n):
    for status in (3, 2, 3, 2, 2, 3):
        site.database.add_jobs(7, status, 1)
    answer = ask(f"status=failed&n={n}")
    failed = newest_first(site.database, "status = 3")
    assert ids(answer) == failed[:n]
    assert next_query(answer) == (f"n={n}&last={failed[n - 1]}&status=failed" if n < 3 else None)
    assert sum(walk(ask, f"n={n}&status=failed"), []) == failed


@pytest.mark.parametrize("number", [LOOKED_AT_MOST - 1, LOOKED_AT_MOST, LOOKED_AT_MOST + 1, 2 * LOOKED_AT_MOST + 500])
def test_a_filtered_page_looks_at_so_many_rows_and_no_more(site, seven, ask, number):
    """8's job has the id 1, so 7's are those from 2 on."""
    add_many(site.database, 7, number)
    site.database.execute("UPDATE batched_background_migration_jobs SET status = 3 WHERE id = 2")
    answer = ask("status=failed")
    edge = number + 2 - LOOKED_AT_MOST
    assert ids(answer) == ([2] if edge <= 2 else [])
    assert next_query(answer) == (f"n=100&last={edge}&status=failed" if edge > 1 else None)


def test_what_lies_far_back_is_found_page_by_page(site, seven, ask):
    add_many(site.database, 7, 3, JOB_FAILED)
    add_many(site.database, 7, 2 * LOOKED_AT_MOST)
    add_many(site.database, 7, 2, JOB_FAILED)
    pages = walk(ask, "status=failed&n=2")
    assert sum(pages, []) == newest_first(site.database, "status = 3")
    assert len(pages) <= 5


def test_a_gap_between_jobs_changes_nothing(site, seven, ask):
    """The ids are those of all migrations: what lies between two of one may be any number."""
    for identity in (5, 2 * LOOKED_AT_MOST, 10**12, 2**62):
        site.database.add_jobs(7, JOB_FAILED, 1, id=identity)
    pages = walk(ask, "status=failed")
    assert sum(pages, []) == [2**62, 10**12, 2 * LOOKED_AT_MOST, 5]
    assert len(pages) <= 5


# What is refused


TYPE = ("INVALID_QUERY_PARAMETER_TYPE", "invalid query parameter value type")
VALUE = ("INVALID_QUERY_PARAMETER_VALUE", "invalid query parameter value")
N = "the 'n' query parameter must be from 1 to 1000"
LAST = f"the 'last' query parameter must be a job's id, from 1 to {INT64_MAX}"
STATUS = "the 'status' query parameter must be one of active, finished, failed"


def integer(name):
    return f"the '{name}' query parameter must be an integer"


@pytest.mark.parametrize(
    "query, kind, detail",
    [
        *((f"n={value}", TYPE, integer("n")) for value in ("x", "", "1x", "1.5", "1e2", "0x1", "+5", "%205", "5%20", "-", "--1",
                                                           "%00", "1%00", "%D9%A1", "9" * 30 + "x")),
        *((f"last={value}", TYPE, integer("last")) for value in ("x", "", "1.0", "null")),
        *((f"n={value}", VALUE, N) for value in ("0", "-1", "1001", "-0", "9223372036854775808", "9" * 40, "1" + "%30" * 80)),
        *((f"last={value}", VALUE, LAST) for value in ("0", "-1", "9223372036854775808", "-9223372036854775809")),
        *((f"status={value}", VALUE, STATUS) for value in ("nope", "", "FAILED", "failed%20", "2", "paused", "failed,active")),
        ("n", TYPE, integer("n")),
        ("n=x&status=nope", TYPE, integer("n")),
        ("&&status=nope&n=5", VALUE, STATUS),
    ],
)  # fmt: skip
def test_a_bad_parameter(site, seven, ask, query, kind, detail):
    for identity in (7, 12345):  # judged before the migration is looked for
        answer = ask(query, identity)
        assert answer.status == 400, answer
        assert answer.header("Content-Type") == "application/json"
        assert answer.json == error_body(*kind, detail)


def test_good_ones_in_unusual_spelling(site, seven, ask):
    add_many(site.database, 7, 3)
    for query in ("n=02", "%6e=2", "n=%32", "&&n=2&&"):
        assert ids(ask(query)) == [4, 3], query


def test_an_absent_migration(site, seven, ask):
    for identity in (9, INT64_MAX):
        for query in ("", "n=5&status=failed"):
            answer = ask(query, identity)
            expected = error_body("BBM_ID_NOT_FOUND", "provided BBM Id has not been found", f"BBM with ID {identity} not found")
            assert (answer.status, answer.json) == (404, expected)
            assert answer.header("Link") is None


def test_an_id_that_is_no_int64(site, seven, ask):
    answer = ask("", 2**63)
    assert (answer.status, answer.json) == (400, ID_INVALID)


def test_access(site, seven, keys):
    assert_refused(site.client.get(routes.jobs(7)), "read", NO_TOKEN)
    assert_refused(site.client.get(routes.jobs(7, "n=x")), "read", NO_TOKEN)
    assert_refused(site.client.get(routes.jobs(7), keys.token("write")), "read", "insufficient_scope")
    assert site.client.get(routes.jobs(7), keys.token("*")).status == 200


def test_methods(site, seven, token):
    add_many(site.database, 7, 3)
    get = site.client.get(routes.jobs(7, "n=2"), token)
    head = site.client.request("HEAD", routes.jobs(7, "n=2"), token)
    assert (head.status, head.body, head.header("Link")) == (200, b"", get.header("Link"))
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = site.client.request(method, routes.jobs(7), token)
        assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS")
