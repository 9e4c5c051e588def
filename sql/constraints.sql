-- What a DBA adds to the tables holds for the ledger's writes too.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
CREATE ROLE regress_credits_app;
SELECT credits_grant_role('regress_credits_app', 'app') IS NOT NULL AS granted;
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT t.fingerprint() AS before \gset

-- CHECK constraints on either table fail the call, and nothing is half-written.
ALTER TABLE credit_history ADD CONSTRAINT small CHECK (amount < 50) NOT VALID;
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('u', 50)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_try_deduct('u', 50)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('u', 50, 'pay_1')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_adjust('u', 'purchased', 50, 'x')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_deduct('u', 49) ->> 'available' AS available;
ALTER TABLE credit_history DROP CONSTRAINT small;
SELECT t.fingerprint() AS before \gset
ALTER TABLE credit_account ADD CONSTRAINT reserve CHECK (monthly >= 50);
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('u', 2)$$);
SELECT credits_deduct('u', 1) ->> 'available' AS available;
ALTER TABLE credit_account DROP CONSTRAINT reserve;
-- the caller sees the failing row no more than the tables
ALTER TABLE credit_account ADD CONSTRAINT reserve CHECK (monthly >= 50);
SET ROLE regress_credits_app;
SELECT sqlstate, coalesce(detail LIKE 'Failing row contains%', false) AS row_shown FROM t.refused($$SELECT credits_deduct('u', 2)$$);
RESET ROLE;
ALTER TABLE credit_account DROP CONSTRAINT reserve;
ALTER TABLE credit_payment ADD CONSTRAINT stripe CHECK (payment_ref LIKE 'in\_%');
SELECT t.fingerprint() AS before \gset
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('u', 5, 'pay_1')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('new', 5, 'pay_1')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_add_purchased('u', 5, 'in_1') ->> 'available' AS available;
ALTER TABLE credit_payment DROP CONSTRAINT stripe;
-- a constraint that only some kinds of rows must meet
ALTER TABLE credit_history ADD CONSTRAINT reasoned CHECK (reason IS NOT NULL OR kind <> 'deduct') NOT VALID;
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('u', 1)$$);
SELECT credits_deduct('u', 1, 'image') ->> 'available' AS available;
ALTER TABLE credit_history DROP CONSTRAINT reasoned;

-- Indexes are kept: a unique one bites, a plain one finds.
CREATE UNIQUE INDEX dba_order ON credit_history ((metadata->>'order')) WHERE kind = 'deduct';
SELECT credits_deduct('u', 1, NULL, NULL, '{"order": 7}') ->> 'available' AS available;
SELECT t.fingerprint() AS before \gset
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('u', 1, NULL, NULL, '{"order": 7}')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_deduct('u', 1, NULL, NULL, '{"order": 8}') ->> 'available' AS available;
CREATE INDEX dba_balance ON credit_account (monthly, purchased);
SELECT credits_deduct('u', 1) ->> 'monthly' AS monthly \gset
SET enable_seqscan = off;
SELECT user_id, monthly FROM credit_account WHERE monthly = :monthly;
SELECT count(*) FROM credit_account WHERE monthly = :monthly + 1;
SELECT seq, amount FROM credit_history WHERE metadata->>'order' = '8' AND kind = 'deduct';
RESET enable_seqscan;
DROP INDEX dba_balance, dba_order;

-- AFTER ROW triggers fire, as the caller; SECURITY DEFINER lets them do more.
CREATE TABLE dba_log (what text, who text, old int8, new int8);
CREATE FUNCTION dba_log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'credit_account' THEN
        INSERT INTO dba_log VALUES (TG_OP || ' ' || TG_TABLE_NAME, CASE current_user WHEN session_user THEN 'owner' ELSE current_user END,
                                    CASE WHEN TG_OP = 'UPDATE' THEN OLD.monthly END, NEW.monthly);
    ELSIF NEW.reason = 'forbidden' THEN
        RAISE EXCEPTION 'not so' USING ERRCODE = 'TT001';
    ELSE
        INSERT INTO dba_log VALUES (TG_OP || ' ' || TG_TABLE_NAME, CASE current_user WHEN session_user THEN 'owner' ELSE current_user END,
                                    NULL, NEW.amount);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION dba_log() FROM PUBLIC;
CREATE TRIGGER dba_log AFTER INSERT OR UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_log();
CREATE TRIGGER dba_log AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION dba_log();
SET ROLE regress_credits_app;
SELECT credits_deduct('u', 2) ->> 'available' AS available;
SELECT credits_deduct('u', 1) ->> 'available' AS first, credits_deduct('u', 1) ->> 'available' AS second;
RESET ROLE;
SELECT credits_open_account('v', 'free') ->> 'available' AS available;
SELECT * FROM dba_log;
SELECT seq, actor FROM credit_history WHERE user_id = 'u' ORDER BY seq DESC LIMIT 1;
-- one that raises fails the call, and nothing is half-written
SELECT t.fingerprint() AS before \gset
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('u', 1, 'forbidden')$$);
SELECT t.fingerprint() = :'before' AS nothing_written, (SELECT count(*) FROM dba_log) AS logged;
-- one with a condition, and one that calls the ledger in turn
DROP TRIGGER dba_log ON credit_account;
CREATE FUNCTION dba_bonus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credits_add_purchased('referrer', NEW.amount / 10, 'bonus for ' || NEW.payment_ref);
    RETURN NULL;
