-- credit_usage_daily: what was spent, refunded, bought and granted, by UTC day
-- and spender.
SET client_min_messages = warning;
SET timezone = 'America/St_Johns';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['u', 'v', 'idle']) u;
SELECT * FROM credit_usage_daily;
-- a day is from 00:00 to 24:00 UTC, whatever the session's or the account's zone
SET credits.clock = '2026-01-10 23:59:59.999999+00';
SELECT credits_add_purchased('u', 20, 'pay_1') ->> 'available' AS available;
SELECT credits_deduct('u', 6, NULL, 'k1', NULL, 'alice') ->> 'available' AS available;
SELECT credits_deduct('u', 6, NULL, 'k1', NULL, 'alice') ->> 'replayed' AS replayed;
SELECT credits_deduct('u', 5, NULL, NULL, NULL, 'bob') ->> 'available' AS available;
SELECT credits_deduct('u', 1, NULL, NULL, NULL, 'alice') ->> 'available' AS available;
SELECT credits_deduct('u', 2) ->> 'available' AS available;
SELECT credits_try_deduct('u', 200) ->> 'ok' AS ok;
SET credits.clock = '2026-01-11 00:00:00+00';
SELECT credits_deduct('u', 1, NULL, NULL, NULL, 'alice') ->> 'available' AS available;
SELECT credits_deduct('v', 3) ->> 'available' AS available;
SELECT credits_adjust('u', 'purchased', 100, 'no usage') ->> 'available' AS available;
SELECT count(credits_freeze(u)) FROM unnest(ARRAY['v']) u;
SELECT * FROM credit_usage_daily ORDER BY user_id, day, spender;
-- a reset is no usage
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT credits_deduct('u', 11) ->> 'available' AS available;
SELECT * FROM credit_usage_daily WHERE day > '2026-02-01';
-- it is what the history says, and agrees with itself
SELECT sum(operations) AS operations, sum(spent) AS spent, sum(purchased) AS purchased,
       sum(monthly_spent + granted_spent + purchased_spent) AS parts,
       (SELECT sum(amount) FROM credit_history WHERE kind = 'deduct') AS deducted
  FROM credit_usage_daily;
SELECT pg_typeof(day) AS day, pg_typeof(operations) AS operations, pg_typeof(spent) AS spent, pg_typeof(granted) AS granted FROM credit_usage_daily LIMIT 1;

-- Grants, holds, overdrafts, refunds: a hold counts when it is captured, in the
-- parts that it was made of.
SET credits.clock = '2026-02-26 12:00:00+00';
SELECT credits_open_account('w', 'free') ->> 'seq' AS seq;
SELECT credits_grant('w', 20, '2026-03-20 00:00Z') ->> 'seq' AS seq;
SELECT credits_add_purchased('w', 10, 'pay_w') ->> 'seq' AS seq;
SELECT credits_hold('w', 25, '30 hours', NULL, NULL, NULL, 'carol') ->> 'seq' AS seq;
SELECT credits_deduct('w', 1, NULL, NULL, NULL, 'dave') ->> 'seq' AS seq;
SELECT * FROM credit_usage_daily WHERE user_id = 'w' ORDER BY day, spender;
SET credits.clock = '2026-02-27 12:00:00+00';
SELECT credits_capture('w', 4, 4, true, NULL, NULL, NULL, 'carol') ->> 'seq' AS seq;
SELECT credits_capture('w', 4, 24, NULL, NULL, NULL, NULL, 'carol') ->> 'seq' AS seq;
SELECT credits_set_overdraft('w', 5) ->> 'seq' AS seq;
SELECT credits_deduct('w', 13, NULL, NULL, NULL, 'dave') ->> 'seq' AS seq;
SELECT credits_hold('w', 1) ->> 'seq' AS seq FROM credits_add_purchased('w', 5, 'pay_w2');
SELECT credits_release('w', 11) ->> 'seq' AS seq;
SELECT seq, kind, amount, monthly_delta, granted_delta, purchased_delta, owed_purchased, allocations FROM credit_history WHERE user_id = 'w' ORDER BY seq;
SET credits.clock = '2026-02-28 00:00:00+00';
SELECT credits_refund('w', 7, 13) ->> 'seq' AS seq;
SELECT credits_refund('w', 9, 2) ->> 'seq' AS seq;
SELECT credits_revoke_purchase('pay_w', 4) ->> 'seq' AS seq;
-- the month ends while credits are held: what is captured of them then was monthly
SELECT credits_open_account('x', 'free') ->> 'seq' AS seq;
SELECT credits_hold('x', 6, '2 days') ->> 'seq' AS seq;
SET credits.clock = '2026-03-01 00:00:00+00';
SELECT credits_capture('x', 2, 8) ->> 'seq' AS seq;
SELECT seq, kind, amount, monthly_delta, allocations FROM credit_history WHERE user_id = 'x' AND kind = 'capture';
SELECT * FROM credit_usage_daily WHERE user_id IN ('w', 'x') ORDER BY user_id, day, spender;
SELECT sum(spent) = sum(monthly_spent + granted_spent + purchased_spent) AS adds_up, bool_and(least(monthly_spent, granted_spent, purchased_spent) >= 0) AS not_negative,
       sum(spent) = (SELECT sum(amount) FROM credit_history WHERE kind IN ('deduct', 'capture')) AS complete
  FROM credit_usage_daily;
SELECT * FROM credits_verify();

-- For whom credit_balance is; by index for one user.
CREATE ROLE regress_credits_support;
CREATE ROLE regress_credits_app;
SELECT credits_grant_role('regress_credits_support', 'support') ->> 'ok' AS ok, credits_grant_role('regress_credits_app', 'app') ->> 'ok' AS ok;
SET ROLE regress_credits_support;
SELECT count(*) AS rows FROM credit_usage_daily;
SET ROLE regress_credits_app;
SELECT t.sqlstate('SELECT count(*) FROM credit_usage_daily');
RESET ROLE;
SELECT t.sqlstate('DELETE FROM credit_usage_daily') AS deleted;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION t.uses_index(statement text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan;
    RETURN plan::text ~ 'Index Cond": "\(user_id = ''u''';
END $$;
SELECT t.uses_index($$SELECT * FROM credit_usage_daily WHERE user_id = 'u'$$) AS by_index;
DROP FUNCTION t.uses_index(text);
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(credits_revoke_role(r, p)) FROM (VALUES ('regress_credits_support', 'support'), ('regress_credits_app', 'app')) x(r, p);
DROP ROLE regress_credits_support, regress_credits_app;
DROP EXTENSION credits;
