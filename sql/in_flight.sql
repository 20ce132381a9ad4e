-- Whether the worker is in a run, which migration it holds, and since when, as far as its locks tell
-- (contract, section 7).
--   psql -f sql/in_flight.sql
--
-- A migration bears the worker's transaction where the worker has updated it, or has added a job to it,
-- whose foreign key locks it. A failed job that is tried again leaves no such mark: the migration is
-- then not known. PostgreSQL shows when the run began only to the worker's own role, and to a role that
-- has been granted pg_read_all_stats.
WITH locks AS MATERIALIZED (
    SELECT locktype, database, classid, objid, objsubid, transactionid, pid, mode
      FROM pg_catalog.pg_locks
     WHERE granted),
worker AS (
    SELECT pid
      FROM locks
     WHERE locktype = 'advisory'
       AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
       AND classid = '0'
       AND objid = '1'
       AND objsubid = 1
       AND mode = 'ExclusiveLock'),
held AS (
    SELECT DISTINCT m.id
      FROM public.batched_background_migrations AS m
      JOIN locks ON m.xmax = locks.transactionid
      JOIN worker ON worker.pid = locks.pid
     WHERE locks.locktype = 'transactionid'
       AND locks.mode = 'ExclusiveLock')
SELECT EXISTS (SELECT FROM worker) AS in_run,
       (SELECT id FROM held WHERE (SELECT pg_catalog.count(*) FROM held) = 1) AS migration_id,
       (SELECT activity.xact_start
          FROM pg_catalog.pg_stat_activity AS activity
          JOIN worker ON worker.pid = activity.pid) AS since
