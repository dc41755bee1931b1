-- The node's role and database, and the gate's role. Can be run again and again.
\set ON_ERROR_STOP on
SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES (:'role'), (:'gate')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL
  -- A second daemon is kept out by the server too. A session that died half-open ends by the server's keepalives.
  CONNECTION LIMIT 1;
ALTER ROLE :"role" RESET ALL;
{{settings}}
ALTER ROLE :"gate" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL;
ALTER ROLE :"gate" RESET ALL;
ALTER ROLE :"gate" SET default_transaction_read_only = 'on';
-- It reads the wallet's version and who is connected, and writes nothing.
GRANT pg_read_all_data, pg_monitor TO :"gate";
SELECT format('ALTER ROLE %I IN DATABASE %I RESET ALL', rolname, datname) FROM pg_db_role_setting
  JOIN pg_roles ON pg_roles.oid = setrole JOIN pg_database ON pg_database.oid = setdatabase
 WHERE rolname IN (:'role', :'gate') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
ALTER DATABASE :"role" OWNER TO :"role";
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"role" TO :"gate";
