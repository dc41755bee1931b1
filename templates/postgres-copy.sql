-- What this member's own copy of the wallet has, be it primary or standby.
\set ON_ERROR_STOP on
\connect :"role"
SELECT to_regclass('public.vars') IS NOT NULL AS claimed \gset
\if :claimed
SELECT coalesce((SELECT intval::text FROM public.vars WHERE name = 'data_version'), '') AS version \gset
\else
\set version ''
\endif
SELECT json_build_object('dataVersion', nullif(:'version', '')::bigint, 'position', CASE WHEN pg_is_in_recovery()
  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn() END);
