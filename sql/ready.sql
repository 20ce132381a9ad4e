-- A round trip that needs no table and takes no lock: is there a database that answers?
--   psql -f sql/ready.sql
SELECT 1 AS ready
