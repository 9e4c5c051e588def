-- Default: nobody but the owner.  What a preset gives, and nothing else.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';

-- A platform that gives everything away.
CREATE ROLE regress_credits_greedy;
CREATE ROLE "regress_credits_Odd ""Name";
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_credits_greedy, "regress_credits_Odd ""Name" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_credits_greedy, "regress_credits_Odd ""Name" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_credits_greedy;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_credits_greedy;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO regress_credits_greedy;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO regress_credits_greedy, PUBLIC;
CREATE TABLE control ();
CREATE EXTENSION credits;
SELECT count(*) > 10 AS really_gives FROM pg_class, aclexplode(relacl) x WHERE oid = 'control'::regclass AND x.grantee <> relowner;
DROP TABLE control;

-- No object's ACL has an entry but the owner's.
CREATE TEMP VIEW acl AS
    SELECT pg_describe_object(d.classid, d.objid, 0) AS object, x.grantee, x.privilege_type
      FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
      CROSS JOIN LATERAL (
          SELECT relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid
          UNION ALL
          SELECT proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid
          UNION ALL
          SELECT typowner, typacl FROM pg_type WHERE d.classid = 'pg_type'::regclass AND oid = d.objid
          UNION ALL
          SELECT r.relowner, a.attacl FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid WHERE d.classid = 'pg_class'::regclass AND a.attrelid = d.objid
      ) AS o(owner, acl)
      CROSS JOIN LATERAL aclexplode(o.acl) x
     WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND x.grantee <> o.owner;
SELECT * FROM acl;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC, regress_credits_greedy, "regress_credits_Odd ""Name";
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_credits_greedy, "regress_credits_Odd ""Name";
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM regress_credits_greedy;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_credits_greedy;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM regress_credits_greedy;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON FUNCTIONS FROM regress_credits_greedy, PUBLIC;

-- A role for each preset, and one without any.
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
CREATE ROLE regress_credits_app;
CREATE ROLE regress_credits_billing;
CREATE ROLE regress_credits_server;
CREATE ROLE regress_credits_auditor;
CREATE ROLE regress_credits_support;
CREATE ROLE regress_credits_admin;
CREATE ROLE regress_credits_monitor;
CREATE ROLE regress_credits_end_user;
CREATE ROLE regress_credits_nobody;
SELECT jsonb_pretty(credits_grant_role('regress_credits_app', 'app'));
SELECT count(credits_grant_role('regress_credits_' || preset, preset))
  FROM unnest(ARRAY['billing', 'server', 'auditor', 'support', 'admin', 'monitor', 'end_user']) preset;
SELECT role_name, preset FROM credit_role ORDER BY 1, 2;

-- Who may call what, by the catalog.
SELECT p.proname AS function, string_agg(preset, ' ' ORDER BY n) FILTER (WHERE has_function_privilege('regress_credits_' || preset, p.oid, 'EXECUTE')) AS presets
  FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
  CROSS JOIN unnest(ARRAY['app', 'billing', 'server', 'auditor', 'support', 'admin', 'monitor', 'end_user', 'nobody']) WITH ORDINALITY AS r(preset, n)
 GROUP BY p.oid, p.proname ORDER BY p.proname COLLATE "C";
