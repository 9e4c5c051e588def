-- Changing plans: never two allowances for one period.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_define_plan('pro', 100) ->> 'version' AS version;
SELECT credits_define_plan('team', 300, 'anniversary') ->> 'version' AS version;

-- Now, up: the difference is added; down: it is taken from what is left; up
-- again grants only what was taken.  10 - 4 = 6, + 90 = 96, - 90 = 6, + 90 = 96.
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT credits_deduct('u', 4) ->> 'available' AS available;
SELECT jsonb_pretty(credits_set_plan('u', 'pro', 'now', 'upgrade'));
SELECT * FROM t.receipt(credits_set_plan('u', 'free'));
SELECT * FROM t.receipt(credits_set_plan('u', 'pro'));
SELECT monthly, period_granted, plan, plan_version FROM credit_account WHERE user_id = 'u';
-- Spent before leaving, it is not given again: 96 - 95 = 1; down takes that 1
-- of the 90 and remembers 89; coming back pays the 89 first, and gives that 1.
SELECT credits_deduct('u', 95) ->> 'available' AS available;
SELECT * FROM t.receipt(credits_set_plan('u', 'free'));
SELECT period_granted, owed_monthly, owed_purchased FROM credit_account WHERE user_id = 'u';
SELECT * FROM t.receipt(credits_set_plan('u', 'pro'));
SELECT monthly, period_granted, owed_monthly FROM credit_account WHERE user_id = 'u';
-- Purchased credits are never taken by a change of plan.
SELECT credits_add_purchased('u', 50, 'pay_1') ->> 'available' AS available;
SELECT * FROM t.receipt(credits_set_plan('u', 'free'));
SELECT * FROM t.receipt(credits_set_plan('u', 'pro'));
SELECT seq, kind, amount, delta, balance, plan FROM t.history('u');
-- The next period is a new one.
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->>'purchased' AS purchased, r->>'plan' AS plan FROM credits_balance('u') r;

-- At the next reset: nothing now, the new allowance from the boundary on.
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT credits_open_account('v', 'free') ->> 'available' AS available;
SELECT credits_deduct('v', 3) ->> 'available' AS available;
SELECT * FROM t.receipt(credits_set_plan('v', 'pro', 'next_reset'));
SELECT plan, scheduled_plan, monthly FROM credit_account WHERE user_id = 'v';
SET credits.clock = '2026-02-28 23:59:59.999999+00';
SELECT r->>'monthly' AS monthly, r->>'plan' AS plan FROM credits_balance('v') r;
SET credits.clock = '2026-03-01 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->>'plan' AS plan FROM credits_balance('v') r;
SELECT * FROM t.receipt(credits_deduct('v', 1));
SELECT plan, scheduled_plan, monthly, period_granted FROM credit_account WHERE user_id = 'v';
SELECT seq, kind, amount, delta, balance, expired, plan, effective_at FROM t.history('v');
-- Scheduled long ago and asleep since: the change at the first boundary, the
-- allowances of the later ones by the new plan.
SELECT * FROM t.receipt(credits_set_plan('v', 'free', 'next_reset'));
SET credits.clock = '2026-06-15 00:00:00+00';
SELECT * FROM t.receipt(credits_deduct('v', 1));
-- The last word before the boundary counts.
SELECT credits_set_plan('v', 'pro', 'next_reset') ->> 'kind' AS kind;
SELECT credits_set_plan('v', 'team', 'next_reset') ->> 'kind' AS kind;
SELECT scheduled_plan FROM credit_account WHERE user_id = 'v';
SELECT credits_set_plan('v', 'pro') ->> 'monthly' AS monthly;
SELECT plan, scheduled_plan FROM credit_account WHERE user_id = 'v';

-- Cancelled at the next reset: the period goes on to its end, then there is no
-- allowance.  The periods go on, and write no row; purchased credits stay.
SET credits.clock = '2026-07-10 00:00:00+00';
SELECT credits_open_account('w', 'free') ->> 'available' AS available;
SELECT credits_add_purchased('w', 7, 'pay_2') ->> 'available' AS available;
SELECT * FROM t.receipt(credits_set_plan('w', NULL, 'next_reset'));
SELECT plan, scheduled_plan = '' AS cancelled_then FROM credit_account WHERE user_id = 'w';
SELECT * FROM t.receipt(credits_deduct('w', 1));
SET credits.clock = '2026-08-02 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->>'purchased' AS purchased, r->'plan' AS plan, r->'next_reset_at' AS next_reset_at
  FROM credits_balance('w') r;
SELECT * FROM t.receipt(credits_deduct('w', 1));
SET credits.clock = '2026-12-02 00:00:00+00';
SELECT * FROM t.receipt(credits_deduct('w', 1));
SELECT seq, kind, amount, delta, balance, expired, plan, effective_at, next_reset_at FROM t.history('w');
-- Back again: the allowance of the period that runs.
SELECT * FROM t.receipt(credits_set_plan('w', 'free'));

