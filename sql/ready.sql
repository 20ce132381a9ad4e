-- Whether the database has all that the service needs: both tables can be read, in all of their
-- columns, or this fails; and what else may be missing. No row of the tables is read.
--   psql -f sql/ready.sql
--
-- Never prepared: it is asked seldom.
SELECT pg_catalog.has_column_privilege('public.batched_background_migrations', 'status', 'UPDATE')
       AND pg_catalog.has_column_privilege('public.batched_background_migrations', 'updated_at', 'UPDATE')
       AND pg_catalog.has_column_privilege('public.batched_background_migration_jobs', 'attempts', 'UPDATE')
       -- On the first schema, 2024-06, there is no error code to be cleared.
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                        WHERE attrelid = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid
                          AND attname = 'failure_error_code'
                          AND NOT attisdropped
                          AND NOT pg_catalog.has_column_privilege(attrelid, attnum, 'UPDATE')) AS may_update,
       -- Under row-level security, rows are hidden where no policy shows all of them.
       EXISTS (SELECT FROM pg_catalog.pg_class AS c
                WHERE c.oid IN ('public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid,
                                'public.batched_background_migration_jobs'::pg_catalog.regclass::pg_catalog.oid)
                  AND pg_catalog.row_security_active(c.oid)
                  AND (NOT EXISTS (SELECT FROM pg_catalog.pg_policy
                                    WHERE polrelid = c.oid
                                      AND polpermissive
                                      AND polcmd IN ('r', '*')
                                      AND pg_catalog.pg_get_expr(polqual, polrelid) = 'true')
                       OR EXISTS (SELECT FROM pg_catalog.pg_policy
                                   WHERE polrelid = c.oid
                                     AND NOT polpermissive
                                     AND polcmd IN ('r', '*')))) AS rows_hidden,
       EXISTS (SELECT m.* FROM public.batched_background_migrations AS m WHERE false) AS no_migration,
       EXISTS (SELECT j.* FROM public.batched_background_migration_jobs AS j WHERE false) AS no_job
