"""What is served of a migration, contract section 2, against the rows as psycopg2 reads them."""

import datetime
import re
from decimal import Decimal

import pytest
from harness import routes, rows
from harness.answer import ID_INVALID
from harness.rows import JOB_FAILED, JOB_FINISHED

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
INT32_MAX = 2**31 - 1

ALWAYS = {
    "id": int, "name": str, "status": str, "job_signature_name": str, "target_table": str,
    "target_column": str, "batch_size": int, "sub_batch_size": int, "min_value": int, "max_value": int,
    "batching_strategy": str, "finished_jobs": int, "failed_jobs": int, "created_at": str,
}  # fmt: skip
WHERE_KNOWN = {
    "total_tuple_count": int, "error_code": int, "error": str, "progress": (int, Decimal), "capped": bool,
    "updated_at": str, "started_at": str, "finished_at": str,
}  # fmt: skip


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("read")


@pytest.fixture(autouse=True)
def empty_table(site):
    site.database.clear()


@pytest.fixture
def listed(site, token):
    """The list as served, once more as rows say it, and the raw body."""

    def fetch():
        answer = site.client.get(routes.LIST, token)
        assert answer.status == 200, answer
        assert set(answer.json) == {"migrations", "job_in_flight"}
        return answer.json["migrations"]

    return fetch


@pytest.fixture
def served(site, token):
    """One migration as the answer by id has it, which has to be as the list has it."""

    def fetch(identity):
        answer = site.client.get(routes.one(identity), token)
        assert answer.status == 200, answer
        assert set(answer.json) == {"migration", "job_in_flight"}
        every = site.client.get(routes.LIST, token).json["migrations"]
        same = [migration for migration in every if migration["id"] == identity]
        assert [without_pace(migration) for migration in same] == [without_pace(answer.json["migration"])]
        return answer.json["migration"]

    return fetch


def without_pace(migration):
    return {name: value for name, value in migration.items() if name not in rows.PASSED_OVER}


def assert_as_in_database(served, database):
    expected = rows.of_database(database)
    assert [migration["id"] for migration in served] == [migration["id"] for migration in expected]
    for migration, wanted in zip(served, expected):
        comparable = rows.served_migration(migration)
        if "progress" in wanted:
            wanted["progress"] = pytest.approx(wanted["progress"], rel=1e-12)
        known = {name: value for name, value in comparable.items() if name in {**ALWAYS, **WHERE_KNOWN}}
        assert known == wanted


# The list and one


def test_an_empty_table_gives_an_empty_list(site, token):
    answer = site.client.get(routes.LIST, token)
    assert (answer.status, answer.json) == (200, {"migrations": [], "job_in_flight": False})
    assert re.search(rb'"migrations"\s*:\s*\[\s*\]', answer.body)


def test_the_sample_is_served_as_it_stands_in_the_database(servers, token):
    with servers.database(sample=True) as database, servers.site(database) as site:
        assert len(database.migrations()) >= 10
        for path in routes.LISTS:
            for base in routes.BASES:
                answer = site.client.get(base + path, token)
                assert_as_in_database(answer.json["migrations"], database)
        each = [site.client.get(routes.one(row["id"]), token).json["migration"] for row in database.migrations()]
        assert_as_in_database(each, database)


def test_the_list_is_by_id_ascending(site, listed):
    for identity in (7, 3, 2**62, 11, 1):
        site.database.add_migration(f"m{identity}", id=identity)
    site.database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id = 3")
    assert [migration["id"] for migration in listed()] == [1, 3, 7, 11, 2**62]


def test_a_long_list_is_served_whole(site, listed):
    """A 4.39 database has 193; a few times that must not hit a buffer's end."""
    site.database.execute(
        "INSERT INTO batched_background_migrations (name, max_value, batch_size, job_signature_name,"
        " table_name, column_name) SELECT 'migration_' || repeat('x', 200) || n, 1, 1, 'j', 't', 'c'"
        " FROM generate_series(1, 1000) AS n"
    )
    assert [migration["id"] for migration in listed()] == list(range(1, 1001))


def test_jobs_are_counted_for_their_own_migration(site, listed):
    for number in range(3):
        identity = site.database.add_migration(f"m{number}", total_tuple_count=1000)
        site.database.add_jobs(identity, JOB_FINISHED, number)
        site.database.add_jobs(identity, JOB_FAILED, 2 * number)
        site.database.add_jobs(identity, 1, 1)
    assert [(m["finished_jobs"], m["failed_jobs"]) for m in listed()] == [(0, 0), (1, 2), (2, 4)]
    assert_as_in_database(listed(), site.database)


# Fields


def test_types_of_all_fields_when_all_are_there(site, served):
    moment = datetime.datetime(2025, 3, 4, 5, 6, 7, 891000, tzinfo=datetime.timezone.utc)
    times = {name: moment for name in rows.TIMES}
    identity = site.database.add_migration(
        "m", status=3, failure_error_code=4, total_tuple_count=1000, batching_strategy="X", **times
    )
    migration = served(identity)
    for name, kind in {**ALWAYS, **WHERE_KNOWN}.items():
        assert type(migration[name]) in (kind if isinstance(kind, tuple) else (kind,)), name
    assert_as_in_database([migration], site.database)


