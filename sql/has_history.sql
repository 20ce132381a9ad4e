-- Whether there is a history (sql/history.sql), and this role may read and write it.
--   psql -f sql/has_history.sql
--
-- One that lacks a column, as of another version of the program, counts as none: no pause may fail
-- because of the history.
--
-- It counts only where the owner of the registry's tables or a superuser has made it: a trigger of
-- anybody else would run with this role's rights.
SELECT pg_catalog.count(*) = 2 AS has_history
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS owner ON owner.oid = c.relowner
 WHERE n.nspname = 'bbm_fcgi'
   AND c.relname IN ('actions', 'changes')
   AND (SELECT pg_catalog.count(*)
          FROM pg_catalog.pg_attribute
         WHERE attrelid = c.oid
           AND NOT attisdropped
           AND CASE c.relname
                    WHEN 'actions' THEN attname IN ('id', 'at', 'action', 'actor', 'token_id',
                        'remote_addr', 'correlation_id', 'reason', 'migration_id', 'undoes')
                    ELSE attname IN ('action_id', 'migration_id', 'migration_name',
                        'previous_status', 'status')
               END) = CASE c.relname WHEN 'actions' THEN 10 ELSE 5 END
   AND n.nspowner = c.relowner
   AND (owner.rolsuper
        OR owner.oid = (SELECT relowner
                          FROM pg_catalog.pg_class
                         WHERE oid = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid))
   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
   AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
