-- What the history adds to pause.sql, resume.sql and restart.sql: these CTEs take the place of those
-- of the same name. So the change and its record are one statement, and neither is made alone.
--
-- An action gets its id when all rows of its first pass are locked: the count of `changed` waits for
-- them. So where two actions change one migration, the later one has the higher id. A change of a
-- further pass may still come after a change with a higher id.
--
-- :action_id is the action that an earlier pass has begun; NULL: this change begins it.
-- :repeat_of is that of an earlier request, which this one repeats: what that one changed already,
-- and what a later action has changed since, is left alone. NULL: it repeats none.
-- :seen is the newest action under this correlation id when the service looked for one that the
-- request repeats; 0: there was none. A newer one may be that of an equal request: the pass was
-- overtaken, it changes nothing, and the service looks again. The lock of sql/lock_request.sql ensures
-- that no such action is under way. NULL: there is nothing to compare.
left_alone AS (
    SELECT migration_id AS id, action_id > :repeat_of::bigint AS later
      FROM bbm_fcgi.changes
     WHERE action_id >= :repeat_of::bigint),
overtaken AS (
    SELECT id
      FROM bbm_fcgi.actions
     WHERE correlation_id = :correlation_id::pg_catalog.text
       AND id > :seen::bigint),
action AS (
    INSERT INTO bbm_fcgi.actions (
        at, action, actor, token_id, remote_addr, correlation_id, reason, migration_id)
    SELECT COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()), :action::pg_catalog.text,
           :actor::pg_catalog.text, :token_id::pg_catalog.text, :remote_addr::pg_catalog.text,
           :correlation_id::pg_catalog.text, :reason::pg_catalog.text, :id::bigint
     WHERE :action_id::bigint IS NULL
       AND (SELECT pg_catalog.count(*) FROM changed) > 0
    RETURNING id),
-- A pause may have to pause a migration twice; the record then is the first time's.
recorded AS (
    INSERT INTO bbm_fcgi.changes (
        action_id, migration_id, migration_name, previous_status, status)
    SELECT COALESCE(:action_id::bigint, (SELECT id FROM action)), id, name, previous_status, status
      FROM changed
    ON CONFLICT DO NOTHING)
