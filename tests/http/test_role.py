"""The role of sql/role.sql has the rights that the service needs, and no others."""

import contextlib
import os

import psycopg2
import pytest
from harness.postgres import REPOSITORY, SERVICE_ROLE

TABLES = {"batched_background_migrations", "batched_background_migration_jobs"}
MAY_UPDATE = {
    ("batched_background_migrations", "status"),
    ("batched_background_migrations", "updated_at"),
    ("batched_background_migrations", "failure_error_code"),
    ("batched_background_migration_jobs", "attempts"),
}
SCRIPT = os.path.join(REPOSITORY, "sql", "role.sql")


@pytest.fixture(scope="module")
def database(servers):
    with servers.database() as database:
        database.execute("CREATE TABLE repositories (id bigint PRIMARY KEY, path text)")
        database.execute("CREATE SCHEMA partitions CREATE TABLE blobs (id bigint)")
        migration = database.add_migration("m", status=1)
        database.add_jobs(migration, 2, 2)
        yield database


@pytest.fixture
def role(servers, database):
    with contextlib.closing(servers.cluster.connect(database.name, SERVICE_ROLE)) as connection:
        yield connection.cursor()


def relations(database):
    return database.rows(
        "SELECT c.oid, n.nspname, relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname !~ '^(pg_|information_schema)'"
    )


def test_its_privileges_on_relations(database):
    for relation in relations(database):
        if relation["relkind"] == "S":
            kinds, granted = ("USAGE", "SELECT", "UPDATE"), set()
            function = "has_sequence_privilege"
        else:
            kinds = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
            granted = {"SELECT"} if relation["relname"] in TABLES else set()
            function = "has_table_privilege"
        for kind in kinds:
            row = database.rows(f"SELECT {function}(%s, %s::oid, %s) AS may", (SERVICE_ROLE, relation["oid"], kind))[0]
            assert row["may"] == (kind in granted), f"{kind} on {relation['relname']}"


def test_its_privileges_on_columns(database):
    columns = database.rows(
        "SELECT relname, attname, has_column_privilege(%s, c.oid, attnum, 'UPDATE') AS may_update,"
        " has_column_privilege(%s, c.oid, attnum, 'INSERT, REFERENCES') AS may_more FROM pg_attribute"
        " JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE attnum > 0 AND NOT attisdropped AND relkind = 'r' AND nspname !~ '^(pg_|information_schema)'",
        (SERVICE_ROLE, SERVICE_ROLE),
    )
    assert len(columns) > 25
    assert {(c["relname"], c["attname"]) for c in columns if c["may_update"]} == MAY_UPDATE
    assert [c for c in columns if c["may_more"]] == []


def test_it_has_no_attributes_memberships_or_possessions(database):
    (row,) = database.rows("SELECT * FROM pg_roles WHERE rolname = %s", (SERVICE_ROLE,))
    for attribute in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"):
        assert row[attribute] is False
    assert database.rows("SELECT 1 FROM pg_auth_members WHERE member = %s", (row["oid"],)) == []
    assert database.rows("SELECT 1 FROM pg_shdepend WHERE refobjid = %s AND deptype = 'o'", (row["oid"],)) == []