def test_what_is_null_is_left_out(site, served):
    identity = site.database.add_migration("m", status=1)
    migration = served(identity)
    assert set(ALWAYS) <= set(migration)
    assert not set(WHERE_KNOWN) & set(migration)
    assert migration["batching_strategy"] == ""


@pytest.mark.parametrize("number, status", [*rows.STATUS.items(), (5, "unknown"), (-1, "unknown"), (32767, "unknown")])
def test_status(site, served, number, status):
    assert served(site.database.add_migration("m", status=number))["status"] == status


@pytest.mark.parametrize("code, error", rows.ERROR.items())
def test_error(site, served, code, error):
    migration = served(site.database.add_migration("m", status=3, failure_error_code=code))
    assert (migration["error_code"], migration["error"]) == (code, error)


def test_an_error_code_unheard_of_keeps_its_number(site, served):
    assert served(site.database.add_migration("m", status=3, failure_error_code=99))["error_code"] == 99


@pytest.mark.parametrize("strategy", [None, "", "NullKeySetBatchingStrategy"])
def test_batching_strategy(site, served, strategy):
    assert served(site.database.add_migration("m", batching_strategy=strategy))["batching_strategy"] == (strategy or "")


def test_the_columns_have_their_names_in_the_answer(site, served):
    columns = {"table_name": "public.t", "column_name": "c", "job_signature_name": "j"}
    migration = served(site.database.add_migration("n", **columns))
    named = [migration[name] for name in ("name", "target_table", "target_column", "job_signature_name")]
    assert named == ["n", "public.t", "c", "j"]


@pytest.mark.parametrize("value", [INT64_MAX, INT64_MIN, 2**53 + 1, 0], ids=["max", "min", "2^53+1", "0"])
def test_integers_keep_their_64_bits(site, served, token, value):
    identity = site.database.add_migration("m", min_value=value, max_value=value, total_tuple_count=value)
    migration = served(identity)
    for name in ("min_value", "max_value", "total_tuple_count"):
        assert type(migration[name]) is int and migration[name] == value
    body = site.client.get(routes.one(identity), token).body.decode()
    for name in ("min_value", "max_value", "total_tuple_count"):
        assert re.search(rf'"{name}"\s*:\s*{value}\s*[,}}]', body), body


def test_the_largest_id_is_served(site, served):
    assert served(site.database.add_migration("m", id=INT64_MAX))["id"] == INT64_MAX


def test_the_largest_sizes_are_served(site, served):
    migration = served(site.database.add_migration("m", batch_size=INT32_MAX, sub_batch_size=INT32_MAX))
    assert (migration["batch_size"], migration["sub_batch_size"]) == (INT32_MAX, INT32_MAX)


@pytest.mark.parametrize(
    "text",
    [
        "with \"double\" and 'single' quotes",
        "<script>alert(1)</script> & co",
        "back\\slash / slash \\u0041 \\n",
        "Größe, naïve, Łódź, Ελλάδα, 日本語, 🦊",
        "".join(map(chr, range(1, 32))) + "\x7f",
        "line separator \u2028, paragraph \u2029, byte order mark \ufeff, last \U0010ffff",
        " spaces around ",
        "combining e\u0301 is not \u00e9",
        "%s %n %d %%",
        "x" * 20000,
        "é" * 20001,
    ],
    ids=[
        "quotes", "markup", "backslashes", "letters of the world", "control characters", "odd code points",
        "spaces", "combining", "format", "long", "long with two bytes each",
    ],
)  # fmt: skip
def test_text_arrives_intact(site, served, text):
    columns = {"job_signature_name": text, "table_name": text, "column_name": text, "batching_strategy": text}
    # The name has a unique index, whose entries cannot be as long as the rest.
    migration = served(site.database.add_migration(text[:2000], **columns))
    assert migration["name"] == text[:2000]
    for name in ("job_signature_name", "target_table", "target_column", "batching_strategy"):
        assert migration[name] == text


# Times


@pytest.mark.parametrize(
    "moment",
    [
        "2024-02-29 23:59:59.999999+00",
        "2025-06-30 12:00:00+05:30",
        "2025-01-01 00:00:00.000001-11",
        "1999-12-31 23:00+00",
    ],
)
def test_times_are_utc_to_the_microsecond(site, served, moment):
    identity = site.database.add_migration("m", **{name: moment for name in rows.TIMES})
    assert_as_in_database([served(identity)], site.database)


