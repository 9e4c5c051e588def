-- A restart that was paid for: a new period begins now, with the plan's full allowance, and lasts one
-- full period of its cycle.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-01 00:00Z';
SELECT count(credits_define_plan(plan, credits, cycle, rollover)) AS plans
  FROM (VALUES ('ann', 100, 'anniversary', 0), ('cal', 100, 'calendar', 0), ('keep', 100, 'anniversary', 30),
               ('week', 70, 'weekly', 0), ('year', 1200, 'yearly', 0)) v (plan, credits, cycle, rollover);
CREATE FUNCTION t.ends(r jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT concat(r->>'monthly', ' till ', coalesce(r->>'next_reset_at', 'never'), ' x' || (r->>'expired')) $$;

-- The anchor moves to now, so that every period from now on is full.
CALL t.story($$
    01-10 | credits_open_account('u', 'ann', '2026-01-10 00:00', 'UTC') | 100/0/0
          | credits_deduct('u', 70) | 30/0/0
    01-20 12:00 | t.ends(credits_set_plan('u', 'ann', restart => true)) | 100 till 2026-02-20T12:00:00Z x30
          | (SELECT cycle_anchor FROM credit_account WHERE user_id = 'u') | 2026-01-20T12:00:00
    02-20 12:00 | t.ends(credits_balance('u')) | 100 till 2026-03-20T12:00:00Z
    -- with the anchor kept, the restarted period is full all the same, and the one after it is short: 19.5 days of 28
    01-10 | credits_open_account('k', 'ann', '2026-01-10 00:00', 'UTC') | 100/0/0
    01-20 12:00 | t.ends(credits_set_plan('k', 'ann', restart => true, keep_anchor => true)) | 100 till 2026-02-20T12:00:00Z x100
    02-20 12:00 | t.ends(credits_balance('k')) | 62 till 2026-03-10T00:00:00Z
    03-10 | t.ends(credits_balance('k')) | 100 till 2026-04-10T00:00:00Z
    -- nor does an anchor matter to the calendar: 8.5 days of 28
    01-10 | credits_open_account('c', 'cal') | 100/0/0
    01-20 12:00 | t.ends(credits_set_plan('c', 'cal', restart => true)) | 100 till 2026-02-20T12:00:00Z x100
    02-20 12:00 | t.ends(credits_balance('c')) | 30 till 2026-03-01T00:00:00Z
    03-01 | t.ends(credits_balance('c')) | 100 till 2026-04-01T00:00:00Z
    -- one month later is clamped to the month's last day
    01-31 | credits_open_account('m', 'cal') | 100/0/0
          | t.ends(credits_set_plan('m', 'ann', restart => true)) | 100 till 2026-02-28T00:00:00Z x100
    02-28 | t.ends(credits_balance('m')) | 100 till 2026-03-31T00:00:00Z
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, delta, balance, expired, plan, effective_at, next_reset_at FROM t.history('k') WHERE seq = 2;
SELECT seq, period, period_share, last_left, last_limit, period_granted FROM credit_history WHERE user_id = 'k' AND seq = 2;
SELECT end_anchor IS NOT NULL AS has_end, end_zone, end_cycle FROM credit_account WHERE user_id = 'k';

-- A restart is a boundary: what is left rolls over up to the limit of the new plan, debts lapse, and what returns later
-- from the period before is carried as if it had been free.
CALL t.story($$
    01-10 | credits_open_account('r', 'keep') | 100/0/0
          | h = credits_hold('r', 80) | 20/0/0 h80
          | credits_set_plan('r', 'keep', restart => true) | 120/0/0 h80
          | credits_release('r', :h) | 130/0/0 x70
          | credits_open_account('d', 'keep') | 100/0/0
          | d = credits_deduct('d', 100) | 0/0/0
          | credits_set_plan('d', NULL) | 0/0/0
          | (credits_balance('d') -> 'owed_monthly') | 100
          | credits_set_plan('d', 'keep', restart => true) | 100/0/0
          | (credits_balance('d') -> 'owed_monthly') | 0
    -- what was remembered is paid by what returns, before anything is carried
          | credits_refund('d', :d) | 100/0/0 f100
    -- what was scheduled is dropped; what ends in the new period ends when it would have
          | credits_open_account('s', 'ann') | 100/0/0
          | credits_grant('s', 5, '2026-01-12 00:00Z') | 100/5/0
          | credits_set_plan('s', NULL, 'next_reset') | 100/5/0
          | credits_set_plan('s', 'ann', restart => true) | 100/5/0 x100
          | (SELECT scheduled_plan IS NULL FROM credit_account WHERE user_id = 's') | true
    01-12 | credits_balance('s') | 100/0/0
    02-10 | credits_balance('s') | 100/0/0
$$);
SELECT * FROM t.told;

-- To a cycle of another length only with a restart, or at the next reset.
CALL t.story($$
    01-10 | credits_open_account('w', 'ann', '2026-01-10 00:00', 'UTC') | 100/0/0
    01-14 | credits_set_plan('w', 'week') | 22023
          | t.ends(credits_set_plan('w', 'week', restart => true)) | 70 till 2026-01-21T00:00:00Z x100
          | credits_set_plan('w', 'year') | 22023
          | t.ends(credits_set_plan('w', 'year', restart => true)) | 1200 till 2027-01-14T00:00:00Z x70
    -- at the next reset: from then on the new cycle's first boundary, 4 days of 7
    01-10 | credits_open_account('v', 'ann', '2026-01-10 00:00', 'UTC') | 100/0/0
          | credits_set_plan('v', 'week', 'next_reset') | 100/0/0
    02-10 | t.ends(credits_balance('v')) | 39 till 2026-02-14T00:00:00Z
    02-14 | t.ends(credits_balance('v')) | 70 till 2026-02-21T00:00:00Z
$$);
SELECT * FROM t.told;
SELECT message, hint FROM t.refused($$SELECT credits_set_plan('w', 'ann')$$);

-- A first plan may begin with a restart: then it is a boundary, and the period that had no end is over.
CALL t.story($$
    01-10 | credits_add_purchased('p', 5, 'pay p') | 0/0/5
          | credits_adjust('p', 'monthly', 20, 'why') | 20/0/5
          | credits_set_plan('p', 'ann', restart => true) | 100/0/5 x20
          | (SELECT period FROM credit_account WHERE user_id = 'p') | 2
$$);
SELECT * FROM t.told;

-- Once per key; and what is refused.
CALL t.story($$
    01-15 | credits_open_account('o', 'ann') | 100/0/0
          | credits_deduct('o', 10) | 90/0/0
          | credits_set_plan('o', 'ann', idempotency_key => 'k', restart => true) | 100/0/0 x90
          | credits_deduct('o', 10) | 90/0/0
          | credits_set_plan('o', 'ann', idempotency_key => 'k', restart => true) | 100/0/0 x90 again
          | credits_set_plan('o', 'ann', idempotency_key => 'k') | UC003
          | credits_set_plan('o', 'ann', idempotency_key => 'k', restart => true, keep_anchor => true) | UC003
          | credits_set_plan('o', NULL, restart => true) | 22023
          | credits_set_plan('o', 'ann', 'next_reset', restart => true) | 22023
          | credits_set_plan('o', 'ann', keep_anchor => true) | 22023
          | credits_set_plan('o', 'none', restart => true) | UC009
          | credits_set_plan('nobody', 'ann', restart => true) | UC002
          | credits_close_account('o') | 0/0/0 x90
          | credits_set_plan('o', 'ann', restart => true) | UC004
    -- past the cap it is refused, not clamped
          | credits_open_account('x', 'ann') | 100/0/0
          | credits_add_purchased('x', 9007199254740891, 'pay x') | 100/0/9007199254740891
          | credits_set_plan('x', 'ann', restart => true) | 100/0/9007199254740891 x100
          | credits_set_plan('x', 'year', restart => true) | 22003
$$);
SELECT * FROM t.told;
SELECT jsonb_pretty(credits_set_plan('s', 'ann', 'now', 'paid again', 'key', '{"invoice": 7}', true));

SELECT * FROM credits_verify();
DROP FUNCTION t.ends(jsonb);
DROP EXTENSION credits;
