-- Balances at past times, and why a user has what he has.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 12:00Z';
SELECT credits_define_plan('pro', 100) ->> 'version' AS pro, credits_define_plan('anni', 21, 'anniversary') ->> 'version' AS anni;
SELECT credits_open_account('u', 'pro') ->> 'monthly' AS monthly, credits_add_purchased('u', 50, 'pay_1') ->> 'purchased' AS purchased;
SELECT credits_grant('u', 30, '2026-01-20 00:00Z') ->> 'seq' AS one, credits_grant('u', 20, '2026-05-15 00:00Z') ->> 'seq' AS two;
SET credits.clock = '2026-01-12 12:00Z';
SELECT credits_deduct('u', 110) ->> 'available' AS available, credits_hold('u', 60, '1 day') ->> 'seq' AS hold;
SELECT jsonb_pretty(credits_explain('u'));

-- the hold has ended, then a grant, then the period: none of it is written
SET credits.clock = '2026-02-12 12:00Z';
SELECT jsonb_pretty(credits_explain('u'));

-- a past time, before and after the events are written: the same
CREATE TEMP TABLE t AS SELECT t::timestamptz FROM unnest(ARRAY['2026-01-10 12:00Z', '2026-01-12 11:59Z', '2026-01-12 12:00Z', '2026-01-13 11:59Z',
    '2026-01-13 12:00Z', '2026-01-19 23:59Z', '2026-01-20 00:00Z', '2026-01-31 23:59Z', '2026-02-01 00:00Z', '2026-02-12 12:00Z']) t;
CREATE TEMP TABLE unswept AS SELECT t, credits_balance_at('u', t) - 'seq' AS b FROM t;
SELECT t, b -> 'monthly' AS monthly, b -> 'granted' AS granted, b -> 'purchased' AS purchased, b -> 'held' AS held, b ->> 'as_of' AS as_of
  FROM unswept ORDER BY t;
SELECT credits_reset_due() ->> 'accounts' AS accounts;
SELECT t, b, credits_balance_at('u', t) - 'seq' AS now FROM unswept WHERE b IS DISTINCT FROM credits_balance_at('u', t) - 'seq';
SELECT credits_balance_at('u', '2026-02-12 12:00Z') = credits_balance('u') AS same;

-- not before there was an account, not what is to come, not for anybody unknown
SELECT credits_balance_at('u', '2026-01-10 11:59Z');
SELECT credits_balance_at('u', '2026-02-12 12:01Z');
SELECT credits_balance_at('nobody', '2026-02-12 12:00Z');
SELECT credits_balance_at('u', NULL);
SELECT credits_balance_at('u', 'infinity');
SELECT credits_balance_at(NULL, '2026-02-12 12:00Z');
SELECT credits_explain('nobody');
SELECT credits_explain(NULL);

-- a plan change and the reset of its instant are one; the period after it is short and
-- has a row of its own
SET credits.clock = '2026-04-11 13:00Z';
SELECT credits_open_account('c', 'pro') ->> 'monthly' AS monthly, credits_set_plan('c', 'anni', 'next_reset') ->> 'scheduled_plan' AS scheduled;
SET credits.clock = '2026-09-15 00:00Z';
SELECT b ->> 'period_start' AS period_start, b ->> 'next_reset_at' AS next_reset_at FROM credits_balance_at('c', '2026-05-20 00:00Z') b;
SELECT credits_deduct('c', 8) ->> 'monthly' AS monthly;
SELECT b ->> 'period_start' AS period_start, b ->> 'next_reset_at' AS next_reset_at FROM credits_balance_at('c', '2026-05-20 00:00Z') b;

-- after a clock repair an account has the version of a plan that is to come
SET credits.clock = '2027-04-20 23:30Z';
SELECT credits_define_plan('later', 22) ->> 'version' AS later, credits_open_account('r', 'later', '2023-03-01 00:30') ->> 'monthly' AS monthly;
SET credits.clock = '2027-04-11 10:03Z';
SELECT credits_repair_clock('r') ->> 'kind' AS kind, credits_set_cycle('r', '2023-03-21 02:30', 'Asia/Kathmandu') ->> 'next_reset_at' AS next_reset_at;
SELECT * FROM credits_verify();
DROP EXTENSION credits;

