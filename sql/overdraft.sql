-- Overdrafts: deductions and captures may owe purchased credits, up to a limit.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;

CALL t.story($$
    01-10 | credits_open_account('u', 'free') | 10/0/0
          | credits_grant('u', 5, '2026-01-20 00:00Z') | 10/5/0
          | credits_add_purchased('u', 3, 'pay_u') | 10/5/3
          | credits_deduct('u', 19) | UC001
          | credits_set_overdraft('u', 20) | 10/5/3
    -- everything first, then the debt: 18 there are, 4 are owed
          | d = credits_deduct('u', 22) | 0/0/0 o4
          | credits_deduct('u', 17) | UC001
          | (credits_try_deduct('u', 17)->'ok') | false
          | credits_try_deduct('u', 16) | 0/0/0 o20
          | credits_deduct('u', 1) | UC001
    -- not a hold, nor an adjustment
          | credits_hold('u', 1) | UC001
          | credits_adjust('u', 'purchased', -1, 'x') | UC001
    -- raised, lowered below what is owed: nothing is asked back, nothing more is given
          | credits_set_overdraft('u', 21) | 0/0/0 o20
          | credits_deduct('u', 1) | 0/0/0 o21
          | credits_set_overdraft('u', 5) | 0/0/0 o21
          | credits_deduct('u', 1) | UC001
    -- monthly and granted credits are there to be spent all the same
    02-01 | credits_deduct('u', 4) | 6/0/0 o21
          | credits_deduct('u', 7) | UC001
    -- what is bought pays first; then there is room again
          | credits_add_purchased('u', 20, 'pay_u2') | 6/0/0 o1
          | credits_deduct('u', 11) | UC001
          | credits_deduct('u', 10) | 0/0/0 o5
          | credits_add_purchased('u', 30, 'pay_u3') | 0/0/25
    -- the debt does not lapse at a reset, and nothing pays it but the bucket's credits
          | credits_deduct('u', 30) | 0/0/0 o5
    03-01 | credits_balance('u') | 10/0/0 o5
          | credits_set_overdraft('u', 0) | 10/0/0 o5
          | credits_deduct('u', 11) | UC001
          | credits_deduct('u', 10) | 0/0/0 o5
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, delta, balance, owed, allocations FROM t.moves('u');
SELECT seq, kind, overdraft_limit FROM credit_history WHERE user_id = 'u' AND overdraft_limit IS NOT NULL ORDER BY seq;

-- A receipt in full; what a refusal says.
SELECT jsonb_pretty(credits_set_overdraft('u', 7, 'good customer', 'key_1', '{"ticket": 7}'));
SELECT sqlstate, detail FROM t.refused($$SELECT credits_deduct('u', 3)$$);
SELECT credits_balance('u') ->> 'overdraft_limit' AS overdraft_limit;
-- the same limit again is a row, without facts
SELECT r->>'seq' AS seq, r ? 'overdraft_limit' AS has_limit FROM credits_set_overdraft('u', 7) r;

-- In a batch, item by item.
CALL t.story($$
    03-01 | credits_open_account('b', 'free') | 10/0/0
          | credits_set_overdraft('b', 5) | 10/0/0
$$);
SELECT r->>'ok' AS ok, t.short(r) FROM credits_deduct_many('{b,b,b,b}', '{8,4,4,3}') r;

-- The largest there are: debts do not overflow.
CALL t.story($$
    03-01 | credits_open_account('m') | 0/0/0
          | credits_set_overdraft('m', 9007199254740991) | 0/0/0
          | credits_deduct('m', 9007199254740991) | 0/0/0 o9007199254740991
          | credits_deduct('m', 1) | UC001
          | credits_add_purchased('m', 9007199254740991, 'pay_m') | 0/0/0
          | credits_add_purchased('m', 9007199254740991, 'pay_m2') | 0/0/9007199254740991
          | credits_deduct('m', 9007199254740991) | 0/0/0
          | credits_deduct('m', 9007199254740991) | 0/0/0 o9007199254740991
          | credits_revoke_purchase('pay_m', 1) | 22003
$$);
SELECT * FROM t.told;

-- Frozen accounts: the limit can be set; nothing can be spent.
CALL t.story($$
    03-01 | credits_open_account('f') | 0/0/0
          | credits_freeze('f') | 0/0/0
          | credits_set_overdraft('f', 5) | 0/0/0
          | credits_deduct('f', 1) | UC004
$$);
SELECT * FROM t.told;

-- Keys: user and limit.
CALL t.story($$
    03-01 | credits_open_account('k', 'free') | 10/0/0
          | credits_deduct('k', 1, NULL, 'kd') | 9/0/0
          | credits_set_overdraft('k', 5, 'why', 'ko', '{}') | 9/0/0
          | credits_set_overdraft('k', 9) | 9/0/0
          | credits_set_overdraft('k', 5, 'other', 'ko') | 9/0/0 again
          | (SELECT overdraft_limit FROM credit_account WHERE user_id = 'k') | 9
          | credits_set_overdraft('k', 6, NULL, 'ko') | UC003
          | credits_set_overdraft('k', 1, NULL, 'kd') | UC003
          | credits_deduct('k', 5, NULL, 'ko') | UC003
$$);
SELECT * FROM t.told;

-- Arguments.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_set_overdraft(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 1$$,                           -- 22004
    $$'k', NULL$$,                         -- 22004
    $$'', 1$$,                             -- 22023
    $$'nobody', 1$$,                       -- UC002
    $$'k', -1$$,                           -- 22023
    $$'k', 9007199254740992$$,             -- 22003
    $$'k', -9223372036854775808$$,         -- 22023
    $$'k', 1, NULL, ''$$                   -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
