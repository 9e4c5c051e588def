-- Chargebacks: a purchase taken back.  What is not there any more is owed, and is paid
-- by whatever comes to the bucket.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;

-- Before anything is spent: it is gone.  In parts, and never more than was paid.
CALL t.story($$
    01-10 | credits_open_account('u', 'free') | 10/0/0
          | p = credits_add_purchased('u', 50, 'pay_u') | 10/0/50
          | credits_add_purchased('u', 30, 'pay_u2') | 10/0/80
          | credits_revoke_purchase('pay_u', 51) | UC010
          | credits_revoke_purchase('pay_u', 20) | 10/0/60
          | credits_revoke_purchase('pay_u', 31) | UC010
          | credits_revoke_purchase('pay_u') | 10/0/30
          | credits_revoke_purchase('pay_u', 1) | UC010
    -- all of it again: a replay of the last, without a key
          | credits_revoke_purchase('pay_u') | 10/0/30 again
          | (SELECT revoked FROM credit_payment WHERE payment_ref = 'pay_u') | 50
          | (SELECT revoked FROM credit_payment WHERE payment_ref = 'pay_u2') | 0
    -- bought once for ever: it is not credited again, and not taken again
          | credits_add_purchased('u', 50, 'pay_u') | 10/0/50 again
          | credits_balance('u') | 10/0/30
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('u') WHERE kind IN ('purchase', 'revoke');
SELECT jsonb_pretty(credits_revoke_purchase('pay_u2', 3, 'stolen card', 'key_1', '{"case": 7}'));
SELECT reason, metadata, idempotency_key, payment_ref, ref_seq FROM credit_history WHERE kind = 'revoke' ORDER BY seq DESC LIMIT 1;
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_revoke_purchase('pay_u2', 28)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_revoke_purchase('pay_0')$$);

