-- Cycles of a day, a week, a month and a year: boundaries in local time, gaps and overlaps, leap days,
-- boundaries that are skipped, rollover, and changes from one cycle to another.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2011-12-01 00:00Z';
SELECT count(credits_define_plan(plan, credits, cycle, rollover)) AS plans
  FROM (VALUES ('day', 24, 'daily', 0), ('week', 70, 'weekly', 0), ('cal', 310, 'calendar', 0), ('ann', 310, 'anniversary', 0), ('year', 3650, 'yearly', 0),
               ('day+', 24, 'daily', 10), ('week+', 70, 'weekly', 10)) v (plan, credits, cycle, rollover);
SELECT plan, cycle, monthly_credits FROM credit_plan ORDER BY plan COLLATE "C";
SELECT sqlstate, hint FROM t.refused($$SELECT credits_define_plan('hour', 1, 'hourly')$$);

-- A clock that is thousands of years ahead: so many periods are not applied at once, nor by reading.
SELECT credits_define_plan('far', 10, 'daily', 5) ->> 'version' AS version, credits_open_account('far', 'far') ->> 'monthly' AS monthly;
SET credits.clock = '9999-12-31 00:00Z';
SELECT * FROM t.refused($$SELECT credits_deduct('far', 1)$$);
SELECT t.sqlstate($$SELECT credits_balance('far')$$);
CALL credits_run_reset(dry_run => true) \gset
SELECT f ->> 'user_id' AS user_id, f ->> 'sqlstate' AS sqlstate, f ->> 'message' AS message FROM jsonb_array_elements(:'report'::jsonb -> 'failed') f;
CALL credits_import($$SELECT 'far 2' AS user_id, 'far' AS plan, timestamptz '2011-12-01 00:00Z' AS last_reset$$) \gset
SELECT :'report'::jsonb #>> '{failed,0,sqlstate}' AS import;
-- the clock is right again
SET credits.clock = '2011-12-03 00:00Z';
SELECT t.short(credits_deduct('far', 1)), t.short(credits_set_plan('far', NULL));

