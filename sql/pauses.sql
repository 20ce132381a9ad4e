-- Who paused the paused migrations (0), all or the one with this id, where the history knows: the
-- last change of a migration is a pause's where it has the pause's moment as updated_at.
--   psql -v id=NULL -f sql/pauses.sql
SELECT m.id,
       a.at,
       a.actor,
       a.reason
  FROM public.batched_background_migrations AS m
 CROSS JOIN LATERAL (
       SELECT action_id, status
         FROM bbm_fcgi.changes
        WHERE migration_id = m.id
        ORDER BY action_id DESC
        LIMIT 1) AS last
  JOIN bbm_fcgi.actions AS a ON a.id = last.action_id
 WHERE (:id::bigint IS NULL OR m.id = :id::bigint)
   AND m.status = 0
   AND last.status = 0
   AND a.at = m.updated_at
 ORDER BY m.id
