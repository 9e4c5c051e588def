-- Accounts that are all due at once, every month: the same ones in the ledger
-- and in plain tables.  And some without a plan, which are never due.  All of
-- them spent something since they were opened.
--   psql -v opened='2026-01-06 00:00Z' -v accounts=100000 -v others=10000
SET TimeZone = 'UTC';
CREATE SCHEMA credits;
CREATE EXTENSION credits SCHEMA credits;
SET search_path = credits;
SET credits.clock = :'opened';
SELECT credits_grant_role('bench_app', 'app') \g /dev/null
SELECT credits_define_plan('bench', 1000) \g /dev/null
SELECT count(credits_open_account(user_id, 'bench')) FROM (SELECT user_id FROM bench.users ORDER BY n) u \g /dev/null
SELECT count(credits_add_purchased((4400000000000000 + n)::text, 1000000000, 'pay_' || n)) FROM generate_series(1, :others) n \g /dev/null
SELECT count(credits_deduct(user_id, 1)) FROM (SELECT user_id FROM bench.users ORDER BY n) u \g /dev/null
RESET credits.clock;
VACUUM (ANALYZE) credit_account, credit_history, credit_payment;

SET search_path = plain;
INSERT INTO account (monthly, purchased, period_granted, last_monthly_reset, effective_at, cycle_anchor, history_seq,
                     user_id, time_zone, status, next_reset_at, next_event_at, plan_version, plan)
SELECT 999, 0, 1000, opened, opened, opened AT TIME ZONE 'UTC', 2, user_id, 'UTC', 'active',
       date_trunc('month', opened) + interval '1 month', date_trunc('month', opened) + interval '1 month', 1, 'bench'
  FROM bench.users, (SELECT :'opened'::timestamptz AS opened) o ORDER BY n;
INSERT INTO history (user_id, seq, kind, created_at, effective_at, period_start, next_reset_at, plan_version,
                     amount, monthly_delta, purchased_delta, monthly, purchased)
SELECT user_id, s, CASE s WHEN 1 THEN 'open' ELSE 'deduct' END, effective_at, effective_at, effective_at, next_reset_at, 1,
       CASE s WHEN 1 THEN 1000 ELSE 1 END, CASE s WHEN 1 THEN 1000 ELSE -1 END, 0, 1001 - s, 0
  FROM account, generate_series(1, 2) s ORDER BY s, user_id;
VACUUM (ANALYZE) account, history;