-- The ends of the first periods of an account that is opened at a time.  One account is looked at only; its
-- twin sleeps, and is swept at the last boundary: it must come out alike.
CREATE FUNCTION t.boundaries(plan text, anchor text, zone text, at timestamptz, n int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    who text := concat_ws(' ', plan, anchor, zone, at);
    ends text;
    told text[];
    looked jsonb;
    slept jsonb;
BEGIN
    PERFORM set_config('credits.clock', at::text, false);
    PERFORM credits_open_account(who, plan, anchor, zone);
    PERFORM credits_open_account(who || ' slept', plan, anchor, zone);
    FOR i IN 1 .. n LOOP
        ends := credits_balance(who) ->> 'next_reset_at';
        told := told || ends;
        PERFORM set_config('credits.clock', ends, false);
        PERFORM credits_unfreeze(who);
    END LOOP;
    PERFORM credits_reset_due();
    looked := credits_balance(who) - 'user_id' - 'seq';
    slept := credits_balance(who || ' slept') - 'user_id' - 'seq';
    RETURN array_to_string(told, ' ') || CASE WHEN looked = slept THEN '' ELSE format(' BUT %s SLEPT %s', looked, slept) END;
END $$;
SELECT t.boundaries('day', NULL, 'Europe/Berlin', '2026-03-28 12:00Z', 3) AS "days of 24, 23 and 24 hours";
SELECT t.boundaries('day', NULL, 'Europe/Berlin', '2026-10-24 12:00Z', 3) AS "days of 24, 25 and 24 hours";
SELECT t.boundaries('day', NULL, 'America/Santiago', '2026-09-05 12:00Z', 2) AS "midnight that does not exist";
SELECT t.boundaries('day', NULL, 'America/Havana', '2024-11-02 12:00Z', 3) AS "midnight twice: once";
SELECT t.boundaries('day', NULL, 'Pacific/Apia', '2011-12-29 00:00Z', 3) AS "a day that does not exist";
SELECT t.boundaries('day', '2026-01-10 07:30', 'UTC', '2026-02-27 12:00Z', 3) AS "a day has no anchor";
SELECT t.boundaries('week', '2026-01-05 02:30', 'Europe/Berlin', '2026-03-22 12:00Z', 3) AS "Mondays at 02:30";
SELECT t.boundaries('week', '2026-01-04 02:30', 'Europe/Berlin', '2026-03-24 12:00Z', 2) AS "02:30 that does not exist";
SELECT t.boundaries('week', '2026-01-04 02:30', 'Europe/Berlin', '2026-10-20 12:00Z', 2) AS "02:30 twice: the second";
SELECT t.boundaries('week', '2030-01-01 00:00', 'UTC', '2026-02-26 12:00Z', 2) AS "an anchor in the future, a Tuesday";
SELECT t.boundaries('week', '2011-12-23 00:00', 'Pacific/Apia', '2011-12-24 00:00Z', 2) AS "a Friday that does not exist";
SELECT t.boundaries('year', '2024-02-29 12:00', 'UTC', '2024-03-01 00:00Z', 5) AS "29 February";
SELECT t.boundaries('year', '2026-03-29 02:30', 'Europe/Berlin', '2026-01-01 00:00Z', 2) AS "02:30 that does not exist, once";
SELECT t.boundaries('year', '2031-07-01 00:00', 'Asia/Tokyo', '2026-06-30 14:59Z', 2) AS "a year in Tokyo";

-- What is skipped is one row where that gives the same; with rollover, or after a short period, it is not.
CALL t.story($$
    01-10 12:00 | credits_open_account('d', 'day') | 24/0/0
          | credits_open_account('d+', 'day+') | 24/0/0
          | credits_open_account('w', 'week', '2026-01-05 00:00', 'UTC') | 70/0/0
          | credits_open_account('w+', 'week+', '2026-01-05 00:00', 'UTC') | 70/0/0
          | credits_deduct('d+', 20) | 4/0/0
          | credits_deduct('w+', 65) | 5/0/0
    -- the first full day: 4 of yesterday's; then 10
    01-11 | credits_balance('d+') | 28/0/0
    01-12 | credits_balance('d+') | 34/0/0
          | credits_balance('w+') | 75/0/0
    01-19 | credits_balance('w+') | 80/0/0
          | credits_deduct('w+', 80) | 0/0/0
          | credits_unfreeze('w') | 70/0/0
    01-26 | credits_unfreeze('w+') | 70/0/0
    02-09 00:00 | credits_deduct('d', 1) | 23/0/0
          | credits_deduct('w', 1) | 69/0/0
          | (SELECT string_agg(concat(user_id, ' ', skipped), ', ' ORDER BY user_id, seq) FROM credit_history WHERE kind = 'reset' AND user_id IN ('d', 'w')) | d 29, w 1, w 2
          | credits_deduct('d+', 34) | 0/0/0
          | (SELECT count(*) FROM credit_history WHERE kind = 'reset' AND user_id = 'd+') | 30
    -- a hold over several of them: what it returns belongs to a period that is long over
          | h = credits_hold('w', 60, '10 days') | 9/0/0 h60
    02-18 | credits_release('w', :h) | 70/0/0 x60
    -- and over one with rollover
    02-18 | credits_balance('w+') | 80/0/0
          | h2 = credits_hold('w+', 80, '10 days') | 0/0/0 h80
    02-24 | credits_release('w+', :h2) | 80/0/0 x70
$$);
SELECT * FROM t.told;

-- From one cycle to another.  Between calendar and anniversary, which have the same length, a plan changes at
-- once, and the period keeps its end; to another length it changes at the next reset.  Then the first new
-- boundary comes, and the period to it has its share of a full one.
CREATE FUNCTION t.ends(r jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT concat(r->>'monthly', ' till ', r->>'next_reset_at') $$;
CALL t.story($$
    01-10 12:00 | t.ends(credits_open_account('x', 'day')) | 24 till 2026-01-11T00:00:00Z
          | credits_set_plan('x', 'week') | 22023
          | credits_set_plan('x', 'cal') | 22023
          | credits_set_plan('x', 'year') | 22023
    -- to weeks, that begin on Saturdays at 12:00: 6.5 days of 7
          | credits_set_plan('x', 'week', 'next_reset') | 24/0/0
    01-11 | t.ends(credits_balance('x')) | 64 till 2026-01-17T12:00:00Z
    01-17 12:00 | t.ends(credits_balance('x')) | 70 till 2026-01-24T12:00:00Z
    -- to months by the calendar: 7.5 days of 31
          | credits_set_plan('x', 'cal', 'next_reset') | 70/0/0
    01-24 12:00 | t.ends(credits_balance('x')) | 74 till 2026-02-01T00:00:00Z
    02-01 | t.ends(credits_balance('x')) | 310 till 2026-03-01T00:00:00Z
    -- to anniversaries now; the boundaries are those of the anchor, the 10th at 12:00, after this period: 9.5 days of 28
          | t.ends(credits_set_plan('x', 'ann')) | 310 till 2026-03-01T00:00:00Z
    03-01 | t.ends(credits_balance('x')) | 105 till 2026-03-10T12:00:00Z
    -- to a year: 275 of its 365 days
    03-10 12:00 | credits_set_plan('x', 'year', 'next_reset') | 310/0/0
    04-10 12:00 | t.ends(credits_balance('x')) | 2749 till 2027-01-10T12:00:00Z
    -- a plan's own versions: the next boundary is by the new cycle, in force then
    01-10 | credits_define_plan('both', 70, 'weekly') ->> 'version' | 1
          | t.ends(credits_open_account('b', 'both', '2026-01-10 00:00', 'UTC')) | 70 till 2026-01-17T00:00:00Z
    01-12 | credits_define_plan('both', 310, 'calendar') ->> 'version' | 2
    01-13 | credits_set_plan('b', 'both') | 22023
    01-17 | t.ends(credits_balance('b')) | 149 till 2026-02-01T00:00:00Z
    02-01 | t.ends(credits_balance('b')) | 310 till 2026-03-01T00:00:00Z
    -- cancelled, a cycle goes on as it is, and a plan of another length waits for it
    01-10 | t.ends(credits_open_account('y', 'year', '2026-01-01 00:00', 'UTC')) | 3650 till 2027-01-01T00:00:00Z
          | credits_set_plan('y', NULL) | 0/0/0
          | credits_set_plan('y', 'day') | 22023
          | t.ends(credits_set_plan('y', 'year')) | 3650 till 2027-01-01T00:00:00Z
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, balance, expired, plan, effective_at, next_reset_at FROM t.history('x') WHERE kind <> 'open';
SELECT seq, period, cycle, period_share, period_start FROM credit_history WHERE user_id = 'x' AND kind = 'reset' ORDER BY seq;

-- A version of another length is applied at each account's own boundary, not by the bulk run.
SET credits.clock = '2026-04-10 00:00Z';
SELECT credits_define_plan('run', 70, 'weekly') ->> 'version' AS version, credits_open_account('run', 'run') ->> 'monthly' AS monthly;
SELECT credits_define_plan('run', 24, 'daily') ->> 'version' AS version;
SET credits.clock = '2026-04-11 00:00Z';
CALL credits_apply_plan('run') \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts, :'report'::jsonb -> 'skipped' AS skipped, monthly, plan_version, cycle FROM credit_account WHERE user_id = 'run';
SET credits.clock = '2026-04-17 00:00Z';
SELECT t.ends(credits_balance('run'));

-- Cancelled: silent, however many boundaries pass; subscribed again in the period that runs.
CALL t.story($$
    01-10 | credits_open_account('s', 'day') | 24/0/0
          | credits_set_plan('s', NULL, 'next_reset') | 24/0/0
    06-10 12:00 | (credits_balance('s') -> 'period') | 152
          | t.ends(credits_set_plan('s', 'day')) | 24 till 2026-06-11T00:00:00Z
          | (SELECT count(*) FROM credit_history WHERE user_id = 's') | 5
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, balance, plan, effective_at, next_reset_at FROM t.history('s');
SELECT seq, period, period_start FROM credit_history WHERE user_id = 's' ORDER BY seq;

-- An anchor that moves by a microsecond at each boundary grants nothing that would not come anyway.
SET credits.clock = '2026-01-01 00:00Z';
SELECT credits_define_plan('giga', 1000000000, 'weekly') ->> 'version' AS version;
CALL t.story($$
    01-06 | credits_open_account('g', 'giga', '2026-01-05 00:00', 'UTC') | 1000000000/0/0
          | credits_deduct('g', 1000000000) | 0/0/0
          | (credits_set_cycle('g', '2026-01-05 00:00:00.000001') -> 'monthly') | 0
    01-12 | credits_balance('g') | 0/0/0
          | (credits_unfreeze('g') -> 'monthly') | 0
          | credits_set_plan('g', 'giga') | 0/0/0
    01-12 00:00:00.000001 | credits_deduct('g', 1000000000) | 0/0/0
          | (credits_set_cycle('g', '2026-01-05 00:00:00.000002') -> 'monthly') | 0
    01-19 00:00:00.000001 | credits_balance('g') | 0/0/0
    01-19 00:00:00.000002 | credits_deduct('g', 1000000000) | 0/0/0
    -- and back: a period that is a microsecond short gives a millionth less
          | (credits_set_cycle('g', '2026-01-05 00:00:00') -> 'monthly') | 0
    01-26 00:00:00.000002 | credits_balance('g') | 999999000/0/0
          | credits_deduct('g', 999999001) | UC001
    02-02 | credits_balance('g') | 1000000000/0/0
$$);
SELECT * FROM t.told;
SELECT seq, period, period_share, amount, period_start FROM credit_history WHERE user_id = 'g' AND kind = 'reset' ORDER BY seq;

-- All of it once more by the sweep, and verified.
SET credits.clock = '2032-01-01 00:00Z';
CALL credits_run_reset() \gset
SELECT :'report'::jsonb -> 'failures' AS failures;
SELECT * FROM credits_verify();
DROP FUNCTION t.boundaries(text, text, text, timestamptz, int), t.ends(jsonb);
DROP EXTENSION credits;