END $$;
CREATE TRIGGER dba_bonus AFTER INSERT ON credit_history FOR EACH ROW
    WHEN (NEW.kind = 'purchase' AND NEW.user_id = 'v') EXECUTE FUNCTION dba_bonus();
SELECT credits_add_purchased('v', 50, 'in_2') ->> 'available' AS available;
SELECT credits_add_purchased('v', 70, 'in_3') ->> 'available' AS available;
SELECT user_id, purchased FROM credit_account WHERE user_id IN ('v', 'referrer') ORDER BY 1;
DROP TRIGGER dba_bonus ON credit_history;
DROP TRIGGER dba_log ON credit_history;
DROP FUNCTION dba_bonus();

-- A trigger is no way to become the owner: it runs as the caller, whose
-- temporary tables an unqualified name can mean.
CREATE FUNCTION dba_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO feed VALUES (NEW.user_id, current_user);
    RETURN NULL;
END $$;
CREATE TRIGGER dba_feed AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION dba_feed();
SET ROLE regress_credits_app;
CREATE TEMP TABLE feed (user_id text, who text);
SELECT credits_deduct('u', 1) ->> 'ok' AS ok;
SELECT * FROM feed;
DROP TABLE feed;
RESET ROLE;
DROP TRIGGER dba_feed ON credit_history;

