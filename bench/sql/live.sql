-- A ledger of many accounts, for the queries of live_queries.sql.  Its rows are inserted
-- without the functions, which takes seconds where the functions would take an hour.  So
-- it has no hash chain.  History rows lie in the order of their times, as they do in a
-- ledger that grows.
--   psql -v accounts=1000000 -v rows=10	rows of history of each account
CREATE SCHEMA credits;
CREATE EXTENSION credits SCHEMA credits;
SET search_path = credits;
SET synchronous_commit = off;
SELECT setseed(0.15) \g /dev/null
SELECT credits_define_plan('pro', 1000, low_balance_threshold => 50) \g /dev/null

-- Of 1000 accounts, 10 are low, and 3 of these are empty; 1 owes, 1 is frozen, and of
-- 10000, 1 has a zone that the server does not know.
INSERT INTO credit_account (monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased,
       overdraft_limit, period_granted, last_left, last_limit, period, last_monthly_reset, effective_at, cycle_anchor, history_seq,
       period_share, last_undone, user_id, time_zone, status, history_hash, next_reset_at, next_event_at, plan_version, plan, cycle,
       plan_threshold, level, flags)
SELECT CASE WHEN n % 1000 < 3 THEN 0 WHEN n % 1000 < 10 THEN 7 ELSE 100 + n % 900 END, 0,
       CASE WHEN n % 1000 < 10 THEN 0 ELSE n % 500 END, 0, 0, 0, 0, CASE WHEN n % 1000 = 2 THEN 5 ELSE 0 END,
       CASE WHEN n % 1000 = 2 THEN 100 ELSE 0 END, 1000, 0, 0, 1, date_trunc('month', now(), 'UTC'), now() - interval '1 hour', now() AT TIME ZONE 'UTC', :rows,
       1000000, false, (4200000000000000 + n)::text, CASE WHEN n % 10000 = 77 THEN 'Nowhere/Gone' ELSE 'UTC' END,
       CASE WHEN n % 1000 = 20 THEN 'frozen' ELSE 'active' END, decode(repeat('00', 32), 'hex'),
       date_trunc('month', now(), 'UTC') + interval '2 months', date_trunc('month', now(), 'UTC') + interval '2 months', 1, 'pro', 'calendar',
       50, CASE WHEN n % 1000 < 3 THEN 'empty' WHEN n % 1000 < 10 THEN 'low' END,
       nullif((n % 1000 < 10)::int * 1 + (n % 1000 < 3)::int * 2 + (n % 1000 = 2)::int * 4 + (n % 1000 = 20)::int * 8, 0)
  FROM generate_series(1, :accounts) n;

-- Each account's rows are spread over 100 days.  A hundredth of the rows refund the one before.
ALTER TABLE credit_history DROP CONSTRAINT credit_history_pkey;
INSERT INTO credit_history (seq, created_at, effective_at, period, amount, monthly_delta, granted_delta, purchased_delta,
       monthly, granted, purchased, skipped, user_id, kind, actor, hash, ref_seq, spender, reason, text_salt, payment_ref)
SELECT s, at, at, 1, 10, CASE WHEN s = 1 THEN 1000 WHEN kind = 'refund' THEN 10 WHEN s = 2 THEN 0 ELSE -10 END, 0, CASE s WHEN 2 THEN 10 ELSE 0 END,
       1000, 0, 10, 0, (4200000000000000 + n)::text, kind, 'app', decode(repeat('00', 32), 'hex'), CASE kind WHEN 'refund' THEN s - 1 END,
       CASE WHEN kind = 'deduct' THEN 'agent_' || n % 7 END, CASE WHEN kind = 'deduct' THEN 'model ' || n % 11 END,
       CASE WHEN kind = 'deduct' THEN decode(repeat('00', 16), 'hex') END, CASE s WHEN 2 THEN 'pay_' || n END
  FROM (SELECT s, 1 + (n::int8 * 7919) % :accounts AS n,
               now() - interval '100 days' + (s - 1 + n::float8 / :accounts) * interval '100 days' / :rows AS at,
               CASE s WHEN 1 THEN 'open' WHEN 2 THEN 'purchase' ELSE CASE WHEN n % 100 = 0 THEN 'refund' ELSE 'deduct' END END AS kind
          FROM generate_series(1, :rows) s, generate_series(1, :accounts) n) r;
-- one user with many rows
INSERT INTO credit_history (seq, created_at, effective_at, period, amount, monthly_delta, granted_delta, purchased_delta,
       monthly, granted, purchased, skipped, user_id, kind, actor, hash, spender, reason, text_salt)
SELECT :rows + s, at, at, 1, 1, -1, 0, 0, 1000, 0, 10, 0, '4200000000000001', 'deduct', 'app', decode(repeat('00', 32), 'hex'),
       'agent_' || s % 7, 'model ' || s % 11, decode(repeat('00', 16), 'hex')
  FROM (SELECT s, now() - interval '100 days' + s * interval '100 days' / 100000 AS at FROM generate_series(1, 100000) s) r;
ALTER TABLE credit_history ADD CONSTRAINT credit_history_pkey PRIMARY KEY (user_id, seq);

-- A payment of each account; a grant and a hold of every tenth, of which half are over.
INSERT INTO credit_payment (amount, revoked, seq, paid_at, granted, payment_ref, user_id)
SELECT 10, 0, 2, now() - interval '90 days', false, 'pay_' || n, (4200000000000000 + n)::text FROM generate_series(1, :accounts) n;
INSERT INTO credit_grant (amount, remaining, seq, ends_at, closed, paid, user_id)
SELECT 100, CASE WHEN n % 20 = 0 THEN 0 ELSE 50 END, 3, now() + (n::float8 / :accounts - 0.5) * interval '200 days', false, false, (4200000000000000 + n)::text
  FROM generate_series(1, :accounts, 10) n;
-- VACUUM marks pages as all-visible only if the commits of their rows are flushed
SET synchronous_commit = on;
INSERT INTO credit_hold (amount, monthly, purchased, seq, period, user_id, state, ends_at)
SELECT 5, 5, 0, 4, 1, (4200000000000000 + n)::text, CASE WHEN n % 20 = 1 THEN 'captured' ELSE 'open' END,
       CASE WHEN n % 20 = 1 THEN NULL ELSE now() + n::float8 / :accounts * interval '30 days' END
  FROM generate_series(1, :accounts, 10) n;
VACUUM (ANALYZE) credit_account, credit_history, credit_payment, credit_grant, credit_hold, credit_plan;
