-- The extension, with the same users, balances and two history rows each.
CREATE SCHEMA credits;
CREATE EXTENSION credits SCHEMA credits;
SET search_path = credits;
SELECT credits_grant_role('bench_app', 'app') \g /dev/null
GRANT SET ON PARAMETER commit_delay TO bench_app;	-- for BENCH_EARLY
SELECT credits_define_plan('bench', 1000000000) \g /dev/null
SELECT count(credits_open_account(user_id, 'bench')) FROM (SELECT user_id FROM bench.users ORDER BY n) u \g /dev/null
SELECT count(credits_add_purchased(user_id, 1000000, 'pay_' || user_id))
  FROM (SELECT user_id FROM bench.users ORDER BY n) u \g /dev/null
VACUUM (ANALYZE) credit_account, credit_history, credit_payment;
