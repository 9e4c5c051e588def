-- Purchases: credited once for ever per payment_ref.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;

SELECT jsonb_pretty(credits_add_purchased('u', 500, 'in_1', 'top-up', NULL, '{"currency": "eur"}'));
SELECT payment_ref, user_id, seq, amount, revoked FROM credit_payment;

-- The same payment again, by whatever event: the first receipt, nothing written.
SELECT credits_deduct('u', 20) ->> 'available' AS available;
SELECT t.fingerprint() AS before \gset
SELECT * FROM t.receipt(credits_add_purchased('u', 500, 'in_1'));
SELECT * FROM t.receipt(credits_add_purchased('u', 500, 'in_1', 'another reason', 'another key'));
SET credits.clock = '2036-01-10 00:00:00+00';
SELECT * FROM t.receipt(credits_add_purchased('u', 500, 'in_1'));
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT t.fingerprint() = :'before' AS nothing_written;

-- With another amount or user it is a conflict, and nobody gets credits.
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_add_purchased('u', 501, 'in_1')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('v', 500, 'in_1')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;

-- An unknown user gets an account without a plan: money never bounces.
SELECT * FROM t.receipt(credits_add_purchased('new', 3, 'in_2'));
SELECT * FROM t.receipt(credits_add_purchased('new', 3, 'in_2'));
SELECT plan IS NULL AS no_plan, next_reset_at IS NULL AS open_ended FROM credit_balance WHERE user_id = 'new';
SELECT * FROM t.receipt(credits_deduct('new', 3));
-- rolled back, there is neither account nor payment
BEGIN;
SELECT credits_add_purchased('gone', 3, 'in_3') ->> 'available' AS available;
ROLLBACK;
SELECT (SELECT count(*) FROM credit_account WHERE user_id = 'gone') AS accounts,
       (SELECT count(*) FROM credit_payment WHERE payment_ref = 'in_3') AS payments;
SELECT * FROM t.receipt(credits_add_purchased('u', 1, 'in_3'));

-- Two purchases in a statement; and one payment twice in a statement.
SELECT (credits_add_purchased('u', 1, ref)) ->> 'available' AS available FROM unnest(ARRAY['in_4', 'in_5', 'in_4']) ref;

-- Purchased credits never expire: no boundary touches them.
SET credits.clock = '2030-01-10 00:00:00+00';
SELECT credits_balance('u') ->> 'purchased' AS purchased, credits_balance('new') ->> 'purchased' AS purchased;

-- An account holds at most 2^53 - 1 credits, all buckets together.
SELECT sqlstate, message FROM t.refused($$SELECT credits_add_purchased('u', 9007199254740991, 'in_6')$$);
SELECT (credits_balance('u') ->> 'available')::int8 AS available \gset
SELECT sqlstate FROM t.refused(format('SELECT credits_add_purchased(''u'', %s, ''in_6'')', 9007199254740991 - :available + 1));
SELECT credits_add_purchased('u', 9007199254740991 - :available, 'in_6') ->> 'available' AS available;
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('u', 1, 'in_7')$$);
-- A reset clamps instead, and says by how much.  In February the allowance
-- of 10 fits, because the old 10 go first; in March there is room for 5.
SET credits.clock = '2030-02-10 00:00:00+00';
SELECT credits_balance('u') ->> 'available' AS available;
SELECT credits_deduct('u', 5) ->> 'monthly' AS monthly;
SELECT credits_add_purchased('u', 5, 'in_7') ->> 'available' AS available;
SET credits.clock = '2030-03-10 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->>'available' AS available FROM credits_balance('u') r;
SELECT credits_reset_due() ->> 'credits_granted' AS granted;
SELECT kind, amount, monthly_delta, monthly, expired, forfeited FROM credit_history
 WHERE user_id = 'u' ORDER BY seq DESC LIMIT 1;

-- Arguments.
SELECT args, t.sqlstate('SELECT credits_add_purchased(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 1, 'p'$$,                       -- 22004
    $$'u', NULL, 'p'$$,                     -- 22004
    $$'u', 1, NULL$$,                       -- 22004
    $$'u', 1, ''$$,                         -- 22023
    $$'u', 1, repeat('p', 256)$$,           -- 22023
    $$'u', 0, 'p'$$,                        -- 22023
    $$'u', -1, 'p'$$,                       -- 22023
    $$'u', 9007199254740992, 'p'$$,         -- 22003
    $$'', 1, 'p'$$                          -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT count(*) FROM credit_payment WHERE payment_ref LIKE 'p%';

SELECT * FROM credits_verify();
DROP EXTENSION credits;
