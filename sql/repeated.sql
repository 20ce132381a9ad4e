-- The action of the last ten minutes that a request repeats, with what it changed: the same caller
-- asked for the same under the same correlation id. One row without an id: there is none.
--
-- A caller may give all its requests one id. So a pause after a resume is a new request, not the
-- repeat of the pause before: what the caller asked for last must be done.
--   psql -v correlation_id="'x'" -v action="'pause'" -v actor=NULL -v token_id=NULL -v id=NULL \
--        -v undoes=NULL -f sql/repeated.sql
--
-- seen is the newest action under this correlation id, be it a repeat or not; 0: none. OFFSET 0, so that
-- it is found by the index on the correlation id: the primary key, read backwards, may be long.
SELECT c.migration_id AS id,
       c.migration_name AS name,
       c.previous_status,
       a.id AS action_id,
       a.at,
       newest.seen
  FROM (SELECT COALESCE(pg_catalog.max(id), 0) AS seen
          FROM (SELECT id
                  FROM bbm_fcgi.actions
                 WHERE correlation_id = :correlation_id::pg_catalog.text
                OFFSET 0) AS same) AS newest
  LEFT JOIN (
       SELECT id, at
         FROM bbm_fcgi.actions AS first
        WHERE correlation_id = :correlation_id::pg_catalog.text
          AND action = :action::pg_catalog.text
          AND actor IS NOT DISTINCT FROM :actor::pg_catalog.text
          AND token_id IS NOT DISTINCT FROM :token_id::pg_catalog.text
          AND migration_id IS NOT DISTINCT FROM :id::bigint
          AND undoes IS NOT DISTINCT FROM :undoes::bigint
          AND at > pg_catalog.now() - '10 minutes'::pg_catalog.interval
          AND NOT EXISTS (SELECT FROM bbm_fcgi.actions AS since
                           WHERE since.correlation_id = first.correlation_id
                             AND since.actor IS NOT DISTINCT FROM first.actor
                             AND since.token_id IS NOT DISTINCT FROM first.token_id
                             AND since.id > first.id
                             AND since.action <> first.action)
        ORDER BY id DESC
        LIMIT 1) AS a ON true
  LEFT JOIN bbm_fcgi.changes AS c ON c.action_id = a.id
 ORDER BY c.migration_id
