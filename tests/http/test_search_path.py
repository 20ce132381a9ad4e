"""No statement depends on search_path, and no object in schema public stands in for one of PostgreSQL's.

https://www.postgresql.org/docs/current/typeconv-oper.html: a better match in schema public wins over
a polymorphic one in pg_catalog, although pg_catalog comes first in every search_path.
"""

import contextlib
import glob
import itertools
import os
import re

import psycopg2
import pytest
from harness import database_proxies, fastcgi, routes
from harness.fastcgi import parameters
from harness.postgres import REPOSITORY, SERVICE_ROLE
from harness.timing import longer, milliseconds
from harness.worker import COMMIT, WORK, worker

# A role as the registry's own: it has rights on the tables, and nobody set its search_path.
PLAIN_ROLE = "registry_like"
INTRUDER = "intruder"
FAILED, ACTIVE = 3, 1
NUMBERS = itertools.count()

# Types that values in the statements have, or could be taken for.
TYPES = (
    "bool", "int2", "int4", "int8", "oid", "xid", "text", "varchar", "name", "regclass", "timestamptz", "interval",
)  # fmt: skip
ARRAYS = tuple(f"{name}[]" for name in TYPES)
POLYMORPHIC = {
    "anyelement", "anynonarray", "anyarray", "anycompatible", "anycompatiblearray", "anycompatiblenonarray", '"any"',
}  # fmt: skip


@contextlib.contextmanager
def filled(servers):
    with servers.database(history=True) as database:
        database.execute("CREATE TABLE some_table (id bigint)")
        for identity, status in ((ACTIVE, 1), (2, 4), (FAILED, 3), (4, 0), (5, 2)):
            database.add_migration(f"m{identity}", id=identity, status=status, failure_error_code=4)
            for state in (2, 3, 2):
                database.add_jobs(identity, state, 1, attempts=5)
        yield database


def ask(service, token, method, path, query=""):
    """With an id of its own, as a web server gives it: then a change also waits for equal requests."""
    number = f"request-{next(NUMBERS)}"
    return fastcgi.ask(service.address, parameters(method, path, token, QUERY_STRING=query, HTTP_X_REQUEST_ID=number))


def every_request(failed=FAILED):
    for route in routes.ROUTES + routes.LATER_ROUTES:
        yield route.method, routes.ONE_BASE + route.path.format(id=failed if "restart" in route.path else ACTIVE), ""
    yield "GET", routes.jobs(ACTIVE), "status=failed&n=1"
    yield "GET", routes.jobs(ACTIVE), "last=3"
    yield "POST", routes.action("pause", ACTIVE), "reason=x"
    yield "POST", routes.PAUSE, "dry_run=true"
    yield "GET", routes.actions(), "n=1"
    yield "POST", routes.RESUME, "action_id=1"
    yield "GET", "/-/readiness", ""
    yield "GET", routes.LIST, ""


def assert_all_answered(service, database, token, allowed=(200,)):
    wrong = []
    for method, path, query in every_request():
        database.execute("UPDATE public.batched_background_migrations SET status = 3 WHERE id = 3")
        answer = ask(service, token, method, path, query)
        if answer.status not in allowed:
            wrong.append((method, path, answer.status, service.entry(answer.header("X-Request-Id")).get("reason")))
    assert wrong == []


# What depends on search_path


@pytest.mark.parametrize("path", ["'$user'", "''", "pg_catalog, pg_temp", "elsewhere, public"])
@pytest.mark.parametrize("role", [SERVICE_ROLE, PLAIN_ROLE])
def test_any_search_path_of_the_database_or_the_role(servers, token, path, role):
    with filled(servers) as database:
        rights_without_a_search_path(database)
        database.execute("CREATE SCHEMA elsewhere CREATE TABLE batched_background_migrations (id text)")
        database.execute(f"GRANT USAGE ON SCHEMA elsewhere TO {PLAIN_ROLE}, {SERVICE_ROLE}")
        for whose in (f"DATABASE {database.name}", f"ROLE {role} IN DATABASE {database.name}"):
            database.execute(f"ALTER {whose} SET search_path = {path}")
        with servers.service(database.name, changes={"database": {"user": role}}) as service:
            assert_all_answered(service, database, token)