-- Cancelled now: what is left of the allowance is taken, what was spent of it is
-- remembered, the period keeps its end, and coming back within it grants nothing twice.
SELECT credits_open_account('x', 'pro') ->> 'available' AS available;
SELECT credits_deduct('x', 30) ->> 'available' AS available;
SELECT * FROM t.receipt(credits_set_plan('x', NULL));
SELECT plan IS NULL AS no_plan, monthly, owed_monthly, period_granted, next_reset_at FROM credit_account WHERE user_id = 'x';
SELECT * FROM t.receipt(credits_set_plan('x', 'pro'));
SELECT * FROM t.receipt(credits_set_plan('x', NULL));
SET credits.clock = '2027-01-05 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->'next_reset_at' AS next_reset_at FROM credits_balance('x') r;
SELECT * FROM t.receipt(credits_set_plan('x', 'free'));

-- The same plan again grants nothing; of a new version it grants the difference.
SELECT * FROM t.receipt(credits_set_plan('x', 'free'));
SET credits.clock = '2027-01-06 00:00:00+00';
SELECT credits_define_plan('free', 15) ->> 'version' AS version;
SET credits.clock = '2027-01-06 00:00:01+00';
SELECT credits_balance('x') ->> 'monthly' AS monthly;
SELECT * FROM t.receipt(credits_set_plan('x', 'free'));
SELECT * FROM t.receipt(credits_set_plan('x', 'free'));
-- scheduling the plan that it has takes back what was scheduled
SELECT credits_set_plan('x', 'pro', 'next_reset') ->> 'kind' AS kind;
SELECT credits_set_plan('x', 'free', 'next_reset') ->> 'kind' AS kind;
SET credits.clock = '2027-02-01 00:00:00+00';
SELECT r->>'plan' AS plan, r->>'monthly' AS monthly FROM credits_balance('x') r;

-- An account that a purchase opened has no plan and no next reset.
SELECT credits_add_purchased('z', 5, 'pay_3') ->> 'available' AS available;
SELECT sqlstate, message FROM t.refused($$SELECT credits_set_plan('z', 'free', 'next_reset')$$);
SELECT * FROM t.receipt(credits_set_plan('z', 'free'));

-- Plans of different cycles: the running period keeps its end.  The next one lasts
-- to the first new boundary and has its share: 14.5 days of 31.  Opened on the 15th at 12:00.
SET credits.clock = '2027-03-15 12:00:00+00';
SELECT * FROM t.receipt(credits_open_account('y', 'free'));
SET credits.clock = '2027-03-20 00:00:00+00';
SELECT * FROM t.receipt(credits_set_plan('y', 'team'));
SET credits.clock = '2027-04-15 11:59:59+00';
SELECT credits_balance('y') ->> 'monthly' AS monthly;
SET credits.clock = '2027-04-15 12:00:00+00';
SELECT credits_deduct('y', 1) ->> 'monthly' AS monthly;
-- and back to the calendar: the period still ends on 15 May
SELECT * FROM t.receipt(credits_set_plan('y', 'free'));
-- at the next reset: the change comes at that boundary; its cycle is that of the period before, so the next is full
SELECT * FROM t.receipt(credits_set_plan('y', 'team', 'next_reset'));
SET credits.clock = '2027-06-01 00:00:00+00';
SELECT * FROM t.receipt(credits_deduct('y', 1));
SELECT seq, kind, amount, delta, balance, plan, effective_at, next_reset_at FROM t.history('y');

-- Cancelled at the next reset, and the sweep comes months later: the change and that reset
-- are rows, the periods after them are not.
SELECT credits_open_account('s', 'free') ->> 'available' AS available;
SELECT credits_set_plan('s', NULL, 'next_reset') ->> 'kind' AS kind;
SET credits.clock = '2027-10-15 00:00:00+00';
CALL credits_run_reset() \gset
SELECT seq, kind, amount, delta, balance, expired, plan, effective_at, next_reset_at FROM t.history('s');
SELECT plan, scheduled_plan, monthly, period, last_monthly_reset, next_reset_at, next_event_at FROM credit_account WHERE user_id = 's';
SELECT r->'period' AS period, r->'period_start' AS period_start, r->'next_reset_at' AS next_reset_at FROM credits_balance('s') r;
SELECT * FROM credits_verify_account('s');

-- Nothing ends when the hold that was released would have: the sweep looks once, writes no row, and does not
-- look at the account again.
SELECT t.short(credits_add_purchased('s', 5, 'pay s')) AS purchased, credits_hold('s', 5, '20 days') ->> 'seq' AS hold \gset
SELECT t.short(credits_release('s', :hold)), (SELECT next_event_at FROM credit_account WHERE user_id = 's') AS next_event_at;
SET credits.clock = '2027-11-15 00:00:00+00';
CALL credits_run_reset(max_accounts => 100) \gset
SELECT (SELECT next_event_at FROM credit_account WHERE user_id = 's') AS next_event_at, (SELECT count(*) FROM t.history('s')) AS rows;
SELECT * FROM credits_verify_account('s');

-- Arguments.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_set_plan(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 'free'$$,                      -- 22004
    $$'nobody', 'free'$$,                  -- UC002
    $$'u', 'gone'$$,                       -- UC009
    $$'u', 'gone', 'next_reset'$$,         -- UC009
    $$'u', 'free', 'tomorrow'$$,           -- 22023
    $$'u', 'free', ''$$                    -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT sqlstate, message, detail, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_set_plan('u', 'gone')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
