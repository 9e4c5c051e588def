-- Refunds: all or part of a deduction or capture, back to where it came from, last
-- spent first, and never more than was spent.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_define_plan('pro', 100) ->> 'version' AS version;

-- Partly spent refunds (Helicone#4728): a deduction over all buckets and two grants,
-- given back in several parts, each going on where the one before stopped.
CALL t.story($$
    01-10 | credits_open_account('u', 'free') | 10/0/0
          | soon = credits_grant('u', 4, '2026-01-20 00:00Z') | 10/4/0
          | late = credits_grant('u', 6, '2026-01-25 00:00Z') | 10/10/0
          | credits_add_purchased('u', 20, 'pay_u') | 10/10/20
          | d = credits_deduct('u', 28) | 0/0/12
          | credits_refund('u', :d, 29) | UC010
    -- 5 of the 8 purchased
          | credits_refund('u', :d, 5) | 0/0/17
    -- 3 purchased, 4 of the late grant
          | credits_refund('u', :d, 7) | 0/4/20
          | credits_refund('u', :d, 17) | UC010
    -- 2 of it, 4 of the soon, 1 monthly
          | credits_refund('u', :d, 7) | 1/10/20
    -- and the rest
          | credits_refund('u', :d) | 10/10/20
          | credits_refund('u', :d) | UC010
          | credits_refund('u', :d, 1) | UC010
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('u') WHERE kind IN ('deduct', 'refund');
SELECT seq, amount, remaining FROM credit_grant WHERE user_id = 'u' ORDER BY seq;

-- A receipt in full, and the row.
SELECT credits_deduct('u', 12) ->> 'seq' AS d \gset
SELECT jsonb_pretty(credits_refund('u', :d, 3, 'bad image', 'key_1', '{"ticket": 7}'));
SELECT reason, metadata, idempotency_key FROM credit_history WHERE user_id = 'u' ORDER BY seq DESC LIMIT 1;
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_refund('u', $$ || :d || $$, 10)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_refund('u', 1)$$);

-- What belongs to a grant that has ended, or a period that is closed, is forfeited and
-- counts as refunded: a refund never makes the new period richer.
CALL t.story($$
    01-10 | credits_open_account('f', 'free') | 10/0/0
          | credits_grant('f', 4, '2026-01-20 00:00Z') | 10/4/0
          | credits_grant('f', 6, '2026-02-20 00:00Z') | 10/10/0
          | credits_add_purchased('f', 20, 'pay_f') | 10/10/20
          | d = credits_deduct('f', 25) | 0/0/15
    -- a microsecond before its end the grant takes its 4 back; at it, it does not
    01-19 23:59:59.999999 | credits_refund('f', :d, 12) | 0/7/20
    01-20 | credits_balance('f') | 0/6/20
          | credits_refund('f', :d, 3) | 0/6/20 f3
          | credits_refund('f', :d, 4) | 4/6/20
    02-01 | credits_refund('f', :d) | 10/6/20 f6
          | credits_refund('f', :d) | UC010
    -- all at once, from everywhere
    02-10 | d2 = credits_deduct('f', 30) | 0/0/6
    03-01 | credits_balance('f') | 10/0/6
          | credits_refund('f', :d2) | 10/0/20 f16
    -- the same plan and the same day of another month are another period
          | d3 = credits_deduct('f', 10) | 0/0/20
    04-01 | credits_deduct('f', 10) | 0/0/20
          | credits_refund('f', :d3) | 0/0/20 f10
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, forfeited, allocations FROM t.moves('f') WHERE kind IN ('deduct', 'refund');

-- Captures: what was captured, in the order in which it was spent, the excess last.
CALL t.story($$
    01-10 | credits_open_account('c', 'free') | 10/0/0
          | g = credits_grant('c', 5, '2026-02-20 00:00Z') | 10/5/0
          | credits_add_purchased('c', 20, 'pay_c') | 10/5/20
          | h = credits_hold('c', 8, '1 day') | 2/5/20 h8
    -- 8 monthly held; then 2 monthly, 5 granted, 3 purchased
          | c = credits_capture('c', :h, 18) | 0/0/17
          | credits_refund('c', :h) | 22023
          | credits_refund('c', :c, 4) | 0/1/20
          | credits_refund('c', :c, 5) | 1/5/20
          | credits_refund('c', :c, 10) | UC010
          | credits_refund('c', :c) | 10/5/20
    -- partial captures are refunded each for itself
          | h2 = credits_hold('c', 16, '1 day') | 0/0/19 h16
          | c1 = credits_capture('c', :h2, 12, true) | 0/0/19 h4
          | c2 = credits_capture('c', :h2, 4) | 0/0/19
          | credits_refund('c', :c1, 13) | UC010
          | credits_refund('c', :c1, 3) | 1/2/19
          | credits_refund('c', :c2) | 1/5/20
          | credits_refund('c', :c1) | 10/5/20
    -- held before the reset, captured after it: of a closed period (-2), forfeited
    01-31 | h3 = credits_hold('c', 6, '5 days') | 4/5/20 h6
    02-01 | c3 = credits_capture('c', :h3, 17) | 0/4/20
          | credits_refund('c', :c3, 1) | 0/5/20
          | credits_refund('c', :c3) | 10/5/20 f6
    -- a late capture took from the new period, and is given back to it
    02-27 | h4 = credits_hold('c', 9, '1 day') | 1/0/20 h9
    03-02 | c4 = credits_capture('c', :h4) | 1/0/20
          | credits_refund('c', :c4, 9) | 10/0/20
    -- a release, a hold's end, a refund, a reset are nothing to refund
          | h5 = credits_hold('c', 1) | 9/0/20 h1
          | r5 = credits_release('c', :h5) | 10/0/20
          | credits_refund('c', :r5) | 22023
          | credits_refund('c', :h5) | 22023
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, expired, forfeited, allocations FROM t.moves('c') WHERE kind IN ('hold', 'capture', 'refund');
SELECT DISTINCT kind, t.sqlstate(format('SELECT credits_refund(%L, %s)', user_id, seq))
  FROM credit_history WHERE user_id = 'c' AND kind NOT IN ('deduct', 'capture') ORDER BY 1;

-- Items of a batch: each has a receipt, and is refunded by it.
CALL t.story($$
    03-02 | credits_open_account('b1', 'free') | 10/0/0
          | credits_open_account('b2', 'free') | 10/0/0
          | credits_grant('b1', 5, '2026-03-20 00:00Z') | 10/5/0
$$);
SELECT r->>'user_id' AS user_id, r->>'seq' AS seq, t.short(r) FROM credits_deduct_many('{b1,b2,b1}', '{8,9,6}') r;
CALL t.story($$
          | credits_refund('b1', 3) | 8/1/0
          | credits_refund('b1', 3) | UC010
          | credits_refund('b2', 2, 4) | 5/0/0
          | credits_refund('b1', 4, 5) | 9/5/0
          | credits_refund('b1', 4, 2) | UC010
          | credits_refund('b1', 4) | 10/5/0
$$);
SELECT * FROM t.told;

-- Debts are paid first: an overdraft by the refund of what made it.
CALL t.story($$
    03-02 | credits_open_account('o', 'free') | 10/0/0
          | credits_set_overdraft('o', 30) | 10/0/0
          | d = credits_deduct('o', 25) | 0/0/0 o15
          | d2 = credits_deduct('o', 10) | 0/0/0 o25
    -- 15 are purchased, that is owed; 10 monthly
          | credits_refund('o', :d, 12) | 0/0/0 o13
          | credits_refund('o', :d) | 10/0/0 o10
          | credits_refund('o', :d2) | 10/0/0
    -- bought in between: the refund pays what is still owed, and gives the rest
          | d3 = credits_deduct('o', 22) | 0/0/0 o12
          | credits_add_purchased('o', 7, 'pay_o') | 0/0/0 o5
          | credits_refund('o', :d3, 8) | 0/0/3
          | credits_refund('o', :d3) | 10/0/7
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, owed FROM t.moves('o') WHERE kind IN ('deduct', 'refund', 'purchase');

-- Downgrade then upgrade grants everything again (theopenco/llmgateway#2479): a refund
-- between them does not help either.  The period stays the same, so it goes back to it.
CALL t.story($$
    03-02 | credits_open_account('d', 'pro') | 100/0/0
          | d = credits_deduct('d', 60) | 40/0/0
          | credits_set_plan('d', 'free') | 0/0/0
          | credits_refund('d', :d) | 10/0/0
          | credits_set_plan('d', 'pro') | 100/0/0
          | credits_set_plan('d', 'free') | 10/0/0
          | credits_set_plan('d', 'pro') | 100/0/0
    -- nor does cancelling: the old period goes on to its end
          | d2 = credits_deduct('d', 100) | 0/0/0
          | credits_set_plan('d', NULL) | 0/0/0
          | credits_refund('d', :d2, 50) | 0/0/0
          | credits_set_plan('d', 'pro') | 50/0/0
$$);
SELECT * FROM t.told;

-- Over the cap: refused, and nothing was given.
CALL t.story($$
    03-02 | credits_open_account('m') | 0/0/0
          | credits_add_purchased('m', 9007199254740991, 'pay_m') | 0/0/9007199254740991
          | d = credits_deduct('m', 5) | 0/0/9007199254740986
          | credits_add_purchased('m', 3, 'pay_m2') | 0/0/9007199254740989
          | credits_refund('m', :d) | 22003
          | credits_refund('m', :d, 3) | 22003
          | credits_refund('m', :d, 2) | 0/0/9007199254740991
    -- from parts of two kinds: the grant's would fit, all do not
          | d2 = credits_deduct('m', 9) | 0/0/9007199254740982
          | credits_grant('m', 5, '2026-03-20 00:00Z') | 0/5/9007199254740982
          | d3 = credits_deduct('m', 7) | 0/0/9007199254740980
          | credits_add_purchased('m', 6, 'pay_m3') | 0/0/9007199254740986
          | credits_refund('m', :d3) | 22003
          | (SELECT remaining FROM credit_grant WHERE user_id = 'm') | 0
          | credits_refund('m', :d3, 5) | 0/3/9007199254740988
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, allocations FROM t.moves('m') WHERE kind = 'refund';

-- Frozen accounts are refunded, and back in a grant it can end.
CALL t.story($$
    03-02 | credits_open_account('z', 'free') | 10/0/0
          | credits_grant('z', 5, '2026-04-10 00:00Z') | 10/5/0
          | d = credits_deduct('z', 15) | 0/0/0
    04-01 | credits_freeze('z') | 10/0/0
    04-02 | credits_refund('z', :d, 3) | 10/3/0
    04-09 | credits_balance('z') | 10/3/0
    04-10 | credits_balance('z') | 10/0/0
          | credits_refund('z', :d, 2) | 10/0/0 f2
          | credits_refund('z', :d) | 10/0/0 f10
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, expired, forfeited, at FROM t.moves('z');

-- Keys: kind, user, row and amount as given.
CALL t.story($$
    04-10 | credits_open_account('k', 'free') | 10/0/0
          | d = credits_deduct('k', 8, NULL, 'kd') | 2/0/0
          | d2 = credits_deduct('k', 1) | 1/0/0
          | credits_refund('k', :d, 3, 'why', 'kr', '{}') | 4/0/0
          | credits_refund('k', :d, 3, 'other', 'kr') | 4/0/0 again
          | credits_refund('k', :d, 4, NULL, 'kr') | UC003
          | credits_refund('k', :d, NULL, NULL, 'kr') | UC003
          | credits_refund('k', :d2, 3, NULL, 'kr') | UC003
          | credits_refund('k', :d, 3, NULL, 'kd') | UC003
          | credits_deduct('k', 3, NULL, 'kr') | UC003
          | credits_refund('k', :d, NULL, NULL, 'kr2') | 9/0/0
          | credits_refund('k', :d, NULL, NULL, 'kr2') | 9/0/0 again
          | credits_refund('k', :d, 5, NULL, 'kr2') | UC003
    -- the key of what is refunded is a replay still, and gives no new credits
          | credits_deduct('k', 8, NULL, 'kd') | 2/0/0 again
          | credits_balance('k') | 9/0/0
    -- a refused call leaves no key; a replay needs nothing that is left
          | credits_refund('k', :d, 1, NULL, 'kx') | UC010
          | credits_refund('k', :d2, 1, NULL, 'kx') | 10/0/0
    05-10 | credits_refund('k', :d2, 1, NULL, 'kx') | 10/0/0 again
$$);
SELECT * FROM t.told;

-- Arguments; other users' rows are nobody's.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_refund(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 2$$,                          -- 22004
    $$'k', NULL$$,                        -- 22004
    $$'', 2$$,                            -- 22023
    $$'nobody', 2$$,                      -- UC002
    $$'k', 2, 0$$,                        -- 22023
    $$'k', 2, -1$$,                       -- 22023
    $$'k', 2, 9007199254740992$$,         -- 22003
    $$'k', 2, 9007199254740991$$,         -- UC010
    $$'k', 2, 1, NULL, ''$$,              -- 22023
    $$'k', 0$$,                           -- 22023
    $$'k', -1$$,                          -- 22023
    $$'k', 9223372036854775807$$,         -- 22023
    $$'b2', 5$$                           -- 22023: b2 has no row 5, others have
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- A row of the same statement can be refunded.
SELECT t.short(credits_refund('k', (credits_deduct('k', 4) ->> 'seq')::int8, 3));

SELECT * FROM credits_verify();
DROP EXTENSION credits;
