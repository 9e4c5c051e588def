-- The tables are changed by nobody but the ledger: UPDATE, DELETE and
-- TRUNCATE are UC007, and verification says when a guard is not in place.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT credits_add_purchased('u', 5, 'pay_1') ->> 'available' AS available;

CREATE TEMP TABLE guarded AS
    SELECT c.oid::regclass AS tab, (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = 1) AS col
      FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
      JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
     WHERE c.relkind = 'r';
GRANT SELECT ON guarded TO PUBLIC;
-- every way to change or empty a table, whether a row is there or not
CREATE FUNCTION t.attacks(OUT tab text, OUT update text, OUT update_none text, OUT delete text, OUT delete_none text,
                          OUT truncate text, OUT truncate_cascade text, OUT cte text, OUT upsert text)
RETURNS SETOF record LANGUAGE sql AS $$
    SELECT g.tab::text,
           t.sqlstate(format('UPDATE %s SET %I = %2$I', g.tab, g.col)),
           t.sqlstate(format('UPDATE %s SET %I = %2$I WHERE false', g.tab, g.col)),
           t.sqlstate(format('DELETE FROM %s', g.tab)),
           t.sqlstate(format('DELETE FROM ONLY %s WHERE false', g.tab)),
           t.sqlstate(format('TRUNCATE %s', g.tab)),
           t.sqlstate(format('TRUNCATE %s RESTART IDENTITY CASCADE', g.tab)),
           t.sqlstate(format('WITH d AS (DELETE FROM %s RETURNING 1) SELECT count(*) FROM d', g.tab)),
           t.sqlstate(format('INSERT INTO %s SELECT * FROM %1$s ON CONFLICT ON CONSTRAINT %1$s_pkey DO UPDATE SET %I = EXCLUDED.%2$I', g.tab, g.col))
      FROM guarded g ORDER BY g.tab::text COLLATE "C"
$$;
SELECT * FROM t.attacks();
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused('DELETE FROM credit_history');
SELECT sqlstate FROM t.refused('TRUNCATE credit_plan, credit_account, credit_history, credit_payment');
-- as on a replica
SET session_replication_role = replica;
SELECT DISTINCT update, update_none, delete, delete_none, truncate, truncate_cascade, cte, upsert FROM t.attacks();
SET session_replication_role = local;
SELECT DISTINCT update, update_none, delete, delete_none, truncate, truncate_cascade, cte, upsert FROM t.attacks();
RESET session_replication_role;
-- through a view, or a function with the owner's rights
CREATE VIEW pg_temp.v AS SELECT * FROM credit_account;
SELECT sqlstate FROM t.refused('UPDATE pg_temp.v SET monthly = 1000');
DROP VIEW pg_temp.v;
SELECT sqlstate FROM t.refused('UPDATE credit_balance SET monthly = 1000');

-- The owner is refused like everybody else, superuser or not.
CREATE ROLE regress_credits_owner;
GRANT CREATE, USAGE ON SCHEMA public TO regress_credits_owner;
SELECT DISTINCT t.sqlstate(format('ALTER TABLE %s OWNER TO regress_credits_owner', tab)) FROM guarded;
SET ROLE regress_credits_owner;
SELECT DISTINCT update, update_none, delete, delete_none, truncate, truncate_cascade, cte, upsert FROM t.attacks();
RESET ROLE;
SELECT DISTINCT t.sqlstate(format('ALTER TABLE %s OWNER TO %I', tab, current_user)) FROM guarded;
REVOKE ALL ON SCHEMA public FROM regress_credits_owner;
DROP ROLE regress_credits_owner;
SELECT monthly, purchased FROM credit_account;

-- The guard is a trigger function for these triggers only.
SELECT sqlstate FROM t.refused('SELECT credits_guard()');
CREATE TABLE other (a int);
INSERT INTO other VALUES (1);
CREATE TRIGGER g AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION credits_guard();
SELECT sqlstate FROM t.refused('INSERT INTO other VALUES (2)');
DROP TABLE other;

-- Whatever is wrong with a guard is reported, and mended.
SELECT * FROM credits_verify();
CREATE TEMP TABLE guard_before AS
    SELECT tgrelid::regclass AS tab, tgenabled, pg_get_triggerdef(oid) AS def FROM pg_trigger WHERE tgname = 'credits_guard';
SELECT count(*), bool_and(tgenabled = 'A') AS always FROM guard_before;
-- disabled, or not for replicas
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
ALTER TABLE credit_account ENABLE TRIGGER credits_guard;
ALTER TABLE credit_payment ENABLE REPLICA TRIGGER credits_guard;
-- what pg_restore --disable-triggers leaves behind
ALTER TABLE credit_plan DISABLE TRIGGER ALL;
ALTER TABLE credit_plan ENABLE TRIGGER ALL;
SELECT object, bad_user_id, bad_seq, problem FROM credits_verify() ORDER BY object COLLATE "C";
SELECT credits_repair_guards() AS mended;
SELECT count(*) AS bad FROM credits_verify();
-- dropped, or another in its place
DROP TRIGGER credits_guard ON credit_role;
DROP TRIGGER credits_guard ON credit_audit_log;
CREATE TRIGGER credits_guard BEFORE UPDATE ON credit_audit_log FOR EACH STATEMENT EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_audit_log ENABLE ALWAYS TRIGGER credits_guard;
DROP TRIGGER credits_guard ON credit_reset_run;
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_reset_run FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_reset_run ENABLE ALWAYS TRIGGER credits_guard;
DROP TRIGGER credits_guard ON credit_payment;
CREATE TRIGGER credits_guard BEFORE UPDATE OF amount OR DELETE OR TRUNCATE ON credit_payment FOR EACH STATEMENT EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_payment ENABLE ALWAYS TRIGGER credits_guard;
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard BEFORE UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard;
SELECT object, bad_user_id, bad_seq, problem FROM credits_verify() ORDER BY object COLLATE "C";
SELECT credits_repair_guards() AS mended;
SELECT count(*) AS bad FROM credits_verify();
SELECT credits_repair_guards() AS mended;
-- as they were
SELECT count(*) AS guards, count(*) FILTER (WHERE b.tab IS NULL) AS different
  FROM pg_trigger g LEFT JOIN guard_before b
    ON b.tab = g.tgrelid::regclass AND b.tgenabled = g.tgenabled AND b.def = pg_get_triggerdef(g.oid)
 WHERE g.tgname = 'credits_guard';
SELECT DISTINCT update, update_none, delete, delete_none, truncate, truncate_cascade, cte, upsert FROM t.attacks();
SELECT seq, action, subject FROM credit_audit_log WHERE action = 'repair_guards' ORDER BY seq;

-- A guarded table that is a child of another can be changed through that: reported.
CREATE TABLE parent (LIKE credit_payment);
ALTER TABLE credit_payment INHERIT parent;
SELECT object, bad_user_id, bad_seq, problem FROM credits_verify();
ALTER TABLE credit_payment NO INHERIT parent;
SELECT count(*) AS bad FROM credits_verify();
DROP TABLE parent;
CREATE TABLE parent (LIKE credit_payment) PARTITION BY LIST (user_id);
ALTER TABLE parent ATTACH PARTITION credit_payment DEFAULT;
SELECT object, bad_user_id, bad_seq, problem FROM credits_verify();
ALTER TABLE parent DETACH PARTITION credit_payment;
SELECT count(*) AS bad FROM credits_verify();
DROP TABLE parent;

DROP FUNCTION t.attacks();
DROP TABLE guard_before;
DROP EXTENSION credits;
