-- One pass of an undo: makes active (1) the migrations that the pause :undoes has paused, if they are
-- paused (0) by it still, and nobody has acted on them since. No row: there is no such pause.
--   psql -v undoes=1 -v action_id=NULL -v seen=NULL -v at=NULL -v dry_run=true -v actor=NULL \
--        -v token_id=NULL -v remote_addr=NULL -v correlation_id="'x'" -v reason=NULL -f sql/undo.sql
--
-- Every action gives the migrations that it changes its own moment as updated_at. So a pause is the
-- last change of a migration that has the pause's, and later is the other action that has changed it
-- last, where the history knows it. status is NULL where the migration is gone.
--
-- changed and held: as in pause.sql. The other variables, and the record: as in recorded.sql.
WITH overtaken AS (
    SELECT id
      FROM bbm_fcgi.actions
     WHERE correlation_id = :correlation_id::pg_catalog.text
       AND id > :seen::bigint),
pause AS (
    SELECT id, at
      FROM bbm_fcgi.actions
     WHERE id = :undoes::bigint
       AND action = 'pause'),
target AS (
    SELECT paused.migration_id AS id, paused.migration_name AS name, pause.at
      FROM pause
      JOIN bbm_fcgi.changes AS paused ON paused.action_id = pause.id),
candidate AS (
    SELECT target.id,
           COALESCE(m.name, target.name) AS name,
           m.status,
           m.status = 0 AND m.updated_at = target.at AS wanted,
           (SELECT pg_catalog.max(since.id)
              FROM bbm_fcgi.actions AS since
              JOIN bbm_fcgi.changes AS change ON change.action_id = since.id
             WHERE since.at = m.updated_at
               AND change.migration_id = m.id
               AND since.id <> :undoes::bigint) AS later
      FROM target
      LEFT JOIN public.batched_background_migrations AS m ON m.id = target.id),
locked AS (
    SELECT m.id
      FROM public.batched_background_migrations AS m
      JOIN target ON target.id = m.id
     WHERE m.status = 0
       AND m.updated_at = target.at
       AND NOT EXISTS (SELECT FROM overtaken)
     ORDER BY m.id
       FOR NO KEY UPDATE OF m SKIP LOCKED),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 1,
           updated_at = COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now())
      FROM locked
     WHERE m.id = locked.id
       AND NOT :dry_run::boolean
    RETURNING m.id, m.name, 0 AS previous_status, m.status),
action AS (
    INSERT INTO bbm_fcgi.actions (
        at, action, actor, token_id, remote_addr, correlation_id, reason, undoes)
    SELECT COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()), 'resume',
           :actor::pg_catalog.text, :token_id::pg_catalog.text, :remote_addr::pg_catalog.text,
           :correlation_id::pg_catalog.text, :reason::pg_catalog.text, :undoes::bigint
     WHERE :action_id::bigint IS NULL
       AND (SELECT pg_catalog.count(*) FROM changed) > 0
    RETURNING id),
recorded AS (
    INSERT INTO bbm_fcgi.changes (
        action_id, migration_id, migration_name, previous_status, status)
    SELECT COALESCE(:action_id::bigint, (SELECT id FROM action)), id, name, previous_status, status
      FROM changed
    ON CONFLICT DO NOTHING)
SELECT candidate.id,
       candidate.name,
       candidate.status AS previous_status,
       changed.id IS NOT NULL OR (:dry_run::boolean AND locked.id IS NOT NULL) AS changed,
       candidate.wanted AND locked.id IS NULL AND changed.id IS NULL AS held,
       EXISTS (SELECT FROM overtaken) AS overtaken,
       (SELECT id FROM action) AS action_id,
       COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()) AS at,
       candidate.later
  FROM candidate
  LEFT JOIN locked ON locked.id = candidate.id
  LEFT JOIN changed ON changed.id = candidate.id
 ORDER BY candidate.id
