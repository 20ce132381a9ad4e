-- The role that the service connects as: it may read the two tables and change the few columns that
-- a pause, a resume or a restart changes, nothing else. To be run in the registry's metadata database,
-- by the tables' owner with CREATEROLE or by a superuser, and again after an upgrade of the registry
-- has added columns; running it twice changes nothing.
--
--     psql -d registry -f role.sql
--     psql -d registry -v role=bbm_fcgi -v password=... -v statement_timeout=10s -f role.sql
--
-- A password given with -v can be seen in the list of processes while psql runs; \password in psql,
-- after this script without one, avoids that.

\set ON_ERROR_STOP on
\if :{?role} \else \set role bbm_fcgi \endif
\if :{?statement_timeout} \else \set statement_timeout 30s \endif
\if :{?lock_timeout} \else \set lock_timeout 30s \endif
\if :{?idle_in_transaction_session_timeout} \else \set idle_in_transaction_session_timeout 60s \endif

BEGIN;

-- This runs with great rights, so nothing that others can create in schema public may be used in place
-- of PostgreSQL's functions and operators here.
SET LOCAL search_path TO pg_catalog, pg_temp;

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

-- A role that was there before may be able to do more than this script gives. It is refused rather
-- than cut down, because something else may live on it.
SELECT format(
    'DO %L',
    format(
        'BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END',
        format('role %I has attributes, memberships or tables of its own', :'role'),
        'Name another role with -v role=...'
    )
)
FROM pg_roles
WHERE rolname = :'role'
    AND (
        rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
        OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
        OR EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)
    )
\gexec

ALTER ROLE :"role" LOGIN;
\if :{?password}
    ALTER ROLE :"role" PASSWORD :'password';
\endif

-- Limits of the role hold for each of its sessions, also behind PgBouncer in transaction pooling, where
-- a client's own SET reaches any server connection. They are the last resort, so they are longer than
-- the service's own deadlines.
-- No statement of the service needs longer than this.
ALTER ROLE :"role" SET statement_timeout TO :'statement_timeout';
-- The worker may hold a migration's row for minutes; a session waiting for it blocks a connection.
ALTER ROLE :"role" SET lock_timeout TO :'lock_timeout';
-- A service that hangs or loses its network in a transaction must not hold rows that the worker needs.
ALTER ROLE :"role" SET idle_in_transaction_session_timeout TO :'idle_in_transaction_session_timeout';
-- Every statement of the service names the schema of what it uses. With this, no object that others
-- create in schema public is even looked at.
ALTER ROLE :"role" SET search_path TO pg_catalog, pg_temp;

-- Only where it has been taken from PUBLIC: it is the database owner's to give.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
WHERE NOT has_database_privilege(:'role', current_database(), 'CONNECT')
\gexec

GRANT USAGE ON SCHEMA public TO :"role";

-- Taken back first, so that what follows is all the role has on them, whatever it was given before.
REVOKE ALL
    ON public.batched_background_migrations, public.batched_background_migration_jobs FROM :"role";
GRANT SELECT
    ON public.batched_background_migrations, public.batched_background_migration_jobs TO :"role";
GRANT UPDATE (status, updated_at) ON public.batched_background_migrations TO :"role";
GRANT UPDATE (attempts) ON public.batched_background_migration_jobs TO :"role";

-- The error code, which a restart clears, is not there on the oldest registries.
SELECT format('GRANT UPDATE (failure_error_code) ON public.batched_background_migrations TO %I', :'role')
WHERE EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = 'public.batched_background_migrations'::regclass
        AND attname = 'failure_error_code'
        AND NOT attisdropped
)
\gexec

COMMIT;
