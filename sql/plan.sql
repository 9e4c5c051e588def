-- Plans: immutable versions, each in force from its effective_from on.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-01 00:00:00+00';

-- A first version: what is not said is calendar, no rollover, no threshold.
SELECT jsonb_pretty(credits_define_plan('free', 10));
SELECT r->>'plan' AS plan, r->>'version' AS version, r->>'replayed' AS replayed
  FROM credits_define_plan('pro', 100, 'anniversary', 50, 5) r;

-- Asking again for what the newest version says changes nothing.
SELECT r->>'version' AS version, r->>'replayed' AS replayed FROM credits_define_plan('free', 10) r;
SELECT r->>'version' AS version, r->>'replayed' AS replayed FROM credits_define_plan('pro', 100) r;
SELECT r->>'version' AS version, r->>'replayed' AS replayed FROM credits_define_plan('pro', 100, 'anniversary', 50, 5) r;

-- A new version takes over what is not said from the one before it.  It is in
-- force from just after now: a boundary at this very instant may be applied already.
SET credits.clock = '2026-01-20 12:00:00+00';
SELECT r->>'version' AS version, r->>'replayed' AS replayed FROM credits_define_plan('pro', 200) r;
-- a version for later
SELECT r->>'version' AS version, r->>'effective_from' AS effective_from
  FROM credits_define_plan('free', 20, effective_from => '2026-03-01 00:00:00+00') r;
SELECT plan, version, effective_from, monthly_credits, cycle, rollover_limit, low_balance_threshold, created_at
  FROM credit_plan ORDER BY plan, version;

-- effective_from strictly increases and is not in the past.
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('free', 30, effective_from => '2026-02-01 00:00:00+00')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('free', 30, effective_from => '2026-03-01 00:00:00+00')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('free', 30)$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('new', 30, effective_from => '2026-01-20 11:59:59.999999+00')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('new', 30, effective_from => 'infinity')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_define_plan('new', 30, effective_from => '-infinity')$$);
-- exactly now is not in the past
SELECT r->>'version' AS version FROM credits_define_plan('now', 30, effective_from => '2026-01-20 12:00:00+00') r;

-- Arguments.
SELECT statement, (t.refused('SELECT credits_define_plan(' || statement || ')')).sqlstate
  FROM unnest(ARRAY[
    $$NULL, 10$$,                          -- 22004
    $$'p', NULL$$,                         -- 22004
    $$'', 10$$,                            -- 22023
    $$repeat('x', 256), 10$$,              -- 22023
    $$'p', -1$$,                           -- 22023
    $$'p', 9007199254740992$$,             -- 22003
    $$'p', -9223372036854775808$$,         -- 22023
    $$'p', 9223372036854775807$$,          -- 22003
    $$'p', 10, 'hourly'$$,                 -- 22023
    $$'p', 10, ''$$,                       -- 22023
    $$'p', 10, 'Calendar'$$,               -- 22023
    $$'p', 10, 'calendar', -1$$,           -- 22023
    $$'p', 10, 'calendar', 9007199254740992$$,      -- 22003
    $$'p', 10, 'calendar', 0, -1$$,        -- 22023
    $$'p', 10, 'calendar', 0, 9007199254740992$$    -- 22003
  ]) WITH ORDINALITY AS u(statement, n) ORDER BY n;
-- the extremes that are allowed
SELECT r->>'plan' AS plan FROM credits_define_plan('nothing', 0) r;
SELECT r->>'monthly_credits' AS credits FROM credits_define_plan('all', 9007199254740991, 'calendar', 9007199254740991, 9007199254740991) r;
SELECT length(r->>'plan') FROM credits_define_plan(repeat('x', 255), 1) r;

-- A version that is not in force yet grants nothing; a plan that has no
-- version in force cannot be taken.
SELECT * FROM t.receipt(credits_open_account('u', 'free'));
SELECT r->>'version' AS version FROM credits_define_plan('future', 7, effective_from => '2026-06-01 00:00:00+00') r;
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('v', 'future')$$);

-- A boundary uses the version in force at that instant, however late it is
-- applied: 10 on 1 February, 20 from 1 March on.
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT monthly, plan_version FROM credit_balance WHERE user_id = 'u';
SET credits.clock = '2026-03-10 00:00:00+00';
SELECT monthly, plan_version FROM credit_balance WHERE user_id = 'u';
SELECT * FROM t.receipt(credits_deduct('u', 1));
SELECT seq, kind, amount, balance, expired, skipped, effective_at FROM t.history('u');

-- Raised within a period: the account keeps its version to the next boundary.
SELECT r->>'version' AS version FROM credits_define_plan('free', 40) r;
SELECT credits_balance('u') ->> 'monthly' AS monthly;
SET credits.clock = '2026-04-01 00:00:00+00';
SELECT credits_balance('u') ->> 'monthly' AS monthly;

-- low: available is below the threshold of the account's plan version
SET credits.clock = '2026-04-02 00:00:00+00';
SELECT * FROM t.receipt(credits_open_account('p', 'pro'));
SELECT credits_balance('p') -> 'low' AS low;
SELECT credits_deduct('p', 195) ->> 'available' AS available;
SELECT credits_balance('p') -> 'low' AS low;
SELECT credits_deduct('p', 1) ->> 'available' AS available;
SELECT credits_balance('p') -> 'low' AS low, (SELECT low FROM credit_balance WHERE user_id = 'p') AS view_low;
-- no threshold, never low
SELECT credits_deduct('u', 40) ->> 'available' AS available;
SELECT credits_balance('u') -> 'low' AS low;

-- Part of the caller's transaction: what is rolled back was never defined.
BEGIN;
SAVEPOINT s;
SELECT credits_define_plan('undone', 9) ->> 'version' AS version;
SELECT credits_open_account('w', 'undone') ->> 'monthly' AS monthly;
ROLLBACK TO s;
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('w', 'undone')$$);
SELECT credits_define_plan('undone', 8) ->> 'version' AS version;
SELECT credits_open_account('w', 'undone') ->> 'monthly' AS monthly;
ROLLBACK;
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('w', 'undone')$$);

-- Every version is in the audit log, in order; what changed nothing is not.
SELECT seq, action, subject, actor = session_user AS actor, after->>'version' AS version, after->>'monthly_credits' AS credits
  FROM credit_audit_log WHERE length(subject) < 10 ORDER BY seq;
SELECT * FROM credits_verify();
DROP EXTENSION credits;
