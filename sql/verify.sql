-- Who disables a guard can change a row; verification finds which.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_define_plan('pro', 100, 'anniversary', 30) ->> 'version' AS version;
SELECT credits_define_plan('spare', 1) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['a', 'b', 'c']) u;
SELECT count(credits_deduct(u, n, 'reason ' || n, 'key ' || n, '{"a": [1, 2]}', 'someone')) FROM unnest(ARRAY['a', 'b', 'c']) u, generate_series(1, 3) n;
SELECT count(credits_add_purchased(u, 50, 'pay_' || u)) FROM unnest(ARRAY['a', 'b', 'c', 'd']) u;
SELECT count(credits_set_plan(u, 'pro', w)) FROM (VALUES ('a', 'now'), ('b', 'next_reset')) v(u, w);
SELECT credits_freeze('c') ->> 'kind' AS kind;
SET credits.clock = '2026-04-20 00:00:00+00';
SELECT credits_reset_due() -> 'accounts' AS accounts;
SELECT count(credits_adjust(u, 'purchased', -1, 'x')) FROM unnest(ARRAY['a', 'b', 'c', 'd']) u;
SELECT credits_set_plan('b', NULL) ->> 'kind' AS kind;

-- Clean as it is, per account and as a whole.
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_account('a');
SELECT * FROM credits_verify_structure();
SELECT user_id, max(seq) AS seq FROM credit_history GROUP BY 1 ORDER BY 1;

-- One tampering at a time, each undone: guards off, the change, guards on.
CREATE FUNCTION t.tampered(change text, OUT bad int8, OUT object text, OUT bad_user_id text, OUT bad_seq int8, OUT problem text)
LANGUAGE plpgsql AS $$
DECLARE
    tab text;
BEGIN
    FOREACH tab IN ARRAY ARRAY['credit_plan', 'credit_account', 'credit_history', 'credit_payment', 'credit_audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER credits_guard', tab);
        EXECUTE (SELECT string_agg(format('ALTER TABLE %I DROP CONSTRAINT %I', tab, conname), ';')
                   FROM pg_constraint WHERE conrelid = tab::regclass AND contype = 'c');
    END LOOP;
    EXECUTE change;
    FOREACH tab IN ARRAY ARRAY['credit_plan', 'credit_account', 'credit_history', 'credit_payment', 'credit_audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER credits_guard', tab);
    END LOOP;
    SELECT count(*) OVER (), v.* INTO bad, object, bad_user_id, bad_seq, problem
      FROM credits_verify() v ORDER BY v.object COLLATE "C", v.bad_user_id COLLATE "C", v.bad_seq;
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN SQLSTATE 'TT000' THEN
    bad := coalesce(bad, 0);
