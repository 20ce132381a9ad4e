-- Waits until no other change under this correlation id is under way. It goes before a statement that
-- may begin an action, in the same transaction, whose end releases the lock.
--   psql -v correlation_id="'x'" -f sql/lock_request.sql
--
-- Two equal requests that lock rows at the same moment would share them, and be two actions. PostgreSQL
-- takes the snapshot of a statement before the statement waits; so the lock is a statement of its own,
-- and the one after it sees what the holder before has committed.
--
-- The lock has two numbers: :class, which is "bbm" in ASCII, and a hash of the correlation id. The
-- worker's lock has one number, and pg_locks shows that as another objsubid (contract, section 7). Two
-- ids with the same hash wait for each other for as long as one statement takes.
--
-- Never prepared: planning it costs next to nothing.
\set class 1650617600

SELECT pg_catalog.pg_advisory_xact_lock(:class, pg_catalog.hashtext(:correlation_id::pg_catalog.text))