-- Who may read what; nobody may write.
SELECT c.relname AS relation, string_agg(preset, ' ' ORDER BY n) FILTER (WHERE has_table_privilege('regress_credits_' || preset, c.oid, 'SELECT')) AS may_read,
       string_agg(preset, ' ' ORDER BY n) FILTER (WHERE has_table_privilege('regress_credits_' || preset, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS may_write
  FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
  CROSS JOIN unnest(ARRAY['app', 'billing', 'server', 'auditor', 'support', 'admin', 'monitor', 'end_user', 'nobody']) WITH ORDINALITY AS r(preset, n)
 WHERE c.relkind IN ('r', 'v') GROUP BY c.relname ORDER BY c.relname COLLATE "C";
-- nothing can be passed on
SELECT count(*) AS grantable FROM pg_proc p, aclexplode(p.proacl) x
 WHERE p.proname LIKE 'credits\_%' AND x.is_grantable AND x.grantee <> p.proowner;

-- ... and by trying: each call as each role, undone at once.  "yes" it
-- worked, "-" 42501, else another SQLSTATE.
CREATE FUNCTION t.as_preset(preset text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', 'regress_credits_' || preset);
    EXECUTE call;
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'TT000' THEN 'yes' WHEN '42501' THEN '-' ELSE SQLSTATE END;
END $$;
SET request.jwt.claims = '{"sub": "u"}';
SELECT call,
       t.as_preset('app', 'SELECT ' || call) AS app, t.as_preset('billing', 'SELECT ' || call) AS billing,
       t.as_preset('server', 'SELECT ' || call) AS server,
       t.as_preset('auditor', 'SELECT ' || call) AS auditor, t.as_preset('support', 'SELECT ' || call) AS support,
       t.as_preset('admin', 'SELECT ' || call) AS admin, t.as_preset('monitor', 'SELECT ' || call) AS monitor,
       t.as_preset('end_user', 'SELECT ' || call) AS end_user, t.as_preset('nobody', 'SELECT ' || call) AS nobody
  FROM unnest(ARRAY[
    $$credits_deduct('u', 1)$$,
    $$credits_try_deduct('u', 1)$$,
    $$credits_deduct_many(ARRAY['u'], ARRAY[1])$$,
    $$credits_add_purchased('u', 1, 'p')$$,
    $$credits_adjust('u', 'monthly', 1, 'x')$$,
    $$credits_define_plan('p', 1)$$,
    $$credits_open_account('v', 'free')$$,
    $$credits_set_plan('u', 'free')$$,
    $$credits_freeze('u')$$,
    $$credits_unfreeze('u')$$,
    $$credits_repair_clock('u')$$,
    $$credits_balance('u')$$,
    $$count(*) FROM credits_history('u')$$,
    $$credits_balances('{u}')$$,
    $$credits_quote('u', 1)$$,
    $$credits_explain('u')$$,
    $$count(*) FROM credits_usage('u')$$,
    $$count(*) FROM credits_total_usage()$$,
    $$count(*) FROM credits_metrics(true)$$,
    $$credits_balance_at('u', '2026-01-10 00:00Z')$$,
    $$credits_account_state(NULL)$$,
    $$credits_current_user_id()$$,
    $$credits_my_balance()$$,
    $$count(*) FROM credits_my_history()$$,
    $$count(*) FROM credits_my_usage()$$,
    $$credits_my_explain() IS NULL$$,
    $$credits_reset_due()$$,
    $$credits_schedule_reset()$$,
    $$credits_unschedule_reset()$$,
    $$count(*) FROM credits_verify()$$,
    $$count(*) FROM credits_verify_account('u')$$,
    $$count(*) FROM credits_verify_structure()$$,
    $$credits_anchor()$$,
    $$count(*) FROM credits_verify_anchor()$$,
    $$credits_grant_role('regress_credits_nobody', 'admin')$$,
    $$credits_revoke_role('regress_credits_app', 'app')$$,
    $$credits_repair_guards()$$,
    $$count(*) FROM credits_roles()$$,
    $$count(*) FROM credits_dump_customizations()$$,
    $$count(*) FROM credit_balance$$,
    $$count(*) FROM credit_usage_daily$$,
    $$count(*) FROM credit_open_hold$$,
    $$count(*) FROM credit_open_grant$$,
    $$count(*) FROM credit_account$$,
    $$count(*) FROM credit_history$$,
    $$count(*) FROM credit_payment$$,
    $$count(*) FROM credit_plan$$,
    $$count(*) FROM credit_reset_run$$,
    $$to_jsonb(r) FROM (SELECT * FROM credit_reset_run) r LIMIT 1$$,
    $$count(*) FROM credit_audit_log$$,
    $$count(*) FROM credit_role$$,
    $$count(*) FROM credit_anchor$$,
    $$count(*) FROM credit_anchor_leaf$$
  ]) WITH ORDINALITY AS c(call, n) ORDER BY n;
-- What apps and servers may call insists on a user: nothing that is left out shows everybody.
SELECT credits_open_account('w', 'free') ->> 'available' AS available;
SELECT p.proname AS function, t.as_preset('server', format('SELECT %I(%s)', p.proname, (SELECT string_agg('NULL', ', ') FROM generate_series(1, p.pronargs)))) AS all_null
  FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
 WHERE has_function_privilege('regress_credits_server', p.oid, 'EXECUTE') ORDER BY p.proname COLLATE "C";
SET ROLE regress_credits_server;
SELECT seq, kind FROM credits_history('w');
SELECT credits_explain('u') ->> 'user_id' AS explained, credits_balance_at('w', '2026-01-10 00:00Z') ->> 'user_id' AS balance_at;
-- it has no right on any table or view, nor its columns
SELECT count(*) AS readable FROM pg_class c WHERE c.relname LIKE 'credit\_%' AND c.relkind IN ('r', 'v', 'p') AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES');
RESET ROLE;
-- the sweep commits, so it is called for itself
SET SESSION AUTHORIZATION regress_credits_app;
CALL credits_run_reset();
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_credits_admin;
CALL credits_run_reset() \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts;
RESET SESSION AUTHORIZATION;

-- EXECUTE is the only right that is needed.
GRANT EXECUTE ON FUNCTION credits_deduct(text, int8, text, text, jsonb, text) TO regress_credits_nobody;
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$);
REVOKE EXECUTE ON FUNCTION credits_deduct(text, int8, text, text, jsonb, text) FROM regress_credits_nobody;
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$);
-- ... but not for what is the owner's alone
GRANT EXECUTE ON FUNCTION credits_grant_role(text, text), credits_revoke_role(text, text), credits_repair_guards() TO regress_credits_nobody;
SELECT t.as_preset('nobody', $$SELECT credits_grant_role('regress_credits_nobody', 'admin')$$) AS grant_role,
       t.as_preset('nobody', $$SELECT credits_revoke_role('regress_credits_app', 'app')$$) AS revoke_role,
       t.as_preset('nobody', $$SELECT credits_repair_guards()$$) AS repair_guards;
REVOKE EXECUTE ON FUNCTION credits_grant_role(text, text), credits_revoke_role(text, text), credits_repair_guards() FROM regress_credits_nobody;

-- The actor is who calls, not the function that passes the call on.
CREATE FUNCTION spend(who text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$ SELECT credits_deduct(who, 1) $$;
SET ROLE regress_credits_nobody;
SELECT spend('u') ->> 'available' AS available;
RESET ROLE;
SELECT actor FROM credit_history WHERE user_id = 'u' ORDER BY seq DESC LIMIT 1;
DROP FUNCTION spend(text);

-- Two presets that overlap: taking one away leaves what the other gives.
SELECT count(credits_grant_role('regress_credits_nobody', preset)) FROM unnest(ARRAY['app', 'support']) preset;
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('nobody', $$SELECT credits_balance('u')$$) AS balance,
       t.as_preset('nobody', $$SELECT count(*) FROM credits_history('u')$$) AS history;
SELECT jsonb_pretty(credits_revoke_role('regress_credits_nobody', 'app'));
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('nobody', $$SELECT credits_balance('u')$$) AS balance,
       t.as_preset('nobody', $$SELECT count(*) FROM credits_history('u')$$) AS history;
SELECT credits_revoke_role('regress_credits_nobody', 'support') IS NOT NULL AS revoked;
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('nobody', $$SELECT credits_balance('u')$$) AS balance,
       t.as_preset('nobody', $$SELECT count(*) FROM credits_history('u')$$) AS history;
-- every preset leaves nothing behind
SELECT count(credits_revoke_role('regress_credits_' || preset, preset))
  FROM unnest(ARRAY['app', 'billing', 'server', 'auditor', 'support', 'admin', 'monitor', 'end_user']) preset;
SELECT count(*) AS entries FROM acl;
SELECT count(*) AS roles FROM credit_role;
-- a name that needs quotes
SELECT credits_grant_role('regress_credits_Odd "Name', 'app') IS NOT NULL AS granted;
SELECT t.as_preset('Odd "Name', $$SELECT credits_deduct('u', 1)$$);
SELECT credits_revoke_role('regress_credits_Odd "Name', 'app') IS NOT NULL AS revoked;

-- What a role lost behind the record's back is granted again; a preset that
-- misses one right is still there, and the rest of it stays when others go.
SELECT count(credits_grant_role('regress_credits_nobody', preset)) FROM unnest(ARRAY['app', 'billing', 'admin']) preset;
DO $$ BEGIN EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM regress_credits_nobody', 'credits_try_deduct(text, int8, text, text, jsonb, text)'); END $$;
SELECT t.as_preset('nobody', $$SELECT credits_try_deduct('u', 1)$$) AS lost;
SELECT count(credits_revoke_role('regress_credits_nobody', preset)) FROM unnest(ARRAY['billing', 'admin']) preset;
SELECT t.as_preset('nobody', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('nobody', $$SELECT credits_balance('u')$$) AS balance,
       t.as_preset('nobody', $$SELECT credits_adjust('u', 'monthly', 1, 'x')$$) AS adjust;
SELECT credits_grant_role('regress_credits_nobody', 'app') -> 'changed' AS changed;
SELECT t.as_preset('nobody', $$SELECT credits_try_deduct('u', 1)$$) AS again;
SELECT credits_revoke_role('regress_credits_nobody', 'app') -> 'changed' AS changed;

-- What the role was allowed to grant, and has granted to others, is not taken from them unasked.
-- The error says who they are, and its hint how to do it.
CREATE ROLE regress_credits_heir;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
SELECT credits_grant_role('regress_credits_nobody', preset) -> 'changed' AS changed FROM unnest(ARRAY['app', 'support']) preset;
GRANT EXECUTE ON FUNCTION credits_balance(text) TO regress_credits_nobody WITH GRANT OPTION;
GRANT SELECT ON credit_balance TO regress_credits_nobody WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO regress_credits_nobody WITH GRANT OPTION;
SET ROLE regress_credits_nobody;
GRANT EXECUTE ON FUNCTION credits_balance(text) TO regress_credits_heir, PUBLIC;
GRANT SELECT ON credit_balance TO regress_credits_heir;
GRANT USAGE ON SCHEMA public TO regress_credits_heir;
RESET ROLE;
SELECT credits_revoke_role('regress_credits_nobody', 'app') -> 'changed' AS app_without_what_support_has;
SELECT credits_revoke_role('regress_credits_nobody', 'support');
REVOKE GRANT OPTION FOR EXECUTE ON ROUTINE credits_balance(text) FROM regress_credits_nobody CASCADE;
SELECT credits_revoke_role('regress_credits_nobody', 'support');
REVOKE GRANT OPTION FOR SELECT ON credit_balance FROM regress_credits_nobody CASCADE;
SELECT credits_revoke_role('regress_credits_nobody', 'support');
SELECT role_name, preset FROM credit_role WHERE role_name ~ 'nobody';
REVOKE GRANT OPTION FOR USAGE ON SCHEMA public FROM regress_credits_nobody CASCADE;
SELECT credits_revoke_role('regress_credits_nobody', 'support') -> 'changed' AS changed;
SELECT count(*) AS entries FROM acl WHERE grantee::regrole::text ~ 'nobody|heir';
GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP ROLE regress_credits_heir;

-- A role is its OID: renamed, it is the same one, and the presets go as they came.
CREATE ROLE regress_credits_ann;
SELECT count(credits_grant_role('regress_credits_ann', preset)) FROM unnest(ARRAY['app', 'billing']) preset;
ALTER ROLE regress_credits_ann RENAME TO regress_credits_eve;
SELECT role_name, preset, role_oid = 'regress_credits_eve'::regrole AS its_oid, problem FROM credits_roles() WHERE role_name ~ 'ann|eve' ORDER BY 2;
SELECT message, hint FROM t.refused($$SELECT credits_revoke_role('regress_credits_ann', 'app')$$);
SELECT credits_revoke_role('regress_credits_eve', 'app') -> 'changed' AS changed;
SELECT t.as_preset('eve', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('eve', $$SELECT credits_balance('u')$$) AS balance_of_billing;
SELECT role_name, preset FROM credit_role WHERE role_name ~ 'ann|eve';
-- another role under the old name is another role
CREATE ROLE regress_credits_ann;
SELECT credits_grant_role('regress_credits_ann', 'billing') -> 'changed' AS changed;
SELECT role_name, preset FROM credits_roles() WHERE role_name ~ 'ann|eve' ORDER BY 1;
SELECT credits_revoke_role('regress_credits_eve', 'billing') -> 'changed' AS changed;
SELECT count(*) AS entries FROM acl WHERE grantee = 'regress_credits_eve'::regrole;
SELECT t.as_preset('ann', $$SELECT credits_balance('u')$$) AS ann, t.as_preset('eve', $$SELECT credits_balance('u')$$) AS eve;
SELECT credits_revoke_role('regress_credits_ann', 'billing') -> 'changed' AS changed;
-- What a stranger had before, and lost its record of, is not the renamed role's.
SELECT credits_grant_role('regress_credits_eve', 'admin') -> 'changed' AS changed;
SELECT credits_revoke_role('regress_credits_ann', 'admin') -> 'changed' AS changed;
SELECT t.as_preset('eve', $$SELECT credits_adjust('u', 'monthly', 1, 'x')$$) AS eve;
SELECT credits_revoke_role('regress_credits_eve', 'admin') -> 'changed' AS changed;
SELECT count(*) AS records FROM credit_role WHERE role_name ~ 'ann|eve';

-- A dump carries the records to another cluster, where roles have other OIDs: there the
-- role of that name has the rights, and who has its OID is a stranger.
CREATE ROLE regress_credits_old;
CREATE ROLE regress_credits_stranger;
SELECT count(credits_grant_role('regress_credits_old', preset)) FROM unnest(ARRAY['app', 'support']) preset;
CREATE FUNCTION t.as_restored() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE credit_role DISABLE TRIGGER credits_guard;
    UPDATE credit_role SET system_identifier = 4711, role_oid = 'regress_credits_stranger'::regrole WHERE role_name = 'regress_credits_old';
    ALTER TABLE credit_role ENABLE ALWAYS TRIGGER credits_guard;
END $$;
SELECT t.as_restored();
SELECT role_name, preset, role_oid = 'regress_credits_old'::regrole AS its_oid, problem FROM credits_roles() WHERE role_name ~ 'old|stranger' ORDER BY 2;
SELECT credits_revoke_role('regress_credits_stranger', 'app') -> 'changed' AS stranger;
SELECT t.as_preset('stranger', $$SELECT credits_balance('u')$$) AS stranger, t.as_preset('old', $$SELECT credits_deduct('u', 1)$$) AS old;
SELECT t.as_restored();
SELECT credits_grant_role('regress_credits_old', 'app') -> 'changed' AS again;
SELECT count(*) AS records, count(*) FILTER (WHERE role_oid = 'regress_credits_old'::regrole AND r.system_identifier = c.system_identifier) AS of_here
  FROM credit_role r, pg_control_system() c WHERE role_name = 'regress_credits_old';
SELECT credits_revoke_role('regress_credits_old', 'app') -> 'changed' AS changed;
SELECT t.as_preset('old', $$SELECT credits_deduct('u', 1)$$) AS deduct, t.as_preset('old', $$SELECT credits_balance('u')$$) AS balance_of_support;
-- Where the role is missing, or is another one of that name, the record is reported and can be removed.
SELECT t.as_restored();
ALTER ROLE regress_credits_old RENAME TO regress_credits_moved;
SELECT role_name, preset, role_oid, problem FROM credits_roles() WHERE role_name ~ 'old|moved';
-- a role whose record is nobody's keeps all that it has
SELECT preset, credits_revoke_role('regress_credits_moved', preset) -> 'changed' AS changed FROM unnest(ARRAY['support', 'app']) preset;
SELECT t.as_preset('moved', $$SELECT credits_balance('u')$$) AS balance, t.as_preset('moved', $$SELECT count(*) FROM credits_history('u')$$) AS history;
CREATE ROLE regress_credits_old;
SELECT role_name, preset, role_oid, problem FROM credits_roles() WHERE role_name ~ 'old|moved';
SELECT credits_revoke_role('regress_credits_old', 'support') -> 'changed' AS changed;
SELECT count(*) AS records FROM credits_roles() WHERE role_name ~ 'old|moved';
SELECT credits_grant_role('regress_credits_moved', 'support') -> 'changed' AS changed, credits_revoke_role('regress_credits_moved', 'support') -> 'changed' AS changed;
-- So is a record that is none of ours.
INSERT INTO credit_role SELECT now(), 1, 1, false, 'regress_credits_forged', 'root';
SELECT role_name, preset, problem FROM credits_roles() WHERE role_name ~ 'forged';
SELECT credits_revoke_role('regress_credits_forged', 'app') -> 'changed' AS changed;
SELECT count(*) AS records FROM credits_roles() WHERE role_name ~ 'forged';
DROP ROLE regress_credits_old, regress_credits_moved, regress_credits_stranger, regress_credits_ann, regress_credits_eve;
-- a role dropped and made anew has nothing of the old one's
CREATE ROLE regress_credits_bob;
SELECT credits_grant_role('regress_credits_bob', 'admin') -> 'changed' AS changed;
DROP OWNED BY regress_credits_bob;
DROP ROLE regress_credits_bob;
SELECT t.sqlstate($$SELECT credits_grant_role('regress_credits_bob', 'app')$$) AS gone;
CREATE ROLE regress_credits_bob;
SELECT credits_grant_role('regress_credits_bob', 'app') -> 'changed' AS changed;
SELECT preset FROM credit_role WHERE role_name = 'regress_credits_bob';
SELECT credits_revoke_role('regress_credits_bob', 'app') -> 'changed' AS changed;
SELECT t.as_preset('bob', $$SELECT credits_balance('u')$$) AS balance;
-- of a role that is gone the record can be taken back
SELECT credits_grant_role('regress_credits_bob', 'app') -> 'changed' AS changed;
DROP OWNED BY regress_credits_bob;
DROP ROLE regress_credits_bob;
SELECT role_name, preset, problem FROM credits_roles() WHERE role_name ~ 'bob';
SELECT credits_revoke_role('regress_credits_bob', 'app') -> 'changed' AS changed;
SELECT count(*) AS records FROM credit_role WHERE role_name = 'regress_credits_bob';
SELECT action, after ->> 'preset' AS preset FROM credit_audit_log WHERE subject = 'regress_credits_bob' ORDER BY seq;

-- Who may do what is in the audit log.
SELECT action, subject, actor = session_user AS actor FROM credit_audit_log WHERE action LIKE '%role' AND subject ~ 'nobody|Odd' ORDER BY seq;

-- Arguments.
SELECT call, t.sqlstate('SELECT ' || call)
  FROM unnest(ARRAY[
    $$credits_grant_role(NULL, 'app')$$,                          -- 22004
    $$credits_grant_role('regress_credits_app', NULL)$$,          -- 22004
    $$credits_grant_role('regress_credits_none', 'app')$$,        -- 42704
    $$credits_grant_role('regress_credits_app', 'root')$$,        -- 22023
    $$credits_grant_role('regress_credits_app', '')$$,            -- 22023
    $$credits_revoke_role('regress_credits_none', 'app')$$,       -- 42704
    $$credits_revoke_role('regress_credits_app', 'root')$$,       -- 22023
    $$credits_revoke_role(NULL, 'app')$$                          -- 22004
  ]) WITH ORDINALITY AS c(call, n) ORDER BY n;

-- Settings that change what is true are the superuser's, also when they are
-- set before the library is there to check.
SELECT credits_grant_role('regress_credits_app', 'app') IS NOT NULL AS granted;
SET ROLE regress_credits_app;
SELECT t.sqlstate($$SET credits.clock = '2020-01-01 00:00:00+00'$$) AS clock, t.sqlstate($$SET credits.default_plan = 'free'$$) AS default_plan, t.sqlstate($$SET credits.log_refusals = off$$) AS log_refusals;
RESET ROLE;
\c -
SET client_min_messages = error;
SET SESSION AUTHORIZATION regress_credits_app;
SET credits.clock = '2020-01-01 00:00:00+00';
SET credits.default_plan = 'free';
SELECT credits_deduct('u', 1) ->> 'created_at' > '2026-02' AS real_clock;
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('unknown', 1)$$);
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;

SELECT count(*) AS bad FROM credits_verify();
DROP FUNCTION t.as_preset(text, text);
DROP EXTENSION credits;
DROP OWNED BY regress_credits_greedy, "regress_credits_Odd ""Name", regress_credits_app, regress_credits_billing, regress_credits_server, regress_credits_auditor,
    regress_credits_support, regress_credits_admin, regress_credits_monitor, regress_credits_end_user, regress_credits_nobody;
DROP ROLE regress_credits_greedy, "regress_credits_Odd ""Name", regress_credits_app, regress_credits_billing, regress_credits_server, regress_credits_auditor,
    regress_credits_support, regress_credits_admin, regress_credits_monitor, regress_credits_end_user, regress_credits_nobody;
