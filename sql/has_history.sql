-- Whether there is a history (sql/history.sql), and this role may read and write it.
--   psql -f sql/has_history.sql
--
-- It counts only where the owner of the registry's tables or a superuser has made it: a trigger of
-- anybody else would run with this role's rights.
SELECT pg_catalog.count(*) = 2 AS has_history
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS owner ON owner.oid = c.relowner
 WHERE n.nspname = 'bbm_fcgi'
   AND c.relname IN ('actions', 'changes')
   AND n.nspowner = c.relowner
   AND (owner.rolsuper
        OR owner.oid = (SELECT relowner
                          FROM pg_catalog.pg_class
                         WHERE oid = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid))
   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
   AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
