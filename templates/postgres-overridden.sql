-- What ALTER SYSTEM has set on this member of the settings in `names`: it goes before what Patroni writes.
\set ON_ERROR_STOP on
SELECT coalesce(json_agg(format('%s=%s', name, setting) ORDER BY name), '[]') FROM pg_file_settings
 WHERE sourcefile LIKE '%/postgresql.auto.conf' AND name = ANY (string_to_array(:'names', ','));
