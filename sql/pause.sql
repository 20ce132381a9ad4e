-- Pauses every migration that a worker could take up: active (1) or running (4).
--   psql -f sql/pause.sql
--
-- The rows are locked in one order, so that two such statements cannot wait for each
-- other; FOR NO KEY UPDATE, so that a worker's job (whose foreign key shares the row's
-- key) is no hindrance. What is returned is the status that was replaced, as it was
-- when the row was at last ours.
WITH eligible AS (
    SELECT id, status
      FROM batched_background_migrations
     WHERE status IN (1, 4)
     ORDER BY id
       FOR NO KEY UPDATE)
UPDATE batched_background_migrations AS m
   SET status = 0,
       updated_at = now()
  FROM eligible
 WHERE m.id = eligible.id
RETURNING m.id, m.name, eligible.status AS previous_status, m.status
