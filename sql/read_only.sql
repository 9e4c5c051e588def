-- A read-only transaction: every call that writes is 25006, every read works.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free', NULL, NULL) ->> 'available' AS available;
SELECT credits_deduct('u', 1, NULL, 'k') ->> 'available' AS available;
SELECT credits_add_purchased('u', 1, 'pay_1') ->> 'available' AS available;
SELECT t.fingerprint() AS before \gset

SET credits.clock = '2026-02-10 00:00:00+00';
BEGIN READ ONLY;
SELECT call, t.sqlstate('SELECT ' || call)
  FROM unnest(ARRAY[
    $$credits_define_plan('pro', 100)$$,
    $$credits_open_account('v', 'free')$$,
    $$credits_deduct('u', 1)$$,
    $$credits_try_deduct('u', 1)$$,
    $$credits_deduct_many(ARRAY['u'], ARRAY[1])$$,
    $$credits_try_deduct('u', 1000)$$,
    $$credits_add_purchased('u', 1, 'pay_2')$$,
    $$credits_adjust('u', 'monthly', 1, 'x')$$,
    $$credits_set_plan('u', 'free')$$,
    $$credits_freeze('u')$$,
    $$credits_unfreeze('u')$$,
    $$credits_repair_clock('u')$$,
    $$credits_erase_user('u')$$,
    $$credits_reset_due()$$,
    $$credits_repair_guards()$$,
    $$credits_grant_role('pg_monitor', 'monitor')$$,
    $$credits_revoke_role('pg_monitor', 'monitor')$$,
    -- a replay takes the lock, so it is one of them
    $$credits_deduct('u', 1, NULL, 'k')$$,
    $$credits_add_purchased('u', 1, 'pay_1')$$
  ]) WITH ORDINALITY AS c(call, n) ORDER BY n;
-- reads show what is due: 10 of February, not the 9 that January left
SELECT credits_balance('u') ->> 'monthly' AS monthly;
SELECT monthly FROM credit_balance WHERE user_id = 'u';
SELECT count(*) FROM credits_history('u');
SELECT count(*) FROM credits_verify();
COMMIT;
SELECT t.fingerprint() = :'before' AS nothing_written;

SET default_transaction_read_only = on;
SELECT t.sqlstate($$SELECT credits_deduct('u', 1)$$);
CALL credits_run_reset();
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;
DROP EXTENSION credits;