def test_times_do_not_depend_on_the_settings_of_the_database(servers, token):
    """The database's and the role's own time zone and date style are the operator's business."""
    with servers.database() as database:
        for setting in ("timezone TO 'Asia/Kathmandu'", "datestyle TO 'SQL, DMY'", "intervalstyle TO 'iso_8601'",
                        "extra_float_digits TO 0", "lc_numeric TO 'C'", "bytea_output TO 'escape'"):  # fmt: skip
            database.execute(f"ALTER DATABASE {database.name} SET {setting}")
        columns = {name: "2025-06-30 22:33:44.5+00" for name in rows.TIMES}
        identity = database.add_migration("m", total_tuple_count=3, batch_size=1, **columns)
        database.add_jobs(identity, JOB_FINISHED, 1)
        with servers.site(database) as site:
            assert_as_in_database(site.client.get(routes.LIST, token).json["migrations"], database)


# Progress


@pytest.mark.parametrize(
    "columns, finished_jobs, expected",
    [
        ({"status": 1, "total_tuple_count": 1000, "batch_size": 10}, 0, (0, False)),
        ({"status": 1, "total_tuple_count": 1000, "batch_size": 10}, 25, (25, False)),
        ({"status": 0, "total_tuple_count": 3, "batch_size": 1}, 1, (100 / 3, False)),
        ({"status": 4, "total_tuple_count": 1000, "batch_size": 999}, 1, (99.9, False)),
        ({"status": 4, "total_tuple_count": 10000, "batch_size": 9999}, 1, (99.99, False)),
        ({"status": 4, "total_tuple_count": 1000, "batch_size": 1000}, 1, (99.9, True)),
        ({"status": 3, "total_tuple_count": 1000, "batch_size": 700}, 3, (99.9, True)),
        ({"status": 7, "total_tuple_count": 1000, "batch_size": 700}, 1, (70, False)),
        ({"status": 1, "total_tuple_count": INT64_MAX, "batch_size": 2**30}, 2, (2**31 / INT64_MAX * 100, False)),
        ({"status": 1, "total_tuple_count": 1, "batch_size": INT32_MAX}, 9, (99.9, True)),
        ({"status": 2, "total_tuple_count": 1000, "batch_size": 10}, 0, (100, False)),
        ({"status": 2, "total_tuple_count": 1000, "batch_size": 1000}, 2, (100, False)),
        ({"status": 2, "total_tuple_count": None}, 0, (100, False)),
        ({"status": 2, "total_tuple_count": 0}, 0, (100, False)),
        ({"status": 1, "total_tuple_count": None}, 5, None),
        ({"status": 1, "total_tuple_count": 0}, 5, None),
        ({"status": 1, "total_tuple_count": -5}, 5, None),
        ({"status": 3, "total_tuple_count": None}, 5, None),
    ],
)  # fmt: skip
def test_progress(site, served, columns, finished_jobs, expected):
    identity = site.database.add_migration("m", **columns)
    site.database.add_jobs(identity, JOB_FINISHED, finished_jobs)
    site.database.add_jobs(identity, JOB_FAILED, 3)
    migration = served(identity)
    if expected is None:
        assert "progress" not in migration and "capped" not in migration
        return
    progress, capped = expected
    assert float(migration["progress"]) == pytest.approx(progress, rel=1e-12)
    assert migration["capped"] is capped


def test_a_capped_progress_is_99_9_in_the_raw_text(site, token):
    identity = site.database.add_migration("m", total_tuple_count=10, batch_size=10)
    site.database.add_jobs(identity, JOB_FINISHED, 1)
    for path in (routes.LIST, routes.one(identity)):
        body = site.client.get(path, token).body
        assert re.search(rb'"progress"\s*:\s*99\.9\s*[,}]', body), body


# 11, 12 and 55 take all 17 digits that a decimal can need.
@pytest.mark.parametrize("total", [3, 7, 11, 12, 55, 997, 123457, 2**40 + 1])
def test_decimals_are_as_short_as_they_round_trip(site, served, total):
    identity = site.database.add_migration("m", total_tuple_count=total, batch_size=1)
    site.database.add_jobs(identity, JOB_FINISHED, 2)
    progress = served(identity)["progress"]
    assert float(progress) in (2 / total * 100, 2 * 100 / total)
    assert progress == Decimal(repr(float(progress)))


# One that is not there


@pytest.mark.parametrize("identity", [7, 1, INT64_MAX])
def test_an_absent_id_is_not_found(site, token, identity):
    answer = site.client.get(routes.one(identity), token)
    assert answer.status == 404
    assert answer.header("Content-Type") == "application/json"
    assert answer.json == {
        "errors": [
            {
                "code": "BBM_ID_NOT_FOUND",
                "message": "provided BBM Id has not been found",
                "detail": f"BBM with ID {identity} not found",
            }
        ]
    }


@pytest.mark.parametrize("digits", ["9223372036854775808", "18446744073709551617", "9" * 40, "1" + "0" * 300])
def test_digits_that_are_no_int64_are_an_invalid_id(site, token, digits):
    site.database.add_migration("m", id=1)
    answer = site.client.get(routes.one(digits), token)
    assert answer.status == 400
    assert answer.header("Content-Type") == "application/json"
    assert answer.json == ID_INVALID
