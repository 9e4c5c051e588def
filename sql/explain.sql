-- Balances at past times, and why a user has what he has.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 12:00Z';
SELECT credits_define_plan('pro', 100) ->> 'version' AS pro, credits_define_plan('anni', 21, 'anniversary') ->> 'version' AS anni;
SELECT credits_open_account('u', 'pro') ->> 'monthly' AS monthly, credits_add_purchased('u', 50, 'pay_1') ->> 'purchased' AS purchased;
SELECT credits_grant('u', 30, '2026-01-20 00:00Z') ->> 'seq' AS one, credits_grant('u', 20, '2026-05-15 00:00Z') ->> 'seq' AS two;
SET credits.clock = '2026-01-12 12:00Z';
SELECT credits_deduct('u', 110) ->> 'available' AS available, credits_hold('u', 60, '1 day') ->> 'seq' AS hold;
SELECT jsonb_pretty(credits_explain('u'));

-- the hold has ended, then a grant, then the period: none of it is written
SET credits.clock = '2026-02-12 12:00Z';
SELECT jsonb_pretty(credits_explain('u'));

-- a past time, before and after the events are written: the same
CREATE TEMP TABLE t AS SELECT t::timestamptz FROM unnest(ARRAY['2026-01-10 12:00Z', '2026-01-12 11:59Z', '2026-01-12 12:00Z', '2026-01-13 11:59Z',
    '2026-01-13 12:00Z', '2026-01-19 23:59Z', '2026-01-20 00:00Z', '2026-01-31 23:59Z', '2026-02-01 00:00Z', '2026-02-12 12:00Z']) t;
CREATE TEMP TABLE unswept AS SELECT t, credits_balance_at('u', t) - 'seq' AS b FROM t;
SELECT t, b -> 'monthly' AS monthly, b -> 'granted' AS granted, b -> 'purchased' AS purchased, b -> 'held' AS held, b ->> 'as_of' AS as_of
  FROM unswept ORDER BY t;
SELECT credits_reset_due() ->> 'accounts' AS accounts;
SELECT t, b, credits_balance_at('u', t) - 'seq' AS now FROM unswept WHERE b IS DISTINCT FROM credits_balance_at('u', t) - 'seq';
SELECT credits_balance_at('u', '2026-02-12 12:00Z') = credits_balance('u') AS same;

-- not before there was an account, not what is to come, not for anybody unknown
SELECT credits_balance_at('u', '2026-01-10 11:59Z');
SELECT credits_balance_at('u', '2026-02-12 12:01Z');
SELECT credits_balance_at('nobody', '2026-02-12 12:00Z');
SELECT credits_balance_at('u', NULL);
SELECT credits_balance_at('u', 'infinity');
SELECT credits_balance_at(NULL, '2026-02-12 12:00Z');
SELECT credits_explain('nobody');
SELECT credits_explain(NULL);

-- a plan change and the reset of its instant are one; the period after it is short and
-- has a row of its own
SET credits.clock = '2026-04-11 13:00Z';
SELECT credits_open_account('c', 'pro') ->> 'monthly' AS monthly, credits_set_plan('c', 'anni', 'next_reset') ->> 'scheduled_plan' AS scheduled;
SET credits.clock = '2026-09-15 00:00Z';
SELECT b ->> 'period_start' AS period_start, b ->> 'next_reset_at' AS next_reset_at FROM credits_balance_at('c', '2026-05-20 00:00Z') b;
SELECT credits_deduct('c', 8) ->> 'monthly' AS monthly;
SELECT b ->> 'period_start' AS period_start, b ->> 'next_reset_at' AS next_reset_at FROM credits_balance_at('c', '2026-05-20 00:00Z') b;

-- after a clock repair an account has the version of a plan that is to come
SET credits.clock = '2027-04-20 23:30Z';
SELECT credits_define_plan('later', 22) ->> 'version' AS later, credits_open_account('r', 'later', '2023-03-01 00:30') ->> 'monthly' AS monthly;
SET credits.clock = '2027-04-11 10:03Z';
SELECT credits_repair_clock('r') ->> 'kind' AS kind, credits_set_cycle('r', '2023-03-21 02:30', 'Asia/Kathmandu') ->> 'next_reset_at' AS next_reset_at;
SELECT * FROM credits_verify();
DROP EXTENSION credits;