-- For each bucket: what came less what was taken is what is there, and what is held, less what is owed.  Whatever
-- is called and whenever it is asked, with what is due written or not, and after archiving.
CREATE EXTENSION credits;
SET credits.clock = '2026-01-01 00:00Z';
SELECT count(credits_define_plan(p, c, cycle, rollover)) AS plans
  FROM (VALUES ('small', 40, 'calendar', 0), ('large', 100, 'anniversary', 30), ('weeks', 30, 'weekly', 10), ('days', 12, 'daily', 0)) v (p, c, cycle, rollover);
CREATE FUNCTION t.unexplained(who text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', bucket, e -> bucket), ' ')
      FROM (SELECT credits_explain(who) AS e) x, unnest('{monthly,granted,purchased}'::text[]) bucket
     WHERE (SELECT coalesce(sum(value::int8), 0) FROM jsonb_each_text(e -> bucket -> 'came_from')) - (SELECT coalesce(sum(value::int8), 0) FROM jsonb_each_text(e -> bucket -> 'taken_by'))
           IS DISTINCT FROM (e #>> ARRAY[bucket, 'balance'])::int8 + (e #>> ARRAY[bucket, 'held'])::int8 - coalesce((e #>> ARRAY[bucket, 'owed'])::int8, 0)
        OR (e #>> ARRAY[bucket, 'balance'])::int8 IS DISTINCT FROM (credits_balance(who) ->> bucket)::int8
        OR EXISTS (SELECT FROM jsonb_to_recordset(e #> '{granted,grants}') g (amount int8, remaining int8, held int8, spent int8, revoked int8)
                    WHERE least(remaining, held, spent, revoked) < 0 OR amount IS DISTINCT FROM remaining + held + spent + revoked)
$$;
-- as it was wrong: with the reset of 10 February written, and with one that is due
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_open_account('one', 'large') ->> 'monthly' AS monthly, credits_deduct('one', 30) ->> 'monthly' AS left;
SET credits.clock = '2026-02-10 00:00Z';
SELECT credits_deduct('one', 10) ->> 'monthly' AS left;
SELECT credits_explain('one') -> 'monthly' AS monthly;
SET credits.clock = '2026-03-10 00:00Z';
SELECT credits_explain('one') -> 'monthly' AS monthly, t.unexplained('one');
-- what a restart grants is not carried over; and after boundaries without a row, nothing came in this period
SELECT credits_open_account('two', 'small') ->> 'monthly' AS monthly, credits_set_plan('two', 'large', restart => true) ->> 'monthly' AS restarted;
SELECT credits_explain('two') #> '{monthly,came_from}' AS came_from;
SELECT credits_open_account('three', 'small') ->> 'monthly' AS monthly, credits_set_plan('three', NULL) ->> 'monthly' AS cancelled;
SELECT credits_explain('three') #> '{monthly,came_from}' AS came_from, credits_explain('three') #> '{monthly,taken_by}' AS taken_by;
SET credits.clock = '2026-06-10 00:00Z';
SELECT credits_explain('three') -> 'monthly' AS monthly;
SET credits.clock = '2026-03-10 00:00Z';
-- nor does the next reset pass the cap
SELECT credits_deduct('one', 130) ->> 'monthly' AS left, credits_add_purchased('one', 9007199254740991 - 60, 'all') ->> 'ok' AS ok;
SELECT credits_explain('one') -> 'next_reset' AS next_reset;
-- what a chargeback took of a paid grant was not spent; what it took elsewhere was, until that comes back
CREATE FUNCTION t.grants(who text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s + %s held + %s spent + %s revoked', g -> 'amount', g -> 'remaining', g -> 'held', g -> 'spent', g -> 'revoked'), ', ')
      FROM jsonb_array_elements(credits_explain(who) #> '{granted,grants}') g
$$;
CALL t.story($$
    03-10 | credits_open_account('pack') | 0/0/0
          | credits_grant('pack', 7, '2026-04-10 00:00Z') | 0/7/0
          | credits_grant('pack', 100, '2026-05-10 00:00Z', payment_ref => 'pack 1') | 0/107/0
          | d = credits_deduct('pack', 37) | 0/70/0
          | h = credits_hold('pack', 20) | 0/50/0 h20
          | t.grants('pack') | 100: 50 + 20 held + 30 spent + 0 revoked
          | credits_revoke_purchase('pack 1', 40) | 0/10/0 h20
          | t.grants('pack') | 100: 10 + 20 held + 30 spent + 40 revoked
          | credits_revoke_purchase('pack 1', 50) | 0/0/0 h20 o40
          | t.grants('pack') | 100: 0 + 20 held + 30 spent + 50 revoked
          | credits_refund('pack', :d, 15) | 0/0/0 h20 o25
          | t.grants('pack') | 100: 0 + 20 held + 15 spent + 65 revoked
          | credits_release('pack', :h) | 0/0/0 o5
          | credits_reinstate_purchase('pack 1') | 0/85/0
          | t.grants('pack') | 100: 85 + 0 held + 15 spent + 0 revoked
$$);
SELECT * FROM t.told;
DROP FUNCTION t.grants(text);
CREATE FUNCTION pg_temp.one_of(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION pg_temp.call(who text, step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    amount int8 := 1 + floor(random() * 60)::int8;
    seq int8 := (SELECT a.history_seq - floor(random() * 5)::int8 FROM credit_account a WHERE a.user_id = who);
    ends timestamptz := current_setting('credits.clock')::timestamptz + random() * interval '40 days';
    plan text := pg_temp.one_of('small', 'large', 'weeks', 'days', NULL);
    ref text := (SELECT payment_ref FROM credit_payment p WHERE p.user_id = who ORDER BY random() LIMIT 1);
BEGIN
    CASE floor(random() * 25)::int
        WHEN 0, 1, 2, 3 THEN PERFORM credits_deduct(who, amount);
        WHEN 4 THEN PERFORM credits_add_purchased(who, amount, who || ' ' || step);
        WHEN 5 THEN PERFORM credits_grant(who, amount, ends);
        WHEN 6 THEN PERFORM credits_grant(who, amount, ends, payment_ref => who || ' ' || step);
        WHEN 7, 8, 9 THEN PERFORM credits_hold(who, amount, random() * interval '30 days');
        WHEN 10, 11 THEN PERFORM credits_capture(who, seq, nullif(amount, 1), over => pg_temp.one_of('owe', 'refuse'));
        WHEN 12, 13 THEN PERFORM credits_release(who, seq);
        WHEN 14, 15 THEN PERFORM credits_refund(who, seq);
        WHEN 16 THEN PERFORM credits_revoke_purchase(ref);
        WHEN 17 THEN PERFORM credits_reinstate_purchase(ref);
        WHEN 18, 19 THEN PERFORM credits_set_plan(who, plan, pg_temp.one_of('now', 'next_reset'));
        WHEN 20 THEN PERFORM credits_set_plan(who, plan, restart => true, keep_anchor => random() < 0.5);
        WHEN 21 THEN PERFORM credits_set_cycle(who, ends::timestamp::text, pg_temp.one_of('UTC', 'Asia/Tokyo', 'America/New_York'));
        WHEN 22 THEN PERFORM credits_adjust(who, pg_temp.one_of('monthly', 'purchased'), amount, 'why');
        WHEN 23 THEN PERFORM credits_set_overdraft(who, amount);
        ELSE
            IF random() < 0.3 THEN
                PERFORM credits_close_account(who);
            ELSE
                PERFORM credits_unfreeze(who);
            END IF;
    END CASE;
    RETURN '00000';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT setseed(0.14);
DO $$
DECLARE
    who text;
    problem text;
    states text[];
    odd text;
BEGIN
    FOR n IN 1 .. 40 LOOP
        who := 'e' || n;
        PERFORM set_config('credits.clock', '2026-01-01 00:00Z', false);
        IF random() < 0.2 THEN
            PERFORM credits_add_purchased(who, 50, who || ' first');
        ELSE
            PERFORM credits_open_account(who, pg_temp.one_of('small', 'large', 'weeks', 'days'));
        END IF;
        FOR step IN 1 .. 50 LOOP
            PERFORM set_config('credits.clock', (current_setting('credits.clock')::timestamptz + random() ^ 3 * interval '20 days')::text, false);
            problem := t.unexplained(who);
            states := states || pg_temp.call(who, step);
            problem := coalesce(problem, t.unexplained(who));
            IF problem IS NOT NULL THEN
                RAISE EXCEPTION '% in step % at %: %', who, step, current_setting('credits.clock'), problem;
            END IF;
        END LOOP;
    END LOOP;
    -- refused for what the account is, never for how the call is made
    SELECT string_agg(DISTINCT s, ' ') INTO odd FROM unnest(states) s WHERE s NOT LIKE 'UC0%' AND s <> ALL ('{00000,22003,22004,22023,55000}');
    IF odd IS NOT NULL THEN
        RAISE EXCEPTION 'calls failed with %', odd;
    END IF;
END $$;
SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) AS kinds FROM credit_history;
SELECT * FROM credits_verify();
-- at later times, with more and more due
SET credits.clock = '2026-12-01 00:00Z';
DO $$
DECLARE
    problem text;
BEGIN
    FOR n IN 1 .. 12 LOOP
        PERFORM set_config('credits.clock', (timestamptz '2026-12-01 00:00Z' + n * interval '8 days 05:00')::text, false);
        SELECT string_agg(user_id || ': ' || t.unexplained(user_id), ', ') INTO problem FROM credit_account;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'at %: %', current_setting('credits.clock'), problem;
        END IF;
    END LOOP;
END $$;
-- after archiving, more and more of it: balances at past times are the same, or an error
SET credits.clock = '2027-04-01 00:00Z';
SELECT count(credits_unfreeze(user_id)) > 0 AS touched FROM credit_account;
SELECT (credits_anchor() -> 'anchor_no')::int AS anchor;
SET credits.clock = '2027-04-02 00:00Z';
SELECT count(credits_unfreeze(user_id)) > 0 AS touched FROM credit_account;
SET credits.key_retention = '1d';
CREATE TEMP TABLE past AS
    SELECT a.user_id, at, (SELECT message FROM t.refused(format('SELECT credits_balance_at(%L, %L)', a.user_id, at)) WHERE sqlstate <> '00000') AS refused
      FROM credit_account a, generate_series(timestamptz '2026-01-01 00:00Z', '2027-04-01 00:00Z', interval '11 days 03:20') at;
ALTER TABLE past ADD balance jsonb;
UPDATE past SET balance = credits_balance_at(user_id, at) WHERE refused IS NULL;
CREATE FUNCTION t.compare() RETURNS TABLE (same int8, errors int8, other int8, unexplained int8) LANGUAGE plpgsql AS $$
DECLARE
    p record;
    b jsonb;
BEGIN
    same := 0; errors := 0; other := 0;
    FOR p IN SELECT * FROM past WHERE refused IS NULL LOOP
        BEGIN
            b := credits_balance_at(p.user_id, p.at);
            IF b = p.balance THEN same := same + 1; ELSE other := other + 1; END IF;
        EXCEPTION WHEN SQLSTATE '22023' THEN
            errors := errors + 1;
        END;
    END LOOP;
    SELECT count(t.unexplained(user_id)) INTO unexplained FROM credit_account;
    RETURN NEXT;
END $$;
SELECT other, unexplained, errors FROM t.compare();
CALL credits_archive('2026-03-15 00:00Z') \gset
SELECT other, unexplained, same > 0 AS some, errors > 0 AS errors FROM t.compare();
CALL credits_archive('2026-08-01 00:00Z') \gset
SELECT other, unexplained, same > 0 AS some, errors > 0 AS errors FROM t.compare();
CALL credits_archive('2027-04-01 00:00Z') \gset
SELECT other, unexplained, errors > 0 AS errors FROM t.compare();
SELECT * FROM credits_verify();
DROP FUNCTION t.unexplained(text), t.compare();
DROP EXTENSION credits;
