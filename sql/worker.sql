-- Where in its run the worker is, read from its locks (contract, section 7).
--   psql -f sql/worker.sql
--
-- The holder of advisory lock 1 is the worker in a run; there is one at most. Locks are
-- taken before what they are for, and kept until its transaction ends:
--   on the migrations table, any       it has chosen its migration, or is about to
--   on the migrations table, to write  it sets one running, or has done so
--   on the jobs table, to write        that is behind it
-- pg_locks is read once, so that all of this is of one moment.
WITH locks AS MATERIALIZED (
    SELECT locktype, database, classid, objid, objsubid, relation, transactionid, pid, mode
      FROM pg_locks
     WHERE granted),
worker AS (
    SELECT pid
      FROM locks
     WHERE locktype = 'advisory'
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND classid = 0
       AND objid = 1
       AND objsubid = 1),
held AS (
    SELECT locks.*
      FROM locks
      JOIN worker ON worker.pid = locks.pid),
transaction AS (
    SELECT transactionid AS xid
      FROM held
     WHERE locktype = 'transactionid')
SELECT EXISTS (SELECT FROM worker) AS in_run,
       EXISTS (SELECT FROM held
                WHERE relation = 'batched_background_migrations'::regclass) AS has_chosen,
       EXISTS (SELECT FROM held
                WHERE relation = 'batched_background_migration_jobs'::regclass
                  AND mode = 'RowExclusiveLock') AS past_choosing,
       EXISTS (SELECT FROM batched_background_migrations AS m
                 JOIN transaction ON m.xmax = transaction.xid) AS has_marked,
       EXISTS (SELECT FROM batched_background_migrations
                WHERE status = 4) AS one_is_running,
       (SELECT xid::text FROM transaction) AS xid
