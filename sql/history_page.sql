-- A page of the history, newest first: the actions below the id :last (NULL: from the newest), of
-- all migrations or those that changed one, each with all that it changed. No row: there is none.
--   psql -v id=NULL -v last=NULL -v n=100 -v most=10000 -f sql/history_page.sql
--
-- One action more than the page holds is read: it shows whether there are more. Where there are :most
-- rows, the last action may be cut off.
WITH page AS (
    (SELECT id
       FROM bbm_fcgi.actions
      WHERE :id::bigint IS NULL
        AND (:last::bigint IS NULL OR id < :last::bigint)
      ORDER BY id DESC
      LIMIT :n::bigint + 1)
    UNION ALL
    (SELECT action_id
       FROM bbm_fcgi.changes
      WHERE migration_id = :id::bigint
        AND (:last::bigint IS NULL OR action_id < :last::bigint)
      ORDER BY action_id DESC
      LIMIT :n::bigint + 1))
SELECT a.id,
       a.at,
       a.action,
       a.actor,
       a.token_id,
       a.remote_addr,
       a.correlation_id,
       a.reason,
       a.undoes,
       c.migration_id,
       c.migration_name,
       c.previous_status,
       c.status
  FROM page
  JOIN bbm_fcgi.actions AS a ON a.id = page.id
  LEFT JOIN bbm_fcgi.changes AS c ON c.action_id = a.id
 ORDER BY a.id DESC, c.migration_id
 LIMIT :most::bigint