-- Nor is a function in a CHECK that a caller's search_path can redirect: what
-- one caller compiled is not run by the next.
CREATE SCHEMA regress_evil AUTHORIZATION regress_credits_app;
CREATE FUNCTION dba_limit() RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT 0::int8';
CREATE FUNCTION dba_check(int8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 >= dba_limit()';
ALTER TABLE credit_account ADD CONSTRAINT dba_check CHECK (dba_check(monthly));
SET ROLE regress_credits_app;
CREATE FUNCTION regress_evil.dba_limit() RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN 0; END $$;
SET search_path = regress_evil, public;
SELECT credits_deduct('u', 1) ->> 'ok' AS ok;
RESET search_path;
RESET ROLE;
SELECT credits_deduct('u', 1) ->> 'ok' AS ok;
ALTER TABLE credit_account DROP CONSTRAINT dba_check;
DROP FUNCTION dba_check(int8), dba_limit();
DROP SCHEMA regress_evil CASCADE;

-- A trigger on some columns fires, and one can call the ledger for the same user.
CREATE FUNCTION dba_top_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'credit_account' THEN
        RAISE NOTICE 'monthly % -> %', OLD.monthly, NEW.monthly;
    ELSE
        RAISE NOTICE 'available in the trigger: %', credits_balance(NEW.user_id) ->> 'available';
        PERFORM credits_add_purchased(NEW.user_id, 7, 'auto ' || NEW.seq);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER dba_columns AFTER UPDATE OF monthly ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_top_up();
CREATE TRIGGER dba_top_up AFTER INSERT ON credit_history FOR EACH ROW WHEN (NEW.kind = 'deduct') EXECUTE FUNCTION dba_top_up();
SELECT credits_deduct('v', 30) ->> 'available' AS available;
SELECT credits_balance('v') ->> 'available' AS available;
DROP TRIGGER dba_columns ON credit_account;
DROP TRIGGER dba_top_up ON credit_history;
DROP FUNCTION dba_top_up();
SELECT count(*) AS bad FROM credits_verify();

-- So can one on the payments: what was bought is all there when it fires.
CREATE FUNCTION dba_thanks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credits_adjust(NEW.user_id, 'purchased', 1, 'thanks');
    RETURN NULL;
END $$;
CREATE TRIGGER dba_thanks AFTER INSERT ON credit_payment FOR EACH ROW EXECUTE FUNCTION dba_thanks();
SELECT credits_add_purchased('v', 10, 'thx_1') ->> 'purchased' AS old_user, credits_add_purchased('fan', 10, 'thx_2') ->> 'purchased' AS new_user;
SELECT seq, kind, amount FROM credits_history('fan');
-- and what it may not see is not shown to who violates a CHECK
ALTER TABLE credit_account ADD CONSTRAINT dba_rich CHECK (purchased < 100) NOT VALID;
CREATE TRIGGER dba_columns AFTER UPDATE OF granted ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_thanks();
SET ROLE regress_credits_app;
SELECT * FROM t.refused($$SELECT credits_deduct('v', 1)$$);
RESET ROLE;
ALTER TABLE credit_account DROP CONSTRAINT dba_rich;
DROP TRIGGER dba_columns ON credit_account;
DROP TRIGGER dba_thanks ON credit_payment;
DROP FUNCTION dba_thanks();
SELECT count(*) AS bad FROM credits_verify();

-- Columns that a DBA adds get their defaults, and keep what they were given.
CREATE DOMAIN dba_zero AS int DEFAULT 0 NOT NULL;
ALTER TABLE credit_history ADD COLUMN dba_id int GENERATED ALWAYS AS IDENTITY, ADD COLUMN dba_domain dba_zero;
SELECT credits_deduct('v', 1) ->> 'ok' AS ok;
SELECT count(*) = max(dba_id) AS numbered, sum(dba_domain) AS zeros FROM credit_history;
ALTER TABLE credit_history DROP COLUMN dba_id, DROP COLUMN dba_domain;
DROP DOMAIN dba_zero;
ALTER TABLE credit_history ADD COLUMN dba_note text NOT NULL DEFAULT 'none';
ALTER TABLE credit_account ADD COLUMN dba_tier int NOT NULL DEFAULT 5;
SELECT credits_deduct('v', 1) ->> 'ok' AS ok, credits_open_account('w', 'free') ->> 'ok' AS opened;
SELECT DISTINCT dba_note FROM credit_history;
SELECT DISTINCT dba_tier FROM credit_account;
ALTER TABLE credit_history DROP COLUMN dba_note;
ALTER TABLE credit_account DROP COLUMN dba_tier;

-- Generated columns meet their constraints, and a constraint that is not
-- enforced need not be met.  Before PostgreSQL 18 generated columns are stored
-- and constraints are enforced, all of them.
DO $$
DECLARE
    newer bool := current_setting('server_version_num')::int >= 180000;
BEGIN
    EXECUTE format('ALTER TABLE credit_history ADD COLUMN dba_twice int8 NOT NULL
                        GENERATED ALWAYS AS (nullif(amount, 46) * 2) %s',
                   CASE WHEN newer THEN 'VIRTUAL' ELSE 'STORED' END);
    ALTER TABLE credit_history ADD CONSTRAINT dba_small CHECK (dba_twice < 90) NOT VALID;
    IF newer THEN
        EXECUTE 'ALTER TABLE credit_history ADD CONSTRAINT dba_wish CHECK (amount > 1000) NOT ENFORCED';
    END IF;
END $$;
SELECT t.fingerprint() AS before \gset
SELECT sqlstate, message FROM t.refused($$SELECT credits_adjust('v', 'purchased', 45, 'x')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_adjust('v', 'purchased', 46, 'x')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_adjust('v', 'purchased', 44, 'x') ->> 'ok' AS ok, credits_deduct('v', 44) ->> 'ok' AS ok_again;
ALTER TABLE credit_history DROP COLUMN dba_twice;
ALTER TABLE credit_history DROP CONSTRAINT IF EXISTS dba_wish;

-- The other kinds cannot be honoured, so the call is refused: 0A000.
CREATE FUNCTION dba_noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION t.with_trigger(tab text, kind text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got text;
BEGIN
    EXECUTE format('CREATE TRIGGER dba %s ON %I %s EXECUTE FUNCTION dba_noop()',
                   split_part(kind, ',', 1), tab, split_part(kind, ',', 2));
    got := t.sqlstate($c$SELECT credits_add_purchased('u', 1, 'in_9'), credits_deduct('u', 1)$c$);
    EXECUTE format('DROP TRIGGER dba ON %I', tab);
    RETURN got;
END $$;
SELECT t.fingerprint() AS before \gset
SELECT tab, kind, t.with_trigger(tab, kind)
  FROM unnest(ARRAY['credit_account', 'credit_history', 'credit_payment']) tab,
       unnest(ARRAY['BEFORE INSERT OR UPDATE,FOR EACH ROW']) kind;
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused($$
    CREATE TRIGGER dba BEFORE UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_noop();
    SELECT credits_deduct('u', 1)$$);
SELECT t.with_trigger('credit_account', 'AFTER UPDATE,FOR EACH STATEMENT') AS after_statement,
       t.with_trigger('credit_history', 'BEFORE INSERT,FOR EACH STATEMENT') AS before_statement;
SELECT t.fingerprint() = :'before' AS nothing_written;
-- gone, everything works again
SELECT credits_deduct('u', 1) ->> 'available' AS available;

-- Row security is not for the ledger: EXECUTE is the only right.
ALTER TABLE credit_account ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_account FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_history FORCE ROW LEVEL SECURITY;
SET ROLE regress_credits_app;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
SELECT credits_balance('u') ->> 'available' AS available;
RESET ROLE;
ALTER TABLE credit_account DISABLE ROW LEVEL SECURITY;
ALTER TABLE credit_account NO FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_history DISABLE ROW LEVEL SECURITY;
ALTER TABLE credit_history NO FORCE ROW LEVEL SECURITY;

SELECT * FROM credits_verify();
DROP FUNCTION t.with_trigger(text, text);
DROP FUNCTION dba_noop();
DROP FUNCTION dba_log();
DROP TABLE dba_log;
DROP OWNED BY regress_credits_app;
DROP ROLE regress_credits_app;
DROP EXTENSION credits;
