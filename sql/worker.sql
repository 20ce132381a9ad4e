-- Whether a worker is in a run at this moment: it holds advisory lock 1 of this
-- database for as long as its run lasts (contract, section 7).
--   psql -f sql/worker.sql
SELECT EXISTS (
       SELECT
         FROM pg_locks
        WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid = 0
          AND objid = 1
          AND objsubid = 1
          AND granted) AS in_run
