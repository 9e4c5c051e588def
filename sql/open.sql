-- Opening accounts.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-15 12:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_define_plan('pro', 100, 'anniversary') ->> 'version' AS version;

-- With a plan: its allowance at once, the period to the next boundary.
SELECT jsonb_pretty(credits_open_account('cal', 'free'));
-- the 1st comes in the account's time zone
SELECT * FROM t.receipt(credits_open_account('berlin', 'free', NULL, 'Europe/Berlin'));
SELECT * FROM t.receipt(credits_open_account('la', 'free', time_zone => 'America/Los_Angeles'));
-- an anniversary is counted from now, or from the anchor that is given
SELECT * FROM t.receipt(credits_open_account('ann', 'pro'));
SELECT * FROM t.receipt(credits_open_account('ann2', 'pro', '2025-11-20 08:30:00', 'Asia/Kolkata'));
-- Without a plan: no credits, a period without end.
SELECT * FROM t.receipt(credits_open_account('none'));
SELECT sqlstate, detail::jsonb ->> 'available' AS available FROM t.refused($$SELECT credits_deduct('none', 1)$$);

SELECT user_id, plan, plan_version, monthly, period_granted, cycle_anchor, time_zone, status,
       last_monthly_reset, next_reset_at, history_seq
  FROM credit_account ORDER BY user_id;
-- The opening is the first history row; its idempotency key is the empty text.
SELECT user_id, seq, kind, amount, monthly_delta, monthly, idempotency_key = '' AS key,
       plan, plan_version, time_zone, period_granted, status
  FROM credit_history ORDER BY user_id;

-- Again with the same facts: a replay, whatever changed since.
SELECT credits_deduct('cal', 3) ->> 'monthly' AS monthly;
SELECT * FROM t.receipt(credits_open_account('cal', 'free'));
SELECT credits_set_plan('cal', 'pro') ->> 'monthly' AS monthly;
SET credits.clock = '2026-02-20 00:00:00+00';
SELECT * FROM t.receipt(credits_open_account('cal', 'free'));
SELECT * FROM t.receipt(credits_open_account('ann'  , 'pro'));
SELECT * FROM t.receipt(credits_open_account('ann2', 'pro', '2025-11-20 08:30:00', 'Asia/Kolkata'));
SELECT * FROM t.receipt(credits_open_account('none'));
SELECT count(*) AS rows FROM credit_history WHERE user_id = 'ann';
-- Other facts: UC003.
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_open_account('ann', 'free')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('ann')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('ann', 'pro', '2026-01-16 00:00:00')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('ann', 'pro', NULL, 'Europe/Berlin')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('ann2', 'pro', '2025-11-20 08:30:00', 'Europe/Berlin')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('none', 'free')$$);

-- A purchase opens an account without a plan; opening it then sets the plan
-- and grants.  The purchased credits stay.
SELECT * FROM t.receipt(credits_add_purchased('buyer', 5, 'pay_1'));
SELECT plan IS NULL AS no_plan, time_zone, next_reset_at IS NULL AS open_ended FROM credit_account WHERE user_id = 'buyer';
SELECT * FROM t.receipt(credits_open_account('buyer', 'free', NULL, 'Europe/Berlin'));
SELECT * FROM t.receipt(credits_open_account('buyer', 'free', NULL, 'Europe/Berlin'));
SELECT sqlstate FROM t.refused($$SELECT credits_open_account('buyer', 'pro')$$);
SELECT kind, amount, delta, balance, plan, effective_at, next_reset_at FROM t.history('buyer');

-- The boundary belongs to the new period: opened at midnight of the 1st.
SET credits.clock = '2026-03-01 00:00:00+00';
SELECT * FROM t.receipt(credits_open_account('first', 'free'));
SELECT * FROM t.receipt(credits_open_account('first_ann', 'pro'));

-- Arguments.
SELECT args, t.sqlstate('SELECT credits_open_account(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 'free'$$,                                -- 22004
    $$'', 'free'$$,                                  -- 22023
    $$'x', 'gone'$$,                                 -- UC009
    $$'x', ''$$,                                     -- UC009 or 22023
    $$'x', 'Free'$$,                                 -- UC009
    $$'x', 'free', NULL, 'Mars/Base'$$,              -- 22023
    $$'x', 'free', NULL, 'FOO5BAR'$$,                -- 22023
    $$'x', 'free', NULL, ''$$,                       -- 22023
    $$'x', 'free', NULL, '+02'$$,                    -- 22023
    $$'x', 'free', 'infinity'$$,                     -- 22023
    $$'x', 'free', '-infinity'$$                     -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT sqlstate, message, detail, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_open_account('x', 'gone')$$);
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_open_account('x', 'free', NULL, 'Mars/Base')$$);
SELECT count(*) AS opened FROM credit_account WHERE user_id = 'x';

-- With credits.default_plan the first call of an unknown user opens the account.
SELECT sqlstate, message, detail, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_deduct('auto', 1)$$);
SET credits.default_plan = 'free';
SELECT * FROM t.receipt(credits_deduct('auto', 1));
SELECT * FROM t.receipt(credits_try_deduct('auto2', 2));
SELECT kind, amount, delta, balance, plan, next_reset_at FROM t.history('auto');
SELECT * FROM t.receipt(credits_open_account('plain'));
-- a refused first call opens nothing
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('auto3', 11)$$);
SELECT credits_try_deduct('auto3', 11) -> 'ok' AS ok;
SELECT count(*) AS opened FROM credit_account WHERE user_id = 'auto3';
-- reading opens nothing either; it shows what the first call would find
SELECT r->>'monthly' AS monthly, r->>'plan' AS plan, r->>'next_reset_at' AS next_reset_at FROM credits_balance('auto3') r;
SELECT count(*) AS rows FROM credits_history('auto3');
SELECT count(*) AS opened FROM credit_account WHERE user_id = 'auto3';
-- a default plan that does not exist
SET credits.default_plan = 'gone';
SELECT * FROM t.refused($$SELECT credits_deduct('d8', 1)$$);
SELECT * FROM t.refused($$SELECT credits_balance('d8')$$);
SELECT * FROM t.refused($$SELECT credits_open_account('d8')$$);
SELECT * FROM t.refused($$SELECT credits_open_account('d8', 'gone')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('auto3', 1)$$);
RESET credits.default_plan;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
