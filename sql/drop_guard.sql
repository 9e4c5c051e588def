-- DROP does not take a ledger with accounts along, unless credits.allow_drop is
-- on; dropping anything else is nobody's business here.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET credits.allow_drop = off;
CREATE ROLE regress_credits_owner SUPERUSER;
CREATE ROLE regress_credits_schema;
CREATE ROLE regress_credits_other;
SET ROLE regress_credits_owner;
CREATE SCHEMA "Ledger 1";
CREATE EXTENSION credits SCHEMA "Ledger 1";
RESET ROLE;
SET search_path = "Ledger 1", public;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT evtevent, evtenabled, evttags, evtfoid::regprocedure AS function FROM pg_event_trigger WHERE evtname = 'credits_drop_guard';

-- Without accounts it may go, plans or not.
BEGIN;
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
DROP EXTENSION credits;
ROLLBACK;
BEGIN;
DROP SCHEMA "Ledger 1" CASCADE;
ROLLBACK;

SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT t.sqlstate('DROP EXTENSION credits') AS without_purchases;
SELECT credits_add_purchased('u', 5, 'pay_1') ->> 'available' AS available;
SELECT credits_add_purchased('v', 7, 'pay_2') ->> 'available' AS available;
SELECT (t.refused('DROP EXTENSION credits')).*;
CREATE FUNCTION t.drops(OUT statement text, OUT answer text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT s, r.message FROM unnest(ARRAY[
        'DROP EXTENSION credits',
        'DROP EXTENSION IF EXISTS credits CASCADE',
        'DROP EXTENSION IF EXISTS nothing, credits',
        'DROP SCHEMA "Ledger 1" CASCADE',
        'DROP SCHEMA IF EXISTS nothing, "Ledger 1" CASCADE',
        'DROP OWNED BY regress_credits_owner',
        'DROP OWNED BY regress_credits_owner CASCADE',
        'DROP OWNED BY regress_credits_other, regress_credits_owner CASCADE'
    ]) WITH ORDINALITY AS x(s, n), t.refused(s) r ORDER BY n
$$;
SELECT * FROM t.drops();
SELECT message FROM t.refused('DROP SCHEMA "Ledger 1"');
-- also as on a replica
SET session_replication_role = replica;
SELECT DISTINCT answer FROM t.drops();
RESET session_replication_role;
SELECT count(*) AS accounts, sum(purchased) AS purchased FROM credit_account;

-- The schema's owner could destroy what is in it, whoever that belongs to.
ALTER SCHEMA "Ledger 1" OWNER TO regress_credits_schema;
SET ROLE regress_credits_schema;
SELECT message FROM t.refused('DROP SCHEMA "Ledger 1" CASCADE');
SELECT message FROM t.refused('DROP OWNED BY regress_credits_schema CASCADE');
SELECT message FROM t.refused('SET credits.allow_drop = on');
-- who may not drop it is told so, and nothing else
SELECT (t.refused('DROP EXTENSION credits')).*;
SET ROLE regress_credits_other;
SELECT (t.refused('DROP EXTENSION credits')).*;
SELECT (t.refused('DROP SCHEMA "Ledger 1" CASCADE')).*;
SELECT sqlstate, message FROM t.refused('DROP OWNED BY regress_credits_owner CASCADE');
SELECT (t.refused('DROP EXTENSION nothing')).*;
RESET ROLE;

-- Everything else is dropped as ever, also by who has no right here.
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_credits_other', current_database()); END $$;
SELECT has_function_privilege('regress_credits_other', 'credits_drop_guard()', 'EXECUTE') AS may_execute;
SET ROLE regress_credits_other;
CREATE SCHEMA mine;
CREATE TABLE mine.t ();
DROP SCHEMA mine CASCADE;
CREATE SCHEMA mine;
SET client_min_messages = error;
DROP OWNED BY regress_credits_other CASCADE;
SET client_min_messages = warning;
SELECT to_regnamespace('mine') IS NULL AS gone;
RESET ROLE;
DROP EXTENSION IF EXISTS plpgsql_nothing;
DROP TABLE IF EXISTS nothing;
-- members cannot go one by one
SELECT t.sqlstate('DROP TABLE credit_account CASCADE') AS "table", t.sqlstate('DROP EVENT TRIGGER credits_drop_guard') AS guard,
       t.sqlstate('DROP FUNCTION credits_drop_guard() CASCADE') AS function;

-- It is for this event only.
SELECT t.sqlstate('SELECT credits_drop_guard()') AS called;
CREATE EVENT TRIGGER wrong ON ddl_command_end EXECUTE FUNCTION credits_drop_guard();
SELECT t.sqlstate('CREATE TABLE nothing ()') AS wrong_event;
DROP EVENT TRIGGER wrong;

-- What is wrong with it is reported, and mended.
CREATE FUNCTION t.mend(OUT problem text, OUT mended text, OUT left_over int8, OUT guarded text) LANGUAGE plpgsql AS $$
BEGIN
    SELECT string_agg(concat_ws(': ', v.object, v.problem), ', ') INTO problem FROM credits_verify() v;
    mended := credits_repair_guards() ->> 'repaired';
    left_over := (SELECT count(*) FROM credits_verify());
    SELECT r.message INTO guarded FROM t.refused('DROP EXTENSION credits') r;
END $$;
SELECT * FROM t.mend();
ALTER EVENT TRIGGER credits_drop_guard DISABLE;
SELECT t.sqlstate('DROP EXTENSION nothing') AS disabled;
SELECT * FROM t.mend();
ALTER EVENT TRIGGER credits_drop_guard ENABLE;
SELECT * FROM t.mend();
ALTER EXTENSION credits DROP EVENT TRIGGER credits_drop_guard;
SELECT * FROM t.mend();
ALTER EXTENSION credits DROP EVENT TRIGGER credits_drop_guard;
DROP EVENT TRIGGER credits_drop_guard;
SELECT * FROM t.mend();
ALTER EXTENSION credits DROP EVENT TRIGGER credits_drop_guard;
DROP EVENT TRIGGER credits_drop_guard;
CREATE EVENT TRIGGER credits_drop_guard ON ddl_command_start WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION credits_drop_guard();
ALTER EVENT TRIGGER credits_drop_guard ENABLE ALWAYS;
ALTER EXTENSION credits ADD EVENT TRIGGER credits_drop_guard;
SELECT * FROM t.mend();
ALTER EXTENSION credits DROP EVENT TRIGGER credits_drop_guard;
DROP EVENT TRIGGER credits_drop_guard;
CREATE FUNCTION public.nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER credits_drop_guard ON ddl_command_start WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED') EXECUTE FUNCTION public.nothing();
ALTER EVENT TRIGGER credits_drop_guard ENABLE ALWAYS;
ALTER EXTENSION credits ADD EVENT TRIGGER credits_drop_guard;
SELECT * FROM t.mend();
DROP FUNCTION public.nothing();
SELECT evtevent, evtenabled, evttags, evtfoid::regprocedure AS function FROM pg_event_trigger WHERE evtname = 'credits_drop_guard';
SELECT count(*) AS repairs FROM credit_audit_log WHERE action = 'repair_guards';
-- by an owner who is no superuser: the rest is mended
ALTER ROLE regress_credits_owner NOSUPERUSER;
GRANT USAGE ON SCHEMA "Ledger 1" TO regress_credits_owner;
ALTER EVENT TRIGGER credits_drop_guard DISABLE;
ALTER TABLE credit_plan DISABLE TRIGGER credits_guard;
SET ROLE regress_credits_owner;
SELECT credits_repair_guards() ->> 'repaired' AS mended;
SELECT object, problem FROM credits_verify();
RESET ROLE;
SELECT * FROM t.mend();

-- Allowed.
SET credits.allow_drop = on;
BEGIN;
DROP SCHEMA "Ledger 1" CASCADE;
SELECT to_regclass('"Ledger 1".credit_account') IS NULL AS gone;
ROLLBACK;
BEGIN;
DROP OWNED BY regress_credits_owner CASCADE;
SELECT to_regclass('"Ledger 1".credit_account') IS NULL AS gone;
ROLLBACK;
DROP EXTENSION credits;
SELECT count(*) AS event_triggers FROM pg_event_trigger;
RESET search_path;
DROP FUNCTION t.drops(), t.mend();
DROP SCHEMA "Ledger 1";
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM regress_credits_other', current_database()); END $$;
DROP ROLE regress_credits_owner, regress_credits_schema, regress_credits_other;