END $$;
SELECT change, r.*
  FROM unnest(ARRAY[
    -- history
    $$UPDATE credit_history SET amount = 4 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET reason = 'reason 9' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET metadata = '{"a": [1, 3]}' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET reason = NULL WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET metadata = NULL WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET text_salt = '\x00' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET monthly_delta = monthly_delta + 1 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET monthly = monthly + 1 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET purchased_delta = purchased_delta + 1 WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_history SET created_at = created_at + interval '1 us' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET effective_at = effective_at - interval '1 us' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET period = period + 1 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET period_start = period_start + interval '1 s' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET period_share = period_share - 1 WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET cycle = 'anniversary' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET last_left = last_left + 1 WHERE user_id = 'a' AND seq = 7$$,
    $$UPDATE credit_history SET last_limit = last_limit + 1 WHERE user_id = 'a' AND seq = 7$$,
    $$UPDATE credit_history SET last_undone = true WHERE user_id = 'a' AND seq = 7$$,
    $$UPDATE credit_history SET low_threshold = 5 WHERE user_id = 'a' AND seq = 7$$,
    $$UPDATE credit_history SET crossed = 'low' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET crossed = 'x' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET next_reset_at = next_reset_at + interval '1 s' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET kind = 'adjust' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET actor = 'mallory' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET spender = 'mallory' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET spender = NULL WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET idempotency_key = 'key 9' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET idempotency_key = NULL WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET request_digest = sha256('x') WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET payment_ref = 'pay_x' WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_history SET plan = 'pro' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET plan_version = 7 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET period_granted = 11 WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET time_zone = 'Europe/Paris' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET cycle_anchor = cycle_anchor + interval '1 day' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET status = 'active' WHERE user_id = 'c' AND kind = 'freeze'$$,
    $$UPDATE credit_history SET overdraft_limit = 1000 WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET expired = expired + 1 WHERE user_id = 'a' AND kind = 'reset'$$,
    $$UPDATE credit_history SET skipped = skipped + 1 WHERE user_id = 'a' AND kind = 'reset'$$,
    $$UPDATE credit_history SET run_id = gen_random_uuid() WHERE user_id = 'a' AND kind = 'reset'$$,
    $$UPDATE credit_history SET owed_purchased = 1 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET allocations = '{1,1}' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET hash = sha256('x') WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET hash = sha256('x') WHERE user_id = 'a' AND seq = (SELECT max(seq) FROM credit_history WHERE user_id = 'a')$$,
    $$DELETE FROM credit_history WHERE user_id = 'a' AND seq = 3$$,
    $$DELETE FROM credit_history WHERE user_id = 'a' AND seq = 1$$,
    $$DELETE FROM credit_history WHERE user_id = 'a' AND seq = (SELECT max(seq) FROM credit_history WHERE user_id = 'a')$$,
    $$DELETE FROM credit_history WHERE user_id = 'a'$$,
    $$UPDATE credit_history SET user_id = 'b' || seq WHERE user_id = 'a'$$,
    $$INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"seq": 100}')).* FROM credit_history h WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_history SET seq = seq + 1000 WHERE user_id = 'a' AND seq = 5$$,
    -- account
    $$UPDATE credit_account SET monthly = monthly + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET granted = granted + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET purchased = purchased + 1 WHERE user_id = 'd'$$,
    $$UPDATE credit_account SET held_purchased = 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET owed_purchased = 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET owed_monthly = 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET overdraft_limit = 1000 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET period_granted = 0 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET period = period - 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET period_share = 999999 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET cycle = 'calendar' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_left = last_left + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_limit = last_limit + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_undone = true WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET end_anchor = cycle_anchor, end_zone = time_zone, end_cycle = 'calendar' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET closed_seq = 5 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET forfeited = 50 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET charged_monthly = 50 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET charged_purchased = 50 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_charged = 50 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_closed_seq = 50 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET low_threshold = 5 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET plan_threshold = plan_threshold + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET level = CASE level WHEN 'low' THEN 'empty' ELSE 'low' END WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET level = 'x' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET flags = coalesce(flags, 0) + 32 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET last_monthly_reset = last_monthly_reset - interval '1 day' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET next_reset_at = next_reset_at - interval '1 day' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET next_event_at = next_event_at + interval '1 day' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET next_event_at = NULL WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET effective_at = effective_at - interval '1 day' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET cycle_anchor = cycle_anchor + interval '1 day' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET time_zone = 'Europe/Paris' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET status = 'active' WHERE user_id = 'c'$$,
    $$UPDATE credit_account SET plan = 'pro', plan_version = 1 WHERE user_id = 'c'$$,
    $$UPDATE credit_account SET scheduled_plan = 'pro' WHERE user_id = 'c'$$,
    $$UPDATE credit_account SET history_seq = history_seq - 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET history_hash = sha256('x') WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET user_id = 'z' WHERE user_id = 'a'$$,
    $$DELETE FROM credit_account WHERE user_id = 'a'$$,
    -- payments
    $$UPDATE credit_payment SET amount = 51 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET revoked = 1 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET reported = 1 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET granted = true WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET paid_at = paid_at - interval '121 days' WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET seq = seq - 1 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET user_id = 'b' WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET payment_ref = 'pay_x' WHERE payment_ref = 'pay_a'$$,
    $$DELETE FROM credit_payment WHERE payment_ref = 'pay_a'$$,
    $$INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'a')$$,
    $$INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'nobody')$$,
    -- plans and the audit log
    $$UPDATE credit_plan SET monthly_credits = 1000 WHERE plan = 'free'$$,
    $$UPDATE credit_plan SET effective_from = effective_from - interval '1 day' WHERE plan = 'free'$$,
    $$DELETE FROM credit_plan WHERE plan = 'free'$$,
    $$DELETE FROM credit_plan WHERE plan = 'spare'$$,
    $$UPDATE credit_plan SET low_balance_threshold = 3 WHERE plan = 'spare'$$,
    $$INSERT INTO credit_plan VALUES (2, '2026-04-25 00:00:00+00', 1000, 0, 0, '2026-04-20 00:00:00+00', 'free', 'calendar')$$,
    $$UPDATE credit_audit_log SET actor = 'mallory' WHERE seq = 1$$,
    $$UPDATE credit_audit_log SET after = '{}' WHERE seq = 2$$,
    $$DELETE FROM credit_audit_log WHERE seq = 1$$,
    $$DELETE FROM credit_audit_log WHERE seq = 2$$,
    -- what is no row at all is named, and hides nothing else
    $$UPDATE credit_history SET kind = 'nonsense' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET status = 'zzz' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET time_zone = NULL WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET plan = 'gold', scheduled_plan = 'gold' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET allocations = '{42}' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET allocations = '{}' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET allocations = '{{1,2},{3,4}}' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET plan_version = 0 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET next_reset_at = 'infinity' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET effective_at = '-infinity' WHERE user_id = 'a' AND seq = 1$$,
    $$UPDATE credit_history SET hash = '\x00' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_history SET text_salt = text_salt || convert_to(left(reason, 1), 'UTF8'), reason = substr(reason, 2) WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_account SET status = 'zzz' WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET next_event_at = 'infinity' WHERE user_id = 'a'$$,
    $$UPDATE credit_plan SET cycle = 'hourly' WHERE plan = 'free' AND version = 1$$,
    $$UPDATE credit_plan SET created_at = created_at - interval '1 us' WHERE plan = 'free' AND version = 1$$,
    $$CREATE TABLE regress_child () INHERITS (credit_history)$$,
    $$INSERT INTO credit_audit_log SELECT 100, '2026-04-20 00:00:00+00', 'freeze', 'a', 'mallory', hash FROM credit_audit_log WHERE seq = 1$$
  ]) WITH ORDINALITY AS c(change, n), t.tampered(c.change) r ORDER BY n;

