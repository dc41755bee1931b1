-- What the primary knows of its standbys and slots; nothing on a standby. Waits for nobody and writes nothing.
\set ON_ERROR_STOP on
SET statement_timeout = '10s';
SELECT json_build_object(
  'standbys', (SELECT coalesce(json_agg(json_build_object(
      'name', application_name, 'sync', sync_state IN ('sync', 'quorum'),
      'lagBytes', pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)) ORDER BY application_name), '[]')
    FROM pg_stat_replication WHERE application_name <> 'pg_basebackup' AND state = 'streaming'),
  'slots', (SELECT coalesce(json_agg(json_build_object(
      'name', slot_name, 'active', active, 'walStatus', wal_status,
      'retainedBytes', pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)) ORDER BY slot_name), '[]')
    FROM pg_replication_slots),
  'slotLimitBytes', (SELECT CASE WHEN setting::bigint < 0 THEN -1 ELSE setting::bigint * 1048576 END
                       FROM pg_settings WHERE name = 'max_slot_wal_keep_size'))
WHERE NOT pg_is_in_recovery();
