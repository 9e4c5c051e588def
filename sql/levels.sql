-- When an account becomes low or empty, and when it has recovered; its own threshold; the flags
-- by which such accounts are found; and the queue of events.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_define_plan('free', 100, low_balance_threshold => 30) ->> 'version' AS version;
CREATE FUNCTION pg_temp.rows(who text, OUT seq int8, OUT kind text, OUT available int8, OUT crossed text) RETURNS SETOF record LANGUAGE sql AS
    $$SELECT seq, kind, monthly + granted + purchased, crossed FROM credit_history WHERE user_id = who ORDER BY seq$$;
CREATE VIEW pg_temp.accounts AS SELECT user_id, level, flags, plan_threshold, low_threshold FROM credit_account ORDER BY 1;

-- Each crossing once; holds and releases around the line are one.
SELECT credits_open_account('u', 'free') -> 'crossed' AS crossed;
SELECT credits_deduct('u', 70) -> 'crossed' AS crossed, credits_deduct('u', 1) -> 'crossed' AS crossed, credits_deduct('u', 1) -> 'crossed' AS crossed;
SELECT credits_add_purchased('u', 10, 'pay_1') -> 'crossed' AS crossed;
SELECT credits_hold('u', 20) AS hold \gset
SELECT (:'hold'::jsonb) -> 'crossed' AS crossed, credits_release('u', ((:'hold'::jsonb) ->> 'seq')::int8) -> 'crossed' AS crossed;
SELECT credits_hold('u', 20) -> 'crossed' AS crossed, credits_try_deduct('u', 18) -> 'crossed' AS crossed;
SELECT credits_deduct('u', 70, idempotency_key => 'k') -> 'crossed' AS crossed;
SELECT * FROM pg_temp.rows('u');
SELECT * FROM pg_temp.accounts;
-- a replay says what the first call said
SELECT credits_open_account('v', 'free') -> 'ok' AS ok, credits_deduct('v', 100, idempotency_key => 'k') -> 'crossed' AS crossed;
SELECT credits_deduct('v', 100, idempotency_key => 'k') - 'created_at' - 'effective_at' AS replay;

-- A threshold of the account's own; the plan's again.
SELECT credits_set_low_threshold('v', 5, 'asked for', 'key') -> 'crossed' AS crossed, credits_adjust('v', 'monthly', 4, 'x') -> 'crossed' AS crossed,
       credits_adjust('v', 'monthly', 2, 'x') -> 'crossed' AS crossed;
SELECT credits_set_low_threshold('v', 5, 'asked for', 'key') -> 'replayed' AS replayed;
SELECT credits_set_low_threshold('v', 6, 'asked for', 'key');
SELECT user_id, low FROM credit_balance ORDER BY 1;
SELECT credits_set_low_threshold('v', NULL) -> 'crossed' AS crossed;
SELECT user_id, low FROM credit_balance ORDER BY 1;
SELECT credits_set_low_threshold('v', -1);
SELECT credits_set_low_threshold('v', 9007199254740992);
SELECT credits_set_low_threshold(NULL, 5);
SELECT credits_set_low_threshold('nobody', 5);

-- The reset, late and with the version of then.
SET credits.clock = '2026-01-20 00:00Z';
SELECT credits_define_plan('free', 100, low_balance_threshold => 200) ->> 'version' AS version;
SET credits.clock = '2026-02-10 00:00Z';
SELECT credits_balance('v') -> 'low' AS low;
SELECT credits_reset_due() -> 'accounts' AS accounts;
SELECT * FROM pg_temp.rows('v');
SELECT * FROM pg_temp.accounts;

-- The view says of every account what its balance says, with a threshold of its own as well.
BEGIN;
SELECT credits_set_low_threshold('v', 100) -> 'ok' AS ok;
SELECT user_id, low, low::text = credits_balance(user_id) ->> 'low' AS same FROM credit_balance ORDER BY 1;
SELECT credits_set_low_threshold('v', 101) -> 'ok' AS ok;
SELECT user_id, low, low::text = credits_balance(user_id) ->> 'low' AS same FROM credit_balance ORDER BY 1;
ROLLBACK;

-- Flags: what they are made of.
SELECT credits_freeze('u', 'x') -> 'ok' AS ok, credits_set_overdraft('v', 50) -> 'ok' AS ok, credits_deduct('v', 120) -> 'crossed' AS crossed;
SELECT * FROM pg_temp.accounts;
SELECT credits_unfreeze('u', 'x') -> 'ok' AS ok, credits_close_account('u', 'x') -> 'crossed' AS crossed;
SELECT * FROM pg_temp.accounts;

-- The queue: only what is asked for, with its row or not at all.
SELECT count(*) AS events FROM credit_event;
SET credits.events = 'low, recovered';
SELECT credits_add_purchased('w', 100, 'pay_w') -> 'crossed' AS crossed, credits_set_low_threshold('w', 50) -> 'ok' AS ok, credits_deduct('w', 60) -> 'crossed' AS crossed;
BEGIN;
SELECT credits_add_purchased('w', 100, 'pay_w2') -> 'crossed' AS crossed;
ROLLBACK;
SET credits.events = 'purchase,revoke,reinstate,refund,reset,hold_expired,plan_change,freeze,unfreeze,close,empty';
SELECT credits_grant('x', 50, '2026-03-10 00:00Z', payment_ref => 'pack') -> 'ok' AS ok, credits_grant('x', 5, '2026-03-10 00:00Z') -> 'ok' AS ok,
       credits_revoke_purchase('pack', 20) -> 'ok' AS ok, credits_reinstate_purchase('pack', 10) -> 'ok' AS ok,
       credits_set_plan('x', 'free') -> 'ok' AS ok, credits_hold('x', 10, '1 hour') -> 'ok' AS ok;
SELECT credits_deduct('x', 3) ->> 'seq' AS spent \gset
SELECT credits_refund('x', :spent, 2) -> 'ok' AS ok, credits_freeze('x', 'y') -> 'ok' AS ok, credits_unfreeze('x', 'y') -> 'ok' AS ok;
SET credits.clock = '2026-03-01 00:00Z';
SELECT credits_deduct('x', 145) -> 'crossed' AS crossed;
SELECT credits_close_account('x', 'y') -> 'ok' AS ok;
SELECT user_id, seq, kind, amount, available, effective_at FROM credit_event ORDER BY created_at, user_id, seq, kind;

-- Taken oldest first, each once, and back if the consumer's transaction is rolled back.
BEGIN;
SELECT user_id, seq, kind FROM credits_take_events(2);
ROLLBACK;
SELECT user_id, seq, kind FROM credits_take_events(2);
SELECT user_id, seq, kind FROM credits_take_events(kinds => '{purchase,close}');
SELECT count(*) AS taken FROM credits_take_events();
SELECT count(*) AS left_ FROM credit_event;
SELECT credits_take_events(0);
SELECT credits_take_events(10001);
SELECT credits_take_events(kinds => '{nothing}');
SELECT credits_take_events(kinds => '{NULL}');
BEGIN READ ONLY;
SELECT credits_take_events();
ROLLBACK;
SET credits.events = 'low, nothing';
DELETE FROM credit_event;

SELECT * FROM credits_verify();
DROP VIEW pg_temp.accounts;
DROP EXTENSION credits;