-- One bad row per bad account, the first.
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET amount = amount + 1 WHERE user_id IN ('a', 'b') AND seq >= 3;
SELECT object, bad_user_id, bad_seq FROM credits_verify() WHERE bad_user_id IS NOT NULL ORDER BY 2;
SELECT object, bad_user_id, bad_seq FROM credits_verify_account('a');
SELECT count(*) FROM credits_verify_account('c');
ROLLBACK;
SELECT count(*) AS bad FROM credits_verify();

-- A replay of a row that this version does not know fails, and nothing worse.
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
SELECT user_id AS keyed_user, idempotency_key AS known_key FROM credit_history WHERE idempotency_key <> '' AND kind = 'deduct' LIMIT 1 \gset
UPDATE credit_history SET kind = 'teleport' WHERE user_id = :'keyed_user' AND idempotency_key = :'known_key';
SELECT sqlstate FROM t.refused(format('SELECT credits_deduct(%L, 1, NULL, %L)', :'keyed_user', :'known_key'));
ROLLBACK;

-- A column that is not what it should be is an error, not a wrong value.
BEGIN;
ALTER TABLE credit_account DROP CONSTRAINT credit_account_amounts;
ALTER TABLE credit_account ALTER COLUMN overdraft_limit TYPE numeric;
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('a', 1)$$);
ROLLBACK;
BEGIN;
ALTER TABLE credit_history RENAME actor TO x;
ALTER TABLE credit_history RENAME spender TO actor;
ALTER TABLE credit_history RENAME x TO spender;
SELECT sqlstate, message FROM t.refused($$SELECT * FROM credits_verify()$$);
ROLLBACK;
BEGIN;
ALTER TABLE credit_history ALTER COLUMN hash DROP NOT NULL;
SELECT sqlstate, message FROM t.refused($$SELECT * FROM credits_verify()$$);
ROLLBACK;

-- An index that is not what it should be is not trusted.
BEGIN;
ALTER TABLE credit_history DROP CONSTRAINT credit_history_pkey;
CREATE UNIQUE INDEX credit_history_pkey ON credit_history (user_id, seq) WHERE seq < 1000;
SELECT sqlstate, message FROM t.refused($$SELECT * FROM credits_verify()$$);
ROLLBACK;
-- one that knows no case would take another's key for this one
BEGIN;
SELECT credits_deduct('a', 1, idempotency_key => 'Key') -> 'ok' AS ok;
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
DROP INDEX credit_history_key_idx;
CREATE UNIQUE INDEX credit_history_key_idx ON credit_history (user_id, idempotency_key COLLATE no_case) WHERE idempotency_key IS NOT NULL;
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('a', 1, idempotency_key => 'KEY')$$);
ROLLBACK;
BEGIN;
DROP INDEX credit_history_key_idx;
CREATE UNIQUE INDEX credit_history_key_idx ON credit_history (user_id, idempotency_key text_pattern_ops) WHERE idempotency_key IS NOT NULL;
SELECT sqlstate, message FROM t.refused($$SELECT credits_deduct('a', 1)$$);
ROLLBACK;
SELECT count(*) AS bad FROM credits_verify();

-- A default plan that is not there: of the session, of the database, of a role.
SET credits.default_plan = 'nosuchplan';
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_structure();
RESET credits.default_plan;
CREATE ROLE regress_credits_default;
SELECT format('ALTER DATABASE %I SET credits.default_plan = %L', current_database(), 'nosuchplan') \gexec
SELECT format('ALTER ROLE regress_credits_default IN DATABASE %I SET credits.default_plan = %L', current_database(), 'nor this') \gexec
ALTER ROLE regress_credits_default SET credits.default_plan = '';
SELECT * FROM credits_verify() ORDER BY problem;
SELECT format('ALTER DATABASE %I SET credits.default_plan = %L', current_database(), 'free') \gexec
SELECT format('ALTER ROLE regress_credits_default IN DATABASE %I RESET credits.default_plan', current_database()) \gexec
SELECT * FROM credits_verify();
SELECT format('ALTER DATABASE %I RESET credits.default_plan', current_database()) \gexec
DROP ROLE regress_credits_default;

SELECT sqlstate FROM t.refused($$SELECT * FROM credits_verify_account('nobody')$$);
SELECT sqlstate FROM t.refused($$SELECT * FROM credits_verify_account(NULL)$$);
DROP FUNCTION t.tampered(text);
DROP EXTENSION credits;
