-- What a user is entitled to, whatever is cancelled, moved, undone, closed, held or late.  In a
-- period, a user can use what was carried into it, adjustments, and the largest allowance that
-- the account had in it.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2011-12-01 00:00Z';
SELECT count(credits_define_plan(plan, credits, cycle, rollover)) AS plans
  FROM (VALUES ('cal', 100, 'calendar', 0), ('ann', 100, 'anniversary', 0), ('day', 100, 'daily', 0),
               ('a', 100, 'calendar', 0), ('b', 40, 'calendar', 0), ('big', 1000, 'calendar', 0), ('keep50', 100, 'calendar', 50), ('keep100', 100, 'calendar', 100))
       v (plan, credits, cycle, rollover);

-- The end of the period after a call.
CREATE FUNCTION t.ends(r jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT concat(r->>'monthly', ' till ', coalesce(r->>'next_reset_at', 'never')) $$;
-- An account that is opened at a time, and the ends of its first periods.
CREATE FUNCTION t.boundaries(plan text, anchor text, zone text, at timestamptz, n int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    who text := concat_ws(' ', plan, anchor, zone, at);
    ends text;
    told text[];
BEGIN
    PERFORM set_config('credits.clock', at::text, false);
    PERFORM credits_open_account(who, plan, anchor, zone);
    FOR i IN 1 .. n LOOP
        ends := credits_balance(who) ->> 'next_reset_at';
        told := told || ends;
        PERFORM set_config('credits.clock', ends, false);
    END LOOP;
    RETURN array_to_string(told, ' ');
END $$;

-- Months without the day, times that do not exist or exist twice, and a day that a zone left out.
SELECT t.boundaries('ann', '2026-01-31 00:00', 'UTC', '2026-01-31 00:00Z', 3) AS "31 January";
SELECT y AS year, t.boundaries('ann', '2024-02-29 00:00', 'UTC', format('%s-02-01 00:00Z', y)::timestamptz, 1) AS "29 February" FROM generate_series(2025, 2028) y;
SELECT t.boundaries('ann', '2026-01-29 02:30', 'Europe/Berlin', '2026-03-01 00:00Z', 1) AS "02:30 that does not exist";
SELECT t.boundaries('ann', '2026-01-25 02:30', 'Europe/Berlin', '2026-10-01 00:00Z', 2) AS "02:30 twice";
SELECT t.boundaries('ann', '2026-01-06 00:00', 'America/Santiago', '2026-09-01 00:00Z', 1) AS "midnight that does not exist";
SELECT t.boundaries('day', NULL, 'Pacific/Apia', '2011-12-29 00:00Z', 3) AS "no 30 December";
SELECT t.boundaries('ann', '2011-11-30 00:00', 'Pacific/Apia', '2011-12-01 00:00Z', 2) AS "no 30 December";

-- The table of what must come out.
CALL t.story($$
    -- asleep over three boundaries, without rollover: one grant
    01-10 | credits_open_account('asleep', 'cal') | 100/0/0
    04-02 | credits_deduct('asleep', 1) | 99/0/0
          | (SELECT concat(amount, ' skipped ', skipped) FROM credit_history WHERE user_id = 'asleep' AND kind = 'reset') | 100 skipped 2
    -- rollover 50, 10 left: 10 + 100, 50 + 100, 50 + 100, swept or not
    01-10 | credits_open_account('swept', 'keep50') | 100/0/0
          | credits_open_account('slept', 'keep50') | 100/0/0
          | credits_deduct('swept', 90) | 10/0/0
          | credits_deduct('slept', 90) | 10/0/0
    02-01 | credits_unfreeze('swept') | 110/0/0
    03-01 | credits_unfreeze('swept') | 150/0/0
    04-01 | credits_unfreeze('swept') | 150/0/0
          | credits_balance('slept') | 150/0/0
    -- opened at 23:59: the next minute is in the next period
    01-31 23:59 | credits_open_account('late', 'cal') | 100/0/0
    02-01 00:01 | credits_deduct('late', 1) | 99/0/0
          | (SELECT expired FROM credit_history WHERE user_id = 'late' AND kind = 'reset') | 100
    -- a sweep and a deduction at once: one reset
    03-01 | credits_deduct('late', 1) | 99/0/0
          | (credits_reset_due() -> 'failures') | 0
          | (SELECT count(*) FROM credit_history WHERE user_id = 'late' AND kind = 'reset') | 2
    -- the clock goes back 8 hours after a reset: no second one
    04-01 00:00 | credits_deduct('late', 1) | 99/0/0
    03-31 16:00 | credits_deduct('late', 1) | 98/0/0
    04-01 00:01 | credits_deduct('late', 1) | 97/0/0
    -- held over a boundary and released: lost, or carried as far as the rollover goes
    01-31 | credits_open_account('held', 'cal') | 100/0/0
          | h = credits_hold('held', 100, '2 days') | 0/0/0 h100
    02-01 | credits_release('held', :h) | 100/0/0 x100
    01-31 | credits_open_account('held100', 'keep100') | 100/0/0
          | h2 = credits_hold('held100', 100, '2 days') | 0/0/0 h100
    02-01 | credits_release('held100', :h2) | 200/0/0
    -- held at 23:50 for 15 minutes and captured at 00:06: the new allowance is untouched
    01-31 23:50 | credits_open_account('captured', 'cal') | 100/0/0
          | h3 = credits_hold('captured', 100, '15 minutes') | 0/0/0 h100
    02-01 00:06 | credits_capture('captured', :h3) | 100/0/0
    -- from UTC to Tokyo: the period keeps its end, and the next one has its share
    01-10 | t.ends(credits_open_account('moved', 'cal')) | 100 till 2026-02-01T00:00:00Z
          | t.ends(credits_set_cycle('moved', NULL, 'Asia/Tokyo')) | 100 till 2026-02-01T00:00:00Z
    02-01 | t.ends(credits_balance('moved')) | 98 till 2026-02-28T15:00:00Z
    02-28 15:00 | t.ends(credits_balance('moved')) | 100 till 2026-03-31T15:00:00Z
    -- Berlin to New York and back on one day: nothing has changed
    01-10 | t.ends(credits_open_account('back', 'cal', NULL, 'Europe/Berlin')) | 100 till 2026-01-31T23:00:00Z
          | credits_set_cycle('back', NULL, 'America/New_York') | 100/0/0
          | t.ends(credits_set_cycle('back', NULL, 'Europe/Berlin')) | 100 till 2026-01-31T23:00:00Z
    02-01 | t.ends(credits_balance('back')) | 100 till 2026-02-28T23:00:00Z
    -- the session's zone is not the account's
          | set_config('timezone', 'Asia/Tokyo', false) | Asia/Tokyo
          | t.ends(credits_balance('back')) | 100 till 2026-02-28T23:00:00Z
          | set_config('timezone', 'UTC', false) | UTC
    -- raised on the 20th: the boundary of the 1st, applied on the 25th, is by the old version
    01-10 | credits_define_plan('raised', 10) ->> 'version' | 1
          | credits_open_account('raised', 'raised') | 10/0/0
    02-20 | credits_define_plan('raised', 20) ->> 'version' | 2
    02-25 | credits_deduct('raised', 1) | 9/0/0
    03-01 | credits_balance('raised') | 20/0/0
$$);
SELECT * FROM t.told;

-- Undo of a boundary gives the same whether the boundary before it has a row of its own or not.
CALL t.story($$
    01-10 | credits_open_account('swept u', 'b') | 40/0/0
          | credits_open_account('slept u', 'b') | 40/0/0
          | credits_open_account('swept v', 'a') | 100/0/0
          | credits_open_account('slept v', 'a') | 100/0/0
          | credits_set_plan('swept v', 'b') | 40/0/0
          | credits_set_plan('slept v', 'b') | 40/0/0
    02-01 | credits_unfreeze('swept u') | 40/0/0
          | credits_unfreeze('swept v') | 40/0/0
    03-05 | credits_set_plan('swept u', 'a') | 100/0/0
          | credits_set_plan('slept u', 'a') | 100/0/0
          | credits_balance('swept v') | 40/0/0
          | credits_balance('slept v') | 40/0/0
$$);
SELECT count(*) FILTER (WHERE wrong IS NOT NULL) AS wrong FROM t.told;
CALL credits_undo_run(plan => 'a', boundary => '2026-03-01 00:00Z') \gset
CALL credits_undo_run(plan => 'b', boundary => '2026-03-01 00:00Z') \gset
SELECT user_id, plan, monthly, owed_monthly, period_granted FROM credit_account WHERE user_id LIKE 's%t _' ORDER BY 1;

-- Opening an account without a plan once more changes nothing.
CALL t.story($$
    01-10 | credits_add_purchased('twice', 10, 'pay twice') | 0/0/10
          | credits_adjust('twice', 'monthly', 50, 'why') | 50/0/10
          | h = credits_hold('twice', 20) | 30/0/10 h20
          | credits_open_account('twice') | 30/0/10 h20
          | credits_release('twice', :h) | 50/0/10
$$);
SELECT * FROM t.told;

-- Undo takes back what a run did, and not what happened since.
CREATE PROCEDURE t.undo(run text) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL credits_undo_run((run::jsonb ->> 'run_id')::uuid, report => r);
    RAISE NOTICE 'undone %, skipped %', r -> 'accounts', r -> 'skipped';
END $$;
SET credits.clock = '2026-01-10 00:00Z';
SELECT count(credits_define_plan(p, 100)) FROM unnest('{p30,p200}'::text[]) p;
SELECT count(credits_open_account(u, p)) FROM (VALUES ('up', 'p30'), ('gone', 'p30'), ('down', 'p200')) v (u, p);
SELECT credits_define_plan('p30', 30) ->> 'version' AS version, credits_define_plan('p200', 200) ->> 'version' AS version;
SET credits.clock = '2026-01-11 00:00Z';
CALL credits_apply_plan('p30') \gset run30_
CALL credits_apply_plan('p200') \gset run200_
SELECT user_id, monthly FROM credit_account WHERE user_id IN ('up', 'gone', 'down') ORDER BY 1;
SELECT t.short(credits_set_plan('up', 'big')) AS up, t.short(credits_set_plan('gone', NULL)) AS gone, t.short(credits_set_plan('down', 'b')) AS down;
SET client_min_messages = notice;
CALL t.undo(:'run30_report');
CALL t.undo(:'run200_report');
SET client_min_messages = warning;
SELECT user_id, plan, monthly, owed_monthly FROM credit_account WHERE user_id IN ('up', 'gone', 'down') ORDER BY 1;
-- a reset of 30, an upgrade to 1000, all of it spent: to grant anew grants nothing more
SELECT t.short(credits_open_account('spent', 'p30')) AS opened;
SET credits.clock = '2026-02-01 00:00Z';
SELECT t.short(credits_set_plan('spent', 'big')) AS upgraded;
SELECT t.short(credits_deduct('spent', 1000)) AS spent;
CALL credits_undo_run(plan => 'big', boundary => '2026-02-01 00:00Z', regrant => true) \gset
SELECT monthly, owed_monthly, period_granted FROM credit_account WHERE user_id = 'spent';
-- a reset with which nothing was wrong: to grant anew changes nothing
SELECT t.short(credits_open_account('right', 'p30')) AS opened;
SET credits.clock = '2026-03-01 00:00Z';
CALL credits_undo_run(plan => 'p30', boundary => '2026-03-01 00:00Z', regrant => true) \gset
SELECT monthly, period_granted FROM credit_account WHERE user_id = 'right';
-- an import: what is held or spent when it is undone does not come back afterwards
SET credits.clock = '2026-03-05 00:00Z';
CALL credits_import($$SELECT 'imported' AS user_id, 'a' AS plan, 80 AS monthly, 50 AS purchased$$) \gset run_
SELECT t.short(credits_deduct('imported', 30)) AS deducted, (SELECT max(seq) FROM credit_history WHERE user_id = 'imported') AS d \gset
SELECT t.short(credits_hold('imported', 70)) AS held, (SELECT max(seq) FROM credit_history WHERE user_id = 'imported') AS h \gset
SET client_min_messages = notice;
CALL t.undo(:'run_report');
SET client_min_messages = warning;
SELECT monthly, purchased, owed_monthly, owed_purchased FROM credit_account WHERE user_id = 'imported';
SELECT t.short(credits_refund('imported', 2)) AS refunded;
SELECT t.short(credits_release('imported', 3)) AS released;
SELECT monthly, purchased, owed_monthly, owed_purchased, next_reset_at FROM credit_account WHERE user_id = 'imported';

-- A closed account: what it forfeited covers the chargeback.
CALL t.story($$
    01-10 | credits_open_account('closed', NULL) | 0/0/0
          | credits_add_purchased('closed', 100, 'pay closed') | 0/0/100
          | credits_close_account('closed') | 0/0/0 f100
          | credits_revoke_purchase('pay closed') | 0/0/0
          | credits_unfreeze('closed') | 0/0/0
          | credits_add_purchased('closed', 30, 'pay again') | 0/0/30
$$);
SELECT * FROM t.told;

-- The buttons "cancel", "billing day" and "subscribe", every month at the boundary: a second later,
-- by the zone, or by a plan of the other cycle.  One allowance a month, and not another one soon.
CREATE FUNCTION t.milk(who text, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := '2026-01-10 00:00Z';
    got int8;
    spent text[];
BEGIN
    PERFORM set_config('credits.clock', at::text, false);
    PERFORM credits_open_account(who, 'ann', '2026-01-10 00:00', 'UTC');
    PERFORM credits_deduct(who, 100);
    PERFORM credits_set_plan(who, NULL, 'next_reset');
    FOR month IN 1 .. 4 LOOP
        at := credits_balance(who) ->> 'next_reset_at';
        PERFORM set_config('credits.clock', at::text, false);
        PERFORM CASE how
            WHEN 'anchor' THEN credits_set_cycle(who, to_char(at + interval '1 s', 'YYYY-MM-DD HH24:MI:SS'))
            WHEN 'zone' THEN credits_set_cycle(who, NULL, CASE month % 2 WHEN 0 THEN 'UTC' ELSE 'America/New_York' END)
            ELSE credits_set_plan(who, 'cal') END;
        PERFORM credits_set_plan(who, 'ann');
        got := (credits_balance(who) ->> 'monthly')::int8;
        spent := spent || format('%s: %s', to_char(at, 'MM-DD HH24:MI:SS'), got);
        IF got > 0 THEN
            PERFORM credits_deduct(who, got);
        END IF;
        -- a second later, an hour later, a day later
        FOREACH got IN ARRAY '{1,3600,86400,432000}'::int8[] LOOP
            PERFORM set_config('credits.clock', (at + got * interval '1 s')::text, false);
            got := (credits_balance(who) ->> 'monthly')::int8;
            IF got > 0 THEN
                spent := spent || format('and %s', got);
                PERFORM credits_deduct(who, got);
            END IF;
        END LOOP;
        PERFORM credits_set_plan(who, NULL, 'next_reset');
    END LOOP;
    RETURN array_to_string(spent, ', ');
END $$;
SELECT how, t.milk('by ' || how, how) FROM unnest('{anchor,zone,cycle}'::text[]) how;

-- The end of an entitlement takes what is held or spent, too: it does not matter whether that comes back
-- before or after it.
CALL t.story($$
    01-10 | credits_open_account('h1', 'big') | 1000/0/0
          | credits_open_account('h2', 'big') | 1000/0/0
          | h1 = credits_hold('h1', 1000) | 0/0/0 h1000
          | h2 = credits_hold('h2', 1000) | 0/0/0 h1000
          | credits_set_plan('h1', NULL) | 0/0/0 h1000
          | credits_release('h1', :h1) | 0/0/0
          | credits_release('h2', :h2) | 1000/0/0
          | credits_set_plan('h2', NULL) | 0/0/0
    -- spent and refunded: cancelled
          | credits_open_account('d1', 'big') | 1000/0/0
          | credits_open_account('d2', 'big') | 1000/0/0
          | d1 = credits_deduct('d1', 700) | 300/0/0
          | d2 = credits_deduct('d2', 700) | 300/0/0
          | credits_set_plan('d1', NULL) | 0/0/0
          | credits_refund('d1', :d1) | 0/0/0
          | credits_refund('d2', :d2) | 1000/0/0
          | credits_set_plan('d2', NULL) | 0/0/0
    -- spent and refunded: downgraded
          | credits_open_account('e1', 'big') | 1000/0/0
          | credits_open_account('e2', 'big') | 1000/0/0
          | e1 = credits_deduct('e1', 700) | 300/0/0
          | e2 = credits_deduct('e2', 700) | 300/0/0
          | credits_set_plan('e1', 'a') | 0/0/0
          | credits_refund('e1', :e1) | 100/0/0
          | credits_refund('e2', :e2) | 1000/0/0
          | credits_set_plan('e2', 'a') | 100/0/0
    -- spent, closed, refunded; and opened again
          | credits_open_account('f1', 'big') | 1000/0/0
          | f1 = credits_deduct('f1', 700) | 300/0/0
          | credits_close_account('f1') | 0/0/0 x300
          | credits_refund('f1', :f1) | 0/0/0
          | credits_unfreeze('f1') | 0/0/0
          | credits_set_plan('f1', 'a') | 100/0/0
$$);
SELECT * FROM t.told WHERE call NOT LIKE 'credits_open%';

-- Rollover 100, and 60 of the 100 held from 23:59 to 00:01: all 100 roll over.
CALL t.story($$
    01-31 23:59 | credits_open_account('rolls', 'keep100') | 100/0/0
          | h = credits_hold('rolls', 60) | 40/0/0 h60
    02-01 00:01 | credits_release('rolls', :h) | 200/0/0
$$);
SELECT * FROM t.told;

-- A clock that stands still: periods have numbers.  The first plan goes on with the period that was, so the
-- refund comes back to it, as it does with a clock that runs.  A restart begins another one.
CALL t.story($$
    01-10 | credits_add_purchased('stuck', 1, 'pay stuck') | 0/0/1
          | credits_adjust('stuck', 'monthly', 100, 'why') | 100/0/1
          | d = credits_deduct('stuck', 100) | 0/0/1
          | credits_set_plan('stuck', 'a') | 100/0/1
          | credits_refund('stuck', :d) | 200/0/1
          | credits_add_purchased('runs', 1, 'pay runs') | 0/0/1
          | credits_adjust('runs', 'monthly', 100, 'why') | 100/0/1
          | d2 = credits_deduct('runs', 100) | 0/0/1
    01-11 | credits_set_plan('runs', 'a') | 100/0/1
    01-12 | credits_refund('runs', :d2) | 200/0/1
    01-10 | credits_open_account('still', 'a') | 100/0/0
          | d3 = credits_deduct('still', 100) | 0/0/0
          | credits_set_plan('still', 'a', restart => true) | 100/0/0
          | credits_refund('still', :d3) | 100/0/0 f100
$$);
SELECT * FROM t.told;

SELECT * FROM credits_verify();
DROP PROCEDURE t.undo(text);
DROP FUNCTION t.ends(jsonb), t.boundaries(text, text, text, timestamptz, int), t.milk(text, text);
DROP EXTENSION credits;