-- After spending: owed, and paid by the next purchase, refund and adjustment before
-- they give anything.  Monthly and granted credits do not pay it, and can be spent.
CALL t.story($$
    01-10 | credits_open_account('s', 'free') | 10/0/0
          | credits_add_purchased('s', 50, 'pay_s') | 10/0/50
          | d = credits_deduct('s', 45) | 0/0/15
          | credits_revoke_purchase('pay_s') | 0/0/0 o35
          | credits_deduct('s', 1) | UC001
          | credits_grant('s', 5, '2026-01-20 00:00Z') | 0/5/0 o35
          | credits_deduct('s', 1) | 0/4/0 o35
          | credits_add_purchased('s', 10, 'pay_s2') | 0/4/0 o25
          | credits_refund('s', :d, 20) | 0/4/0 o5
          | credits_adjust('s', 'purchased', 2, 'goodwill') | 0/4/0 o3
          | credits_adjust('s', 'monthly', 2, 'goodwill') | 2/4/0 o3
          | credits_refund('s', :d, 20) | 7/4/12
          | credits_refund('s', :d) | 12/4/12
    -- a reset pays nothing of it, and does not let it lapse
          | credits_revoke_purchase('pay_s2') | 12/4/2
          | credits_deduct('s', 18) | 0/0/0
          | credits_add_purchased('s', 5, 'pay_s3') | 0/0/5
          | credits_deduct('s', 5) | 0/0/0
          | credits_revoke_purchase('pay_s3') | 0/0/0 o5
    02-01 | credits_balance('s') | 10/0/0 o5
          | credits_deduct('s', 10) | 0/0/0 o5
          | credits_add_purchased('s', 6, 'pay_s4') | 0/0/1
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, owed FROM t.moves('s');

-- Held credits are not taken: what comes back from the hold pays, what is captured does
-- not.  A reset, an end by itself and a partial capture come to the same.
CALL t.story($$
    02-01 | credits_open_account('h') | 0/0/0
          | credits_add_purchased('h', 50, 'pay_h') | 0/0/50
          | h = credits_hold('h', 30, '1 day') | 0/0/20 h30
          | credits_revoke_purchase('pay_h') | 0/0/0 h30 o30
          | credits_release('h', :h) | 0/0/0
          | credits_add_purchased('h', 50, 'pay_h2') | 0/0/50
          | h2 = credits_hold('h', 30, '1 day') | 0/0/20 h30
          | credits_revoke_purchase('pay_h2') | 0/0/0 h30 o30
          | credits_capture('h', :h2, 10) | 0/0/0 o10
          | credits_add_purchased('h', 50, 'pay_h3') | 0/0/40
          | credits_hold('h', 40, '1 day') | 0/0/0 h40
          | credits_revoke_purchase('pay_h3', 15) | 0/0/0 h40 o15
    02-02 | credits_balance('h') | 0/0/25
          | h3 = credits_hold('h', 25, '1 day') | 0/0/0 h25
          | credits_revoke_purchase('pay_h3', 5) | 0/0/0 h25 o5
          | credits_capture('h', :h3, 20, true) | 0/0/0 h5 o5
          | credits_capture('h', :h3, 5, true) | 0/0/0 o5
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed FROM t.moves('h');

-- Milking: buy, spend, charge back, and have it refunded: nothing is left over.
CALL t.story($$
    02-03 | credits_open_account('m') | 0/0/0
          | credits_add_purchased('m', 100, 'pay_m') | 0/0/100
          | d = credits_deduct('m', 100) | 0/0/0
          | credits_revoke_purchase('pay_m') | 0/0/0 o100
          | credits_refund('m', :d) | 0/0/0
          | credits_refund('m', :d) | UC010
          | credits_revoke_purchase('pay_m') | 0/0/0 o100 again
          | credits_balance('m') | 0/0/0
    -- hold, charge back, release
          | credits_add_purchased('m', 100, 'pay_m2') | 0/0/100
          | h = credits_hold('m', 100, '1 day') | 0/0/0 h100
          | credits_revoke_purchase('pay_m2') | 0/0/0 h100 o100
          | credits_release('m', :h) | 0/0/0
    -- hold, charge back, capture, refund
          | credits_add_purchased('m', 100, 'pay_m3') | 0/0/100
          | h2 = credits_hold('m', 100, '1 day') | 0/0/0 h100
          | credits_revoke_purchase('pay_m3') | 0/0/0 h100 o100
          | c = credits_capture('m', :h2, 60) | 0/0/0 o60
          | credits_refund('m', :c) | 0/0/0
    -- hold, charge back, late capture
          | credits_add_purchased('m', 100, 'pay_m4') | 0/0/100
          | h3 = credits_hold('m', 100, '1 hour') | 0/0/0 h100
          | credits_revoke_purchase('pay_m4') | 0/0/0 h100 o100
    02-03 02:00 | credits_capture('m', :h3) | UC001
          | credits_balance('m') | 0/0/0
    -- an overdraft is used up by what a chargeback owes
          | credits_set_overdraft('m', 30) | 0/0/0
          | credits_add_purchased('m', 100, 'pay_m5') | 0/0/100
          | credits_deduct('m', 80) | 0/0/20
          | credits_revoke_purchase('pay_m5', 40) | 0/0/0 o20
          | credits_deduct('m', 11) | UC001
          | credits_deduct('m', 10) | 0/0/0 o30
          | credits_revoke_purchase('pay_m5') | 0/0/0 o90
          | credits_deduct('m', 1) | UC001
$$);
SELECT * FROM t.told;

-- The account owes at most the cap; frozen accounts are charged back; what is due comes
-- before it.
CALL t.story($$
    02-03 | credits_open_account('c') | 0/0/0
          | credits_add_purchased('c', 9007199254740991, 'pay_c') | 0/0/9007199254740991
          | credits_deduct('c', 9007199254740991) | 0/0/0
          | credits_add_purchased('c', 1, 'pay_c2') | 0/0/1
          | credits_deduct('c', 1) | 0/0/0
          | credits_freeze('c') | 0/0/0
          | credits_revoke_purchase('pay_c') | 0/0/0 o9007199254740991
          | credits_revoke_purchase('pay_c2') | 22003
          | (SELECT revoked FROM credit_payment WHERE payment_ref = 'pay_c2') | 0
          | credits_open_account('due', 'free') | 10/0/0
          | credits_add_purchased('due', 5, 'pay_due') | 10/0/5
          | credits_hold('due', 12, '1 day') | 0/0/3 h12
    02-05 | credits_revoke_purchase('pay_due') | 10/0/0
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed FROM t.moves('due');

-- Keys.  The user is the payment's.
CALL t.story($$
    02-05 | credits_open_account('k', 'free') | 10/0/0
          | credits_deduct('k', 1, NULL, 'kd') | 9/0/0
          | credits_add_purchased('k', 20, 'pay_k', NULL, 'kp') | 9/0/20
          | credits_add_purchased('k', 20, 'pay_k2') | 9/0/40
          | credits_revoke_purchase('pay_k', 4, 'why', 'kr', '{}') | 9/0/36
          | credits_revoke_purchase('pay_k', 4, 'other', 'kr') | 9/0/36 again
          | credits_revoke_purchase('pay_k', 5, NULL, 'kr') | UC003
          | credits_revoke_purchase('pay_k', NULL, NULL, 'kr') | UC003
          | credits_revoke_purchase('pay_k2', 4, NULL, 'kr') | UC003
          | credits_revoke_purchase('pay_k', 4, NULL, 'kd') | UC003
          | credits_revoke_purchase('pay_k', 20, NULL, 'kp') | UC003
          | credits_add_purchased('k', 4, 'pay_k3', NULL, 'kr') | UC003
    -- without a key, an amount twice is taken twice
          | credits_revoke_purchase('pay_k', 4) | 9/0/32
          | credits_revoke_purchase('pay_k', 4) | 9/0/28
          | credits_revoke_purchase('pay_k', NULL, NULL, 'kr2') | 9/0/20
          | credits_revoke_purchase('pay_k', NULL, NULL, 'kr2') | 9/0/20 again
          | credits_revoke_purchase('pay_k', NULL, NULL, 'kr3') | 9/0/20 again
          | credits_revoke_purchase('pay_k', 4, NULL, 'kr') | 9/0/36 again
    -- a refused call leaves no key
          | credits_revoke_purchase('pay_k2', 21, NULL, 'kx') | UC010
          | credits_revoke_purchase('pay_k2', 20, NULL, 'kx') | 9/0/0
$$);
SELECT * FROM t.told;

-- Arguments.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_revoke_purchase(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL$$,                               -- 22004
    $$''$$,                                 -- 22023
    $$repeat('x', 256)$$,                   -- 22023
    $$'pay_0'$$,                            -- UC011
    $$'pay_u2', 0$$,                        -- 22023
    $$'pay_u2', -1$$,                       -- 22023
    $$'pay_u2', 9007199254740992$$,         -- 22003
    $$'pay_u2', 9007199254740991$$,         -- UC010
    $$'pay_u2', 1, NULL, ''$$               -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- Several payments in one statement.
SELECT t.short(credits_revoke_purchase(p)) FROM unnest(ARRAY['pay_h', 'pay_u2', 'pay_s4']) p;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
