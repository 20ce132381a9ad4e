-- The history: who paused, resumed or restarted which migration, when and why. The service writes it in
-- the transaction of the change itself, and finds out by itself whether it is there; without it
-- everything else works. To be run in the registry's metadata database after role.sql, by the owner of
-- the registry's tables or by a superuser; running it twice changes nothing.
--
--     psql -d registry -f history.sql
--     psql -d registry -v role=bbm_fcgi -f history.sql
--
-- The service never deletes from it. To keep a year of it, now and then, as the owner:
--
--     DELETE FROM bbm_fcgi.actions WHERE at < now() - interval '1 year';

\set ON_ERROR_STOP on
\if :{?role} \else \set role bbm_fcgi \endif

BEGIN;

-- Nothing that somebody has put into another schema stands in for PostgreSQL's own.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

SELECT format(
    'DO %L',
    format(
        'BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END',
        format('there is no role %I', :'role'),
        'Run role.sql first, or name the role with -v role=...'
    )
)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

CREATE SCHEMA IF NOT EXISTS bbm_fcgi;

-- A schema or a table that somebody else has made could hold triggers of theirs.
SELECT format(
    'DO %L',
    format(
        'BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END',
        'the schema bbm_fcgi, or a table in it, belongs to somebody else',
        'Run this script as its owner, or drop the schema.'
    )
)
WHERE EXISTS (
    SELECT FROM pg_namespace
    WHERE nspname = 'bbm_fcgi' AND nspowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
)
OR EXISTS (
    SELECT FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'bbm_fcgi')
        AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
)
\gexec

-- One row for each request that changed something.
CREATE TABLE IF NOT EXISTS bbm_fcgi.actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The updated_at of every migration that it changed.
    at timestamp with time zone NOT NULL DEFAULT now(),
    action text NOT NULL CHECK (action = 'pause' OR action = 'resume' OR action = 'restart'),
    -- The token's subject and id, as far as it has them.
    actor text,
    token_id text,
    remote_addr text,
    -- The request's Idempotency-Key, or else its X-Request-Id.
    correlation_id text NOT NULL,
    reason text,
    -- The migration that was asked for; NULL: all.
    migration_id bigint,
    -- The action that this one takes back.
    undoes bigint
);

-- No foreign key into the registry's tables: a migration may go, and what was done to it stays known.
CREATE TABLE IF NOT EXISTS bbm_fcgi.changes (
    action_id bigint NOT NULL REFERENCES bbm_fcgi.actions ON DELETE CASCADE,
    migration_id bigint NOT NULL,
    migration_name text NOT NULL,
    previous_status smallint NOT NULL,
    status smallint NOT NULL,
    PRIMARY KEY (action_id, migration_id)
);

CREATE INDEX IF NOT EXISTS index_bbm_fcgi_changes_on_migration
    ON bbm_fcgi.changes (migration_id, action_id DESC);

-- To find the action that has changed a migration last, by its updated_at; and what is to be deleted.
CREATE INDEX IF NOT EXISTS index_bbm_fcgi_actions_on_at ON bbm_fcgi.actions (at);

-- To recognize a request that is sent again.
CREATE INDEX IF NOT EXISTS index_bbm_fcgi_actions_on_correlation_id
    ON bbm_fcgi.actions (correlation_id);

-- Taken back first, so that what follows is all the role has, whatever it was given before.
REVOKE ALL ON SCHEMA bbm_fcgi FROM PUBLIC, :"role";
REVOKE ALL ON ALL TABLES IN SCHEMA bbm_fcgi FROM PUBLIC, :"role";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA bbm_fcgi FROM PUBLIC, :"role";
GRANT USAGE ON SCHEMA bbm_fcgi TO :"role";
GRANT SELECT, INSERT ON bbm_fcgi.actions, bbm_fcgi.changes TO :"role";

COMMIT;
