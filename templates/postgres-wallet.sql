-- What the gate decides by, in one connection to the primary. With `asked`, standbys are compared with that position of an earlier look, as
-- long as the history is still that of `timeline`.
\set ON_ERROR_STOP on
SELECT to_regclass('public.vars') IS NOT NULL AS claimed \gset
\if :claimed
SELECT coalesce((SELECT intval::text FROM public.vars WHERE name = 'data_version'), '') AS version,
       coalesce((SELECT encode(blobval, 'hex') FROM public.vars WHERE name = 'node_id'), '') AS node \gset
\else
\set version ''
\set node ''
\endif
-- Asked after the wallet was read, so it covers everything that the reader has seen.
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS now_timeline \gset
SELECT CASE WHEN :'timeline' = :'now_timeline' THEN nullif(:'asked', '')::pg_lsn ELSE pg_current_wal_flush_lsn() END AS asked \gset
SELECT json_build_object(
  'claimed', :'claimed'::boolean,
  'version', nullif(:'version', '')::bigint,
  'nodeId', nullif(:'node', ''),
  'asked', :'asked',
  'systemIdentifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', :now_timeline,
  'server', host(inet_server_addr()),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
                WHERE name IN ('fsync', 'full_page_writes', 'synchronous_standby_names')),
  'roleSettings', (SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = :'role'),
  'standbys', (SELECT coalesce(json_agg(json_build_object(
      'name', application_name, 'sync', sync_state IN ('sync', 'quorum'),
      'flushed', flush_lsn >= :'asked'::pg_lsn, 'lagMs', round(extract(epoch FROM flush_lag) * 1000)) ORDER BY application_name), '[]')
    FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'),
  'sessions', (SELECT coalesce(json_agg(json_build_object(
      'pid', pid, 'client', host(client_addr), 'since', backend_start, 'application', application_name) ORDER BY backend_start), '[]')
    FROM pg_stat_activity WHERE usename = :'role'));
