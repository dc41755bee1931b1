SELECT json_build_object(
  'roles', (SELECT coalesce(json_object_agg(rolname, json_build_object(
      'login', rolcanlogin,
      'powers', rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,
      'limit', rolconnlimit,
      'settings', coalesce(rolconfig, '{}'),
      -- Those go before the role's own.
      'inDatabases', (SELECT coalesce(json_agg(format('%s: %s', datname, array_to_string(setconfig, ', ')) ORDER BY datname), '[]')
                        FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase WHERE setrole = pg_roles.oid),
      'grants', (SELECT coalesce(json_agg(granted.rolname ORDER BY granted.rolname), '[]')
                   FROM pg_auth_members JOIN pg_roles granted ON granted.oid = roleid WHERE member = pg_roles.oid))), '{}')
    FROM pg_roles WHERE rolname IN (:'role', :'gate')),
  'owner', (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :'role'),
  'public', (SELECT has_database_privilege('public', datname, 'CONNECT') FROM pg_database WHERE datname = :'role'));