LEFT_OVER = (
    "SET search_path = ''",
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = 'serializable'",
    "SET default_transaction_isolation = 'repeatable read'",
    "CREATE TEMP TABLE batched_background_migrations (id text)",
    "CREATE TEMP TABLE batched_background_migration_jobs (id text)",
    "CREATE TEMP TABLE pg_locks (id text); CREATE TEMP TABLE pg_attribute (id text)",
    "CREATE TEMP TABLE pg_database (id text); CREATE TEMP TABLE pg_policy (id text); CREATE TEMP TABLE pg_class (id text)",
    "CREATE DOMAIN pg_temp.xid AS text; CREATE DOMAIN pg_temp.timestamptz AS text; CREATE DOMAIN pg_temp.text AS bigint",
    "CREATE DOMAIN pg_temp.regclass AS text",
    "PREPARE statement AS SELECT 1",
)


@pytest.mark.parametrize("left", LEFT_OVER)
def test_what_another_client_leaves_in_a_pooled_session(servers, token, left):
    with filled(servers) as database, one_session(servers, database) as place:
        database.execute(f"GRANT TEMP ON DATABASE {database.name} TO {SERVICE_ROLE}")
        with servers.service(database.name, changes={"database": place}) as service:
            with contextlib.closing(database_proxies.connect(place, database.name, SERVICE_ROLE)) as other, other.cursor() as cursor:
                cursor.execute(left)
            assert_all_answered(service, database, token)


@contextlib.contextmanager
def one_session(servers, database):
    """A pooler whose clients share one session, so that each finds what the others leave."""
    bouncer = database_proxies.PgBouncer(servers.workspace, servers.unique("pgbouncer"), database.cluster.port, pool_size=1)
    try:
        yield {"host": "127.0.0.1", "port": bouncer.port, "sslmode": "disable"}
    finally:
        bouncer.stop()


# What is captured


def sent():
    """The text of all statements, without comments."""
    text = []
    for path in glob.glob(os.path.join(REPOSITORY, "sql", "*.sql")):
        if os.path.basename(path) not in ("history.sql", "role.sql", "sample.sql"):
            with open(path, encoding="utf-8") as file:
                text += [line for line in file if not line.lstrip().startswith("--")]
    return "".join(text)


def rights_without_a_search_path(database):
    database.execute(
        f"DO $$ BEGIN CREATE ROLE {PLAIN_ROLE} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        f"DO $$ BEGIN CREATE ROLE {INTRUDER} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        "GRANT SELECT, UPDATE ON public.batched_background_migrations, public.batched_background_migration_jobs"
        f" TO {PLAIN_ROLE}; GRANT CREATE ON SCHEMA public TO {INTRUDER};"
        f"GRANT USAGE ON SCHEMA bbm_fcgi TO {PLAIN_ROLE};"
        f"GRANT SELECT, INSERT ON bbm_fcgi.actions, bbm_fcgi.changes TO {PLAIN_ROLE}"
    )


def capturing(name, arguments, result):
    arguments = ", ".join(arguments)
    return (
        f"CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'captured {name}({arguments})'; END $$;"
    )


def with_types(declared, concrete):
    """A polymorphic argument or result, for one concrete type of the elements."""
    if declared not in POLYMORPHIC:
        return declared
    return f"{concrete}[]" if declared.endswith("array") and "non" not in declared else concrete


