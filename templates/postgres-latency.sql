-- How long the standbys take to flush what the primary has flushed. A marker in the log that no transaction waits for: nothing hangs
-- where no standby is there, and nothing of the data changes. With `asked`, standbys are compared with the marker of an earlier look.
\set ON_ERROR_STOP on
SELECT CASE WHEN :'asked' = '' THEN pg_logical_emit_message(false, 'twofold', 'latency', true)
       ELSE nullif(:'asked', '')::pg_lsn END AS asked \gset
SELECT json_build_object('asked', :'asked', 'standbys', (SELECT coalesce(json_agg(json_build_object(
    'name', application_name, 'sync', sync_state IN ('sync', 'quorum'), 'flushed', coalesce(flush_lsn >= :'asked'::pg_lsn, false),
    'ms', round(extract(epoch FROM flush_lag) * 1000, 1)) ORDER BY application_name), '[]')
  FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'));
