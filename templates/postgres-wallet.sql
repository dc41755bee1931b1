-- What the gate decides by, of one member. A primary is asked for a proof of this very moment: a marker is put into its log after the wallet
-- was read, and who has flushed that marker has flushed everything that the reader has seen, and still follows this primary.
\set ON_ERROR_STOP on
-- Of whatever could wait here, such as for a lock on the wallet's tables.
SET statement_timeout = '5s';
SELECT pg_is_in_recovery() AS standby \gset
\if :standby
SELECT json_build_object('state', 'standby');
\quit
\endif
SELECT to_regclass('public.vars') IS NOT NULL AS claimed \gset
\if :claimed
SELECT coalesce((SELECT intval::text FROM public.vars WHERE name = 'data_version'), '') AS version,
       coalesce((SELECT encode(blobval, 'hex') FROM public.vars WHERE name = 'node_id'), '') AS node \gset
\else
\set version ''
\set node ''
\endif
-- Of no transaction, so that it waits for nobody; flushed here before it is told of.
SELECT pg_logical_emit_message(false, 'twofold', 'gate', true) AS asked \gset
SELECT set_config('twofold.asked', :'asked', false) AS asked, set_config('twofold.required', :'required', false) AS required \gset
-- A second at most: a standby that streams has flushed after milliseconds, and one that has just begun to is seen at once.
DO $$
BEGIN
  FOR look IN 1..50 LOOP
    -- Not the view, which is the same throughout a transaction.
    EXIT WHEN current_setting('twofold.required')::int <= (
      SELECT count(*) FROM pg_stat_get_wal_senders()
       WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= current_setting('twofold.asked')::pg_lsn);
    PERFORM pg_sleep(0.02);
  END LOOP;
END $$;
\if :claimed
SELECT coalesce((SELECT intval::text FROM public.vars WHERE name = 'data_version'), '') AS latest \gset
\else
\set latest ''
\endif
SELECT json_build_object(
  'state', 'primary',
  'claimed', :'claimed'::boolean,
  'version', nullif(:'version', '')::bigint,
  'latest', nullif(:'latest', '')::bigint,
  'nodeId', nullif(:'node', ''),
  'asked', :'asked',
  'systemIdentifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
                WHERE name IN ('fsync', 'full_page_writes', 'synchronous_standby_names')),
  'roleSettings', (SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = :'role'),
  'standbys', (SELECT coalesce(json_agg(json_build_object(
      'name', application_name, 'sync', sync_state IN ('sync', 'quorum'),
      'flushed', coalesce(flush_lsn >= :'asked'::pg_lsn, false),
      'lagMs', round(extract(epoch FROM flush_lag) * 1000)) ORDER BY application_name), '[]')
    FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'),
  'sessions', (SELECT coalesce(json_agg(json_build_object(
      'pid', pid, 'client', host(client_addr), 'since', backend_start, 'application', application_name) ORDER BY backend_start), '[]')
    FROM pg_stat_activity WHERE usename = :'role'));