def functions(cursor, words):
    """For each of PostgreSQL's functions that are called: the same on all types that it may be called with."""
    cursor.execute(
        "SELECT DISTINCT proname, proargtypes::regtype[]::text[], prorettype::regtype::text, proretset FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%s) AND pronargs <= 3",
        (sorted(words),),
    )
    for name, declared, result, is_set in cursor.fetchall():
        for concrete in TYPES:
            arguments = tuple(with_types(argument, concrete) for argument in declared)
            returned = with_types(result, concrete)
            yield name, arguments, f"SETOF {returned}" if is_set else returned
        for arguments in itertools.product(TYPES + ARRAYS, repeat=len(declared) if len(declared) < 3 else 0):
            if len(declared) < 3 and result not in POLYMORPHIC:
                yield name, arguments, f"SETOF {result}" if is_set else result


def operators(symbols):
    for symbol in sorted(symbols):
        for left, right in itertools.product(TYPES + ARRAYS, repeat=2):
            yield symbol, left, right, left if symbol in "+-*/||" else "bool"


def set_traps(database):
    """As the intruder, who may create in public and nothing else; gives back how many."""
    text = sent()
    words = set(re.findall(r"([a-z_0-9]+)\s*\(", text))
    symbols = set(re.findall(r"(?<![:.<>=~-])(<>|<=|>=|=|<|>|\+|-|~|\|\|)(?![<>=~-])", text))
    assert {"count", "now"} <= words and {"=", "<"} <= symbols
    count = 0
    with contextlib.closing(database.cluster.connect(database.name, INTRUDER)) as connection:
        with connection.cursor() as cursor:
            made = set()
            batch = []
            for name, arguments, result in functions(cursor, words):
                if (name, arguments) not in made and "internal" not in (result, *arguments) and "record" not in result:
                    made.add((name, arguments))
                    batch.append(capturing(name, arguments, result))
            for number, (symbol, left, right, result) in enumerate(operators(symbols)):
                batch.append(capturing(f"operator_{number}", (left, right), result))
                batch.append(f"CREATE OPERATOR public.{symbol} (FUNCTION = public.operator_{number},"
                             f" LEFTARG = {left}, RIGHTARG = {right});")  # fmt: skip
            for statement in batch:
                with contextlib.suppress(psycopg2.ProgrammingError):
                    cursor.execute(statement)
                    count += 1
    return count


@pytest.fixture(scope="module")
def trapped(servers):
    with filled(servers) as database:
        rights_without_a_search_path(database)
        assert set_traps(database) > 1000
        yield database


@pytest.mark.parametrize("role", [PLAIN_ROLE, SERVICE_ROLE])
def test_nothing_in_public_is_called(servers, trapped, token, role):
    """By reads with and without unfinished jobs, and by writes with a worker in each state of a run."""
    trapped.execute(f'ALTER ROLE {SERVICE_ROLE} IN DATABASE {trapped.name} SET search_path = "$user", public')
    changes = {"database": {"user": role}, "fcgi": {"timeout": milliseconds(longer(1))}}
    with servers.service(trapped.name, changes=changes) as service:
        assert_all_answered(service, trapped, token)
        with worker(trapped) as played:
            for step in (WORK, COMMIT):
                played.until(step)
                assert_all_answered(service, trapped, token, allowed=(200, 503))  # 503: the worker holds a row
            played.rollback()


def test_nothing_in_public_is_called_by_the_scripts(servers, trapped):
    """They are run by a role that may do much more."""
    servers.cluster.add_history(trapped.name)
    servers.cluster.psql(trapped.name, "-v", f"role={SERVICE_ROLE}", "-f", os.path.join(REPOSITORY, "sql", "role.sql"))


def test_a_trap_is_seen(trapped):
    """What this file is to find."""
    with contextlib.closing(trapped.cluster.connect(trapped.name, PLAIN_ROLE)) as connection:
        for captured in ("array_agg('1'::xid)", "ARRAY[1::bigint] = ARRAY[1::bigint]", "'1'::oid = 1",
                         "unnest(ARRAY[1::bigint])"):  # fmt: skip
            with connection.cursor() as cursor, pytest.raises(Exception, match="captured"):
                cursor.execute(f"SELECT {captured}")
