-- Makes every paused (0) migration active (1) again.
--   psql -f sql/resume.sql
WITH eligible AS (
    SELECT id, status
      FROM batched_background_migrations
     WHERE status = 0
     ORDER BY id
       FOR NO KEY UPDATE)
UPDATE batched_background_migrations AS m
   SET status = 1,
       updated_at = now()
  FROM eligible
 WHERE m.id = eligible.id
RETURNING m.id, m.name, eligible.status AS previous_status, m.status
