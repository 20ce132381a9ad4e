-- Where in its run the worker is, read from its locks (contract, section 7).
--   psql -f sql/worker.sql
--
-- The holder of advisory lock 1 is the worker in a run; there is one at most (where the
-- lock is shared it is somebody else's). Locks are taken before what they are for, and
-- kept until its transaction ends:
--   on the migrations table, any       it has chosen its migration, or is about to
--   on the migrations table, to write  it sets one running, or has done so
--   on the jobs table, to write        it is past that step
-- pg_locks is read once. It is no snapshot, but that does no harm: a run that began while
-- it was read finds all that was committed before.
--
-- And whether there is an error code that a restart may clear: not on the oldest schema, and not
-- where the registry has been upgraded from it and sql/role.sql not been run again since (the
-- worker clears it, too, when it begins).
WITH locks AS MATERIALIZED (
    SELECT locktype, database, classid, objid, objsubid, relation, transactionid, pid, mode
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
    SELECT locks.*
      FROM locks
      JOIN worker ON worker.pid = locks.pid),
transaction AS (
    SELECT transactionid AS xid
      FROM held
     WHERE locktype = 'transactionid'
       AND mode = 'ExclusiveLock')
SELECT EXISTS (SELECT FROM worker) AS in_run,
       EXISTS (SELECT FROM held
                WHERE relation = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid) AS has_chosen,
       EXISTS (SELECT FROM held
                WHERE relation = 'public.batched_background_migration_jobs'::pg_catalog.regclass::pg_catalog.oid
                  AND mode = 'RowExclusiveLock') AS past_choosing,
       EXISTS (SELECT FROM public.batched_background_migrations AS m
                 JOIN transaction ON m.xmax = transaction.xid) AS has_marked,
       EXISTS (SELECT FROM public.batched_background_migrations
                WHERE status = 4) AS one_is_running,
       (SELECT pg_catalog.array_agg(xid)::pg_catalog.text FROM transaction) AS xids,
       EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid
                  AND attname = 'failure_error_code'
                  AND NOT attisdropped
                  AND pg_catalog.has_column_privilege(attrelid, attnum, 'UPDATE')) AS has_error_code
