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

-- Kinds by their rows: overdraft, grants, captures, refunds.
BEGIN;
CREATE FUNCTION t.put(seq int8, facts jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO credit_history
    SELECT (jsonb_populate_record(h, jsonb_build_object('user_id', 'w', 'seq', put.seq, 'effective_at', '2026-03-01 12:00Z', 'idempotency_key', NULL, 'spender', NULL,
                                                        'monthly_delta', 0, 'granted_delta', 0, 'purchased_delta', 0) || put.facts)).*
      FROM credit_history h WHERE user_id = 'u' AND h.seq = 4
$$;
SELECT t.put(1, '{"kind": "grant", "amount": 50, "granted_delta": 50}');
SELECT t.put(2, '{"kind": "hold", "amount": 30, "monthly_delta": -10, "granted_delta": -20, "allocations": [1, 20], "spender": "carol"}');
SELECT t.put(3, '{"kind": "capture", "amount": 33, "ref_seq": 2, "purchased_delta": -3, "allocations": [0, 4, 1, 12, 9, 8, -1, 3, -2, 6], "spender": "carol"}');
SELECT t.put(4, '{"kind": "deduct", "amount": 9, "monthly_delta": -1, "granted_delta": -2, "purchased_delta": -3, "owed_purchased": 3, "allocations": [1, 2], "spender": "dave"}');
SELECT t.put(5, '{"kind": "refund", "amount": 13, "ref_seq": 3, "forfeited": 6, "monthly_delta": 4, "purchased_delta": 3, "effective_at": "2026-03-02 00:00Z"}');
SELECT t.put(6, '{"kind": "refund", "amount": 2, "ref_seq": 4, "granted_delta": 2}');
SELECT t.put(7, '{"kind": "release", "amount": 7, "ref_seq": 2, "monthly_delta": 7}');
SELECT t.put(8, '{"kind": "revoke", "amount": 20, "payment_ref": "pay_1", "purchased_delta": -20}');
SELECT t.put(9, '{"kind": "grant_end", "amount": 20, "expired": 20, "granted_delta": -20, "ref_seq": 1}');
SELECT * FROM credit_usage_daily WHERE user_id = 'w' ORDER BY day, spender;
ROLLBACK;

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