FORBIDDEN = {
    "insert a migration": "INSERT INTO public.batched_background_migrations (name) VALUES ('x')",
    "delete migrations": "DELETE FROM public.batched_background_migrations",
    "truncate": "TRUNCATE public.batched_background_migrations CASCADE",
    "rename a migration": "UPDATE public.batched_background_migrations SET name = 'x'",
    "another job": "UPDATE public.batched_background_migrations SET job_signature_name = 'x'",
    "another batch size": "UPDATE public.batched_background_migrations SET batch_size = 1",
    "insert a job": "INSERT INTO public.batched_background_migration_jobs (min_value, max_value) VALUES (1, 1)",
    "delete jobs": "DELETE FROM public.batched_background_migration_jobs",
    "finish a job": "UPDATE public.batched_background_migration_jobs SET status = 2",
    "lock a table": "BEGIN; LOCK TABLE public.batched_background_migrations IN EXCLUSIVE MODE",
    "read another table": "SELECT * FROM public.repositories",
    "read another schema": "SELECT * FROM partitions.blobs",
    "make a table": "CREATE TABLE public.x (id int)",
    "make a schema": "CREATE SCHEMA x",
    "make a function": "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "change a table": "ALTER TABLE public.batched_background_migrations ADD COLUMN x int",
    "drop an index": "DROP INDEX public.index_batched_background_migrations_on_status",
    "make a role": "CREATE ROLE x",
    "become another": "SET ROLE postgres",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "write a file": "COPY public.batched_background_migrations TO '/tmp/x'",
    "run a program": "COPY public.batched_background_migrations TO PROGRAM 'true'",
    "end the worker": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
def test_it_may_not(role, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        role.execute(statement)


def test_it_does_not_see_others_statements(role):
    role.execute("SELECT count(*) FROM pg_stat_activity WHERE usename <> current_user AND query !~ '^(<insuff.*)?$'")
    assert role.fetchone() == (0,)


def test_its_search_path_has_no_schema_public(role):
    role.execute("SHOW search_path")
    assert role.fetchone() == ("pg_catalog, pg_temp",)


def test_its_time_limits_apply_to_each_session(role):
    """They are set on the role, because a client's SET has no effect behind PgBouncer."""
    for name, expected in (
        ("statement_timeout", "30s"), ("lock_timeout", "30s"), ("idle_in_transaction_session_timeout", "1min"),
    ):  # fmt: skip
        role.execute(f"SHOW {name}")
        assert role.fetchone() == (expected,)


def privileges(database):
    return database.rows(
        "SELECT relname, relacl::text, ARRAY(SELECT attname || attacl::text FROM pg_attribute"
        " WHERE attrelid = c.oid AND attacl IS NOT NULL ORDER BY attnum) AS columns FROM pg_class c"
        " WHERE relacl IS NOT NULL ORDER BY c.oid"
    ) + database.rows("SELECT * FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid WHERE rolname = %s ORDER BY setdatabase",
                      (SERVICE_ROLE,))  # fmt: skip


def test_it_cannot_give_its_rights_away(database, role):
    """PostgreSQL warns, and grants nothing."""
    before = privileges(database)
    role.execute("GRANT SELECT, UPDATE (name, status) ON public.batched_background_migrations TO PUBLIC")
    assert privileges(database) == before


def test_a_second_run_changes_nothing(servers, database):
    before = privileges(database)
    servers.cluster.psql(database.name, "-f", SCRIPT)
    assert privileges(database) == before


def test_additional_rights_are_taken_back(servers, database):
    before = privileges(database)
    database.execute(f"GRANT INSERT, DELETE, TRUNCATE, UPDATE ON batched_background_migrations TO {SERVICE_ROLE}")
    assert privileges(database) != before
    servers.cluster.psql(database.name, "-f", SCRIPT)
    assert privileges(database) == before


TOO_MUCH = {
    "superuser": "ALTER ROLE {role} SUPERUSER",
    "makes databases": "ALTER ROLE {role} CREATEDB",
    "makes roles": "ALTER ROLE {role} CREATEROLE",
    "replicates": "ALTER ROLE {role} REPLICATION",
    "sees all rows": "ALTER ROLE {role} BYPASSRLS",
    "is a member": "GRANT pg_read_all_data TO {role}",
    "owns a table": "CREATE TABLE owned_{role} (); ALTER TABLE owned_{role} OWNER TO {role}",
}


@pytest.mark.parametrize("statement", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_role_that_may_do_more_is_refused(servers, database, statement):
    other = servers.unique("mighty").replace("-", "_")
    database.execute(f"CREATE ROLE {other}")
    database.execute(statement.format(role=other))
    with pytest.raises(AssertionError, match="has attributes, memberships or tables of its own"):
        servers.cluster.psql(database.name, "-v", f"role={other}", "-f", SCRIPT)
    # Nothing was done: not even the login.
    assert database.rows("SELECT rolcanlogin AS may FROM pg_roles WHERE rolname = %s", (other,))[0]["may"] is False
    database.execute(f"DROP OWNED BY {other}; DROP ROLE {other}")


def test_its_time_limits_are_parameters(servers, database):
    other = "bbm_fcgi_with_limits"
    servers.cluster.psql(database.name, "-v", f"role={other}", "-v", "statement_timeout=7s", "-f", SCRIPT)
    with contextlib.closing(servers.cluster.connect(database.name, other)) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("7s",)
