-- Who paused the paused migrations (0), all or the one with this id, where the history knows: the
-- last change of a migration is a pause's where it has the pause's moment as updated_at.
--   psql -v id=NULL -f sql/paused_by.sql
SELECT m.id,
       a.at,
       a.actor,
       a.reason
  FROM public.batched_background_migrations AS m
  JOIN bbm_fcgi.actions AS a ON a.at = m.updated_at
  JOIN bbm_fcgi.changes AS c ON c.action_id = a.id AND c.migration_id = m.id
 WHERE (:id::bigint IS NULL OR m.id = :id::bigint)
   AND m.status = 0
   AND c.status = 0
 ORDER BY m.id
