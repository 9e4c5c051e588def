-- The same start as the ledger's accounts: an opened account and a purchase.
--   psql -v schema=NAME
SET search_path = :"schema";

INSERT INTO account (monthly, purchased, period_granted, last_monthly_reset, effective_at, cycle_anchor, history_seq,
                     user_id, time_zone, status, next_reset_at, next_event_at, plan_version, plan)
SELECT 1000000000, 1000000, 1000000000, now(), now(), now() AT TIME ZONE 'UTC', 2, user_id, 'UTC', 'active',
       date_trunc('month', now()) + interval '1 month', date_trunc('month', now()) + interval '1 month', 1, 'bench'
  FROM bench.users ORDER BY n;
INSERT INTO history (user_id, seq, kind, created_at, effective_at, period, next_reset_at, plan_version,
                     amount, monthly_delta, purchased_delta, monthly, purchased, payment_ref)
SELECT user_id, s, CASE s WHEN 1 THEN 'open' ELSE 'purchase' END, now(), now(), 1, next_reset_at, 1,
       CASE s WHEN 1 THEN 1000000000 ELSE 1000000 END, CASE s WHEN 1 THEN 1000000000 ELSE 0 END,
       CASE s WHEN 1 THEN 0 ELSE 1000000 END, 1000000000, CASE s WHEN 1 THEN 0 ELSE 1000000 END,
       CASE s WHEN 2 THEN 'pay_' || user_id END
  FROM account, generate_series(1, 2) s ORDER BY s, user_id;
VACUUM (ANALYZE) account, history;
