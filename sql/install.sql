-- Where the extension can be put, what it brings along, and that it goes
-- without leaving anything.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';

-- A schema whose name needs quotes, made hostile: names that the install
-- script and the code use, planted in the schema, must not be taken.
CREATE SCHEMA "Credits & Co";
CREATE FUNCTION "Credits & Co".trap() RETURNS int8 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a planted object was used'; END $$;
CREATE FUNCTION "Credits & Co".octet_length(varchar) RETURNS int4 LANGUAGE sql AS 'SELECT "Credits & Co".trap()::int4';
CREATE FUNCTION "Credits & Co".format(text, text, text, text) RETURNS text LANGUAGE sql AS 'SELECT "Credits & Co".trap()::text';
CREATE FUNCTION "Credits & Co".quote_ident(name) RETURNS text LANGUAGE sql AS 'SELECT "Credits & Co".trap()::text';
CREATE FUNCTION "Credits & Co".differs(int8, int4) RETURNS bool LANGUAGE sql AS 'SELECT "Credits & Co".trap() > 0';
CREATE OPERATOR "Credits & Co".>= (LEFTARG = int8, RIGHTARG = int4, FUNCTION = "Credits & Co".differs);
CREATE OPERATOR "Credits & Co".<= (LEFTARG = int8, RIGHTARG = int4, FUNCTION = "Credits & Co".differs);
CREATE DOMAIN "Credits & Co".text AS int4;
CREATE DOMAIN "Credits & Co".jsonb AS int4;
CREATE EXTENSION credits SCHEMA "Credits & Co";

-- every member of the extension is in that schema; an event trigger is in none
SELECT count(*) > 30 AS has_members,
       count(*) FILTER (WHERE (pg_identify_object(classid, objid, objsubid)).schema IS DISTINCT FROM '"Credits & Co"') AS elsewhere
  FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid <> 'pg_event_trigger'::regclass
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits');

-- no rows come with it: they would collide with those of a dump
SELECT (SELECT count(*) FROM "Credits & Co".credit_plan) AS plans,
       (SELECT count(*) FROM "Credits & Co".credit_account) AS accounts,
       (SELECT count(*) FROM "Credits & Co".credit_history) AS history,
       (SELECT count(*) FROM "Credits & Co".credit_payment) AS payments,
       (SELECT count(*) FROM "Credits & Co".credit_reset_run) AS runs,
       (SELECT count(*) FROM "Credits & Co".credit_audit_log) AS audit,
       (SELECT count(*) FROM "Credits & Co".credit_role) AS roles,
       (SELECT count(*) FROM "Credits & Co".credit_anchor) AS anchors,
       (SELECT count(*) FROM "Credits & Co".credit_anchor_leaf) AS leaves;

-- nothing relies on the search_path
SET search_path = '';
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT "Credits & Co".credits_define_plan('free', 10) ->> 'plan' AS defined;
SELECT "Credits & Co".credits_open_account('u', 'free') ->> 'monthly' AS monthly;
SELECT "Credits & Co".credits_add_purchased('u', 5, 'pay_1') ->> 'available' AS available;
SELECT "Credits & Co".credits_deduct('u', 12) ->> 'available' AS available;
SELECT "Credits & Co".credits_balance('u') ->> 'available' AS available;
SELECT available FROM "Credits & Co".credit_balance;
SELECT count(*) FROM "Credits & Co".credits_history('u');
SELECT "Credits & Co".credits_reset_due() ->> 'accounts' AS reset;
SELECT count(*) AS bad FROM "Credits & Co".credits_verify();

-- ... nor on what a hostile one finds first
SET search_path = "Credits & Co", pg_catalog, public;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
SELECT count(*) AS bad FROM credits_verify();
RESET search_path;

-- The tables go to pg_dump with all their rows.
SELECT c.relname AS not_dumped
  FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
   AND NOT c.oid = ANY (e.extconfig);
SELECT bool_and(condition = '') AS unconditional
  FROM pg_extension, unnest(extcondition) AS condition WHERE extname = 'credits';

-- Every object has a comment.
SELECT pg_describe_object(d.classid, d.objid, 0) AS uncommented
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
   AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
   AND obj_description(d.objid, (SELECT relname FROM pg_class WHERE oid = d.classid)) IS NULL
 ORDER BY 1;
SELECT obj_description(oid, 'pg_extension') IS NOT NULL AS extension_has_comment
  FROM pg_extension WHERE extname = 'credits';

-- It stays where it was put.
SELECT sqlstate FROM t.refused('ALTER EXTENSION credits SET SCHEMA public');

-- Only a superuser can create it.
CREATE ROLE regress_credits_nobody;
SET SESSION AUTHORIZATION regress_credits_nobody;
SELECT sqlstate FROM t.refused('CREATE EXTENSION credits');
RESET SESSION AUTHORIZATION;
DROP ROLE regress_credits_nobody;

-- Dropped, it leaves nothing: only what was planted is still in the schema.
DROP EXTENSION credits;
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = '"Credits & Co"'::regnamespace ORDER BY 1;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = '"Credits & Co"'::regnamespace;
SELECT count(*) AS left_over FROM pg_proc WHERE proname LIKE 'credits\_%';

-- The same session finds it again in another schema, with nothing remembered.
CREATE SCHEMA elsewhere;
CREATE EXTENSION credits SCHEMA elsewhere;
SELECT sqlstate FROM t.refused($$SELECT elsewhere.credits_deduct('u', 1)$$);
SELECT elsewhere.credits_define_plan('free', 20) ->> 'version' AS version;
SELECT elsewhere.credits_open_account('u', 'free') ->> 'monthly' AS monthly;
SELECT elsewhere.credits_deduct('u', 1) ->> 'available' AS available;
DROP EXTENSION credits;
DROP SCHEMA elsewhere;

-- By default it goes to the first schema of the search_path, and a second
-- one cannot be created.
CREATE EXTENSION credits;
SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'credits';
SELECT sqlstate FROM t.refused('CREATE EXTENSION credits SCHEMA "Credits & Co"');
DROP EXTENSION credits;

-- The script says so when it is run by hand with psql instead: nothing is
-- made without CREATE EXTENSION.  And a failed installation leaves nothing.
CREATE TABLE credit_plan ();
SELECT sqlstate FROM t.refused('CREATE EXTENSION credits');
SELECT count(*) AS left_over FROM pg_proc WHERE proname LIKE 'credits\_%';
DROP TABLE credit_plan;
DROP SCHEMA "Credits & Co" CASCADE;
