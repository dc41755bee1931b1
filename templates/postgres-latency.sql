-- How long after the primary the standbys have flushed a commit. A marker in the log that no transaction waits for: nothing hangs where no
-- standby is there, and nothing of the data changes. Measured here, in one session: PostgreSQL's own pg_stat_replication.flush_lag goes
-- away with a standby's next reply, so on quick disks it is hardly ever there.
\set ON_ERROR_STOP on
DO $look$
DECLARE
  asked pg_lsn;
  flushed_here timestamptz;
  waited interval;
  took jsonb := '{}';
  replies jsonb;
  standbys json;
BEGIN
  LOOP
    -- The view's other half, the sessions, is remembered for a whole transaction.
    PERFORM pg_stat_clear_snapshot();
    SELECT coalesce(jsonb_object_agg(application_name, round(extract(epoch FROM clock_timestamp() - flushed_here) * 1000, 1)), '{}')
      INTO replies FROM pg_stat_replication WHERE application_name <> 'pg_basebackup' AND flush_lsn >= asked;
    took := replies || took;
    SELECT coalesce(json_agg(json_build_object('name', application_name, 'sync', sync_state IN ('sync', 'quorum'),
        'ms', took -> application_name) ORDER BY application_name), '[]') INTO standbys
      FROM pg_stat_replication WHERE application_name <> 'pg_basebackup';
    IF asked IS NULL THEN
      -- The first round only has the statements planned, which takes longer than a standby.
      asked := pg_logical_emit_message(false, 'twofold', 'latency', true);
      flushed_here := clock_timestamp();
      CONTINUE;
    END IF;
    waited := clock_timestamp() - flushed_here;
    EXIT WHEN waited > interval '2 s' OR NOT EXISTS (
      SELECT FROM json_array_elements(standbys) AS standby WHERE standby ->> 'ms' IS NULL);
    PERFORM pg_sleep(0.0002);
  END LOOP;
  PERFORM set_config('twofold.standbys', standbys::text, false);
END
$look$;
SELECT current_setting('twofold.standbys');
