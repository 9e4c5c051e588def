-- Accounts that are due at once, every month, by groups a minute apart: the same
-- ones in the ledger and in plain tables.  And some without a plan, which are
-- never due.  All of them spent something a day after their first period began.
--   psql -v start='2026-01-01 00:00:00Z' -v accounts=100000 -v groups=1 -v others=10000
SET TimeZone = 'UTC';
CREATE VIEW bench.due AS
    SELECT n, user_id, :'start'::timestamptz AT TIME ZONE 'UTC' + (n - 1)::bigint * :groups / :accounts * interval '1 minute' AS anchor
      FROM bench.users;
SELECT :'start'::timestamptz + interval '1 day' AS opened \gset
CREATE SCHEMA credits;
CREATE EXTENSION credits SCHEMA credits;
SET search_path = credits;
SET credits.clock = :'opened';
SELECT credits_grant_role('bench_app', 'app') \g /dev/null
SELECT credits_define_plan('bench', 1000, 'anniversary') \g /dev/null
SELECT count(credits_open_account(user_id, 'bench', anchor::text)) FROM (SELECT user_id, anchor FROM bench.due ORDER BY n) u \g /dev/null
SELECT count(credits_add_purchased((4400000000000000 + n)::text, 1000000000, 'pay_' || n)) FROM generate_series(1, :others) n \g /dev/null
SELECT count(credits_deduct(user_id, 1)) FROM (SELECT user_id FROM bench.users ORDER BY n) u \g /dev/null
RESET credits.clock;
VACUUM (ANALYZE) credit_account, credit_history, credit_payment;

SET search_path = plain;
INSERT INTO account (monthly, purchased, period_granted, last_monthly_reset, effective_at, cycle_anchor, history_seq,
                     user_id, time_zone, status, next_reset_at, next_event_at, plan_version, plan)
SELECT 999, 0, 1000, anchor AT TIME ZONE 'UTC', :'opened', anchor, 2, user_id, 'UTC', 'active',
       anchor AT TIME ZONE 'UTC' + interval '1 month', anchor AT TIME ZONE 'UTC' + interval '1 month', 1, 'bench'
  FROM bench.due ORDER BY n;
INSERT INTO history (user_id, seq, kind, created_at, effective_at, period, next_reset_at, plan_version,
                     amount, monthly_delta, purchased_delta, monthly, purchased)
SELECT user_id, s, CASE s WHEN 1 THEN 'open' ELSE 'deduct' END, effective_at, effective_at, 1, next_reset_at, 1,
       CASE s WHEN 1 THEN 1000 ELSE 1 END, CASE s WHEN 1 THEN 1000 ELSE -1 END, 0, 1001 - s, 0
  FROM account, generate_series(1, 2) s ORDER BY s, user_id;
VACUUM (ANALYZE) account, history;
