-- Takes the settings in `names` out of what ALTER SYSTEM has set on this member.
\set ON_ERROR_STOP on
SELECT format('ALTER SYSTEM RESET %I', name) FROM unnest(string_to_array(:'names', ',')) AS name \gexec
SELECT pg_reload_conf();
