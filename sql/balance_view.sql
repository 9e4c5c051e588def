-- The view credit_balance: what credits_balance() says of every account, from
-- the account's columns where nothing is due, and by the function elsewhere.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';

-- Random accounts of every kind.  Calls that are refused do not matter.
SELECT credits_define_plan('free', 10, low_balance_threshold => 20) ->> 'version' AS version,
       credits_define_plan('carry', 100, 'anniversary', 30, 50) ->> 'version' AS version,
       credits_define_plan('nothing', 0) ->> 'version' AS version;
SELECT setseed(0.12);
CREATE FUNCTION pg_temp.one_of(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION pg_temp.call(who text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    amount int8 := 1 + floor(random() * 60)::int8;
    seq int8 := (SELECT a.history_seq - floor(random() * 4)::int8 FROM credit_account a WHERE a.user_id = who);
    ends timestamptz := current_setting('credits.clock')::timestamptz + random() * interval '50 days';
    plan text := pg_temp.one_of('free', 'carry', 'nothing', NULL);
BEGIN
    CASE floor(random() * 18)::int
        WHEN 0, 1, 2 THEN PERFORM credits_deduct(who, amount);
        WHEN 3 THEN PERFORM credits_add_purchased(who, amount, who || ' ' || ends);
        WHEN 4, 5 THEN PERFORM credits_grant(who, amount, ends);
        WHEN 6, 7, 8 THEN PERFORM credits_hold(who, amount, random() * interval '30 days');
        WHEN 9 THEN PERFORM credits_capture(who, seq, amount);
        WHEN 10 THEN PERFORM credits_release(who, seq);
        WHEN 11 THEN PERFORM credits_refund(who, seq);
        WHEN 12 THEN PERFORM credits_revoke_purchase((SELECT payment_ref FROM credit_payment p WHERE p.user_id = who LIMIT 1));
        WHEN 13 THEN PERFORM credits_set_overdraft(who, amount);
        WHEN 14 THEN PERFORM credits_set_plan(who, plan, pg_temp.one_of('now', 'next_reset'));
        WHEN 15 THEN PERFORM credits_set_cycle(who, NULL, pg_temp.one_of('UTC', 'Asia/Tokyo', 'America/New_York'));
        WHEN 16 THEN PERFORM credits_adjust(who, pg_temp.one_of('monthly', 'purchased'), amount, 'why');
        ELSE
            CASE floor(random() * 4)::int
                WHEN 0 THEN PERFORM credits_freeze(who);
                WHEN 1 THEN PERFORM credits_close_account(who);
                ELSE PERFORM credits_unfreeze(who);
            END CASE;
    END CASE;
    RETURN '00000';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
DO $$
DECLARE
    states text[];
    odd text;
BEGIN
    FOR n IN 1 .. 300 LOOP
        PERFORM set_config('credits.clock', (timestamptz '2026-01-10 00:00:00+00' + random() * interval '9 days')::text, false);
        IF random() < 0.1 THEN
            PERFORM credits_add_purchased('u' || n, 5, 'first ' || n);
        ELSE
            PERFORM credits_open_account('u' || n, pg_temp.one_of('free', 'carry', 'nothing', NULL), NULL, pg_temp.one_of('UTC', 'Asia/Tokyo', 'America/New_York'));
        END IF;
        FOR m IN 1 .. floor(random() * 12)::int LOOP
            PERFORM set_config('credits.clock', (current_setting('credits.clock')::timestamptz + random() * random() * interval '12 days')::text, false);
            states := states || pg_temp.call('u' || n);
        END LOOP;
    END LOOP;
    -- refused for what the account is, never for how the call is made
    SELECT string_agg(DISTINCT s, ' ') INTO odd FROM unnest(states) s
     WHERE s NOT LIKE 'UC0%' AND s <> ALL ('{00000,22003,22004,22023,55000}');
    IF odd IS NOT NULL THEN
        RAISE EXCEPTION 'calls failed with %', odd;
    END IF;
END $$;
SET credits.clock = '2026-01-20 00:00:00+00';
SELECT bool_or(status = 'frozen') AND bool_or(status = 'closed') AND bool_or(plan IS NULL) AND bool_or(owed_purchased > 0) AND bool_or(scheduled_plan IS NOT NULL)
       AND bool_or(held_monthly > 0) AND bool_or(held_granted > 0) AND bool_or(held_purchased > 0) AND bool_or(granted > 0) AND bool_or(next_reset_at IS NULL) AS of_every_kind
  FROM credit_account;

-- Usage of these accounts: the rows did what the account has, spending is what
-- credit_usage_daily says, and all users together are their sum.
SELECT count(*) AS accounts, count(*) FILTER (WHERE u.delta <> a.monthly + a.granted + a.purchased OR u.history_rows <> a.history_seq) AS differ
  FROM credit_account a CROSS JOIN LATERAL credits_usage(a.user_id, 'all', '2026-01-01 00:00Z') u;
SELECT count(*) > 100 AS some, bool_and((u.operations, u.spent, u.monthly_spent, u.granted_spent, u.purchased_spent, u.refunded, u.purchased, u.granted)
           = (d.operations, d.spent, d.monthly_spent, d.granted_spent, d.purchased_spent, d.refunded, d.purchased, d.granted)) AS same
  FROM (SELECT user_id, sum(operations) AS operations, sum(spent) AS spent, sum(monthly_spent) AS monthly_spent, sum(granted_spent) AS granted_spent,
               sum(purchased_spent) AS purchased_spent, sum(refunded) AS refunded, sum(purchased) AS purchased, sum(granted) AS granted FROM credit_usage_daily GROUP BY 1) d
       CROSS JOIN LATERAL credits_usage(d.user_id, 'all', '2026-01-01 00:00Z') u;
SELECT count(*) AS kinds, count(*) FILTER (WHERE (t.history_rows, t.operations, t.spent, t.monthly_spent, t.granted_spent, t.refunded, t.purchased, t.granted, t.delta)
           IS DISTINCT FROM (u.history_rows, u.operations, u.spent, u.monthly_spent, u.granted_spent, u.refunded, u.purchased, u.granted, u.delta)) AS differ
  FROM credits_total_usage('kind', '2026-01-01 00:00Z') t
       FULL JOIN (SELECT u.name, sum(history_rows) AS history_rows, sum(operations) AS operations, sum(spent) AS spent, sum(monthly_spent) AS monthly_spent, sum(granted_spent) AS granted_spent,
                         sum(refunded) AS refunded, sum(u.purchased) AS purchased, sum(u.granted) AS granted, sum(delta) AS delta
                    FROM credit_account a CROSS JOIN LATERAL credits_usage(a.user_id, 'kind', '2026-01-01 00:00Z') u GROUP BY 1) u USING (name);

-- No account has something due before what it has come to: so where next_event_at
-- is not yet, the columns are what there is, also for a clock that went back.
SELECT count(*) AS accounts FROM credit_account WHERE next_event_at <= effective_at;

-- The view is credits_balance(), for all accounts, at any time: between the
-- calls, just at and before what is due next of some, and long after.
CREATE FUNCTION pg_temp.differing(OUT accounts int8, OUT differ int8, OUT due bool) LANGUAGE sql AS $$
    SELECT count(*), count(*) FILTER (WHERE (b.monthly, b.granted, b.purchased, b.available, b.held, b.owed, b.plan, b.status, b.period_start, b.next_reset_at, b.low, b.seq, b.owed_monthly, b.as_of, b.valid_until)
               IS DISTINCT FROM ((c.r ->> 'monthly')::int8, (c.r ->> 'granted')::int8, (c.r ->> 'purchased')::int8, (c.r ->> 'available')::int8, (c.r ->> 'held')::int8, (c.r ->> 'owed')::int8,
                   c.r ->> 'plan', c.r ->> 'status', (c.r ->> 'period_start')::timestamptz, (c.r ->> 'next_reset_at')::timestamptz, (c.r ->> 'low')::bool, (c.r ->> 'seq')::int8,
                   (c.r ->> 'owed_monthly')::int8, (c.r ->> 'as_of')::timestamptz, (c.r ->> 'valid_until')::timestamptz)
               OR b.plan_version IS DISTINCT FROM (SELECT s.plan_version FROM credits_account_state(a) s)),
           bool_or(a.next_event_at <= credits_now())
      FROM credit_account a CROSS JOIN LATERAL (SELECT credits_balance(a.user_id)) c(r)
           LEFT JOIN credit_balance b ON b.user_id = a.user_id
$$;
CREATE TABLE t.moments AS
    SELECT timestamptz '2026-01-10 00:00:00+00' + n * interval '4 days' AS at FROM generate_series(0, 40) n
    UNION (SELECT next_event_at - n * interval '1 microsecond' FROM credit_account, generate_series(0, 1) n WHERE next_event_at IS NOT NULL ORDER BY user_id LIMIT 60);
DO $$
DECLARE
    moment timestamptz;
    found record;
    some_due int := 0;
    none_due int := 0;
BEGIN
    FOR moment IN SELECT at FROM t.moments ORDER BY at LOOP
        PERFORM set_config('credits.clock', moment::text, false);
        found := pg_temp.differing();
        IF found.accounts <> 300 OR found.differ <> 0 THEN
            RAISE EXCEPTION 'at %: % of % accounts differ', moment, found.differ, found.accounts;
        END IF;
        some_due := some_due + found.due::int;
        none_due := none_due + (NOT found.due)::int;
    END LOOP;
    IF some_due < 20 OR none_due < 1 THEN
        RAISE EXCEPTION '% moments with something due, % without', some_due, none_due;
    END IF;
END $$;
DROP TABLE t.moments;
SELECT * FROM credits_verify();

-- How much work it is: nothing is due, then something in three of 2000.
DROP EXTENSION credits;
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('steady', 10) ->> 'version' AS version;
SELECT count(credits_open_account('v' || n, 'steady')) AS opened FROM generate_series(1, 2000) n;
SET credits.clock = '2025-12-01 00:00:00+00';
ANALYZE credit_account;
-- nodes of a plan: what is read and how, and how often the function is called
CREATE FUNCTION pg_temp.work(query text) RETURNS TABLE (node text, "of" text, cond text, calls int8) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON) ' || query INTO plan;
    RETURN QUERY
        WITH RECURSIVE tree(n) AS (
            SELECT plan -> 0 -> 'Plan'
            UNION ALL
            SELECT c FROM tree, json_array_elements(n -> 'Plans') c)
        SELECT n ->> 'Node Type', coalesce(n ->> 'Index Name', n ->> 'Relation Name', n ->> 'Function Name'), n ->> 'Index Cond',
               CASE WHEN n ->> 'Node Type' = 'Function Scan' THEN (n ->> 'Actual Loops')::int8 END
          FROM tree WHERE n ->> 'Node Type' ~ 'Scan' ORDER BY 2, 1, 3;
END $$;
SET enable_bitmapscan = off;
SET max_parallel_workers_per_gather = 0;
SELECT node, "of", cond, calls FROM pg_temp.work('SELECT sum(available) FROM credit_balance');
SELECT sum(calls) AS calls FROM pg_temp.work('SELECT * FROM credit_balance WHERE monthly > 5');
SET credits.clock = '2026-01-20 00:00:00+00';
SELECT credits_hold('v' || n, 1, '1 minute') ->> 'ok' AS ok FROM generate_series(1, 3) n;
SET credits.clock = '2026-01-20 00:00:59+00';
SELECT sum(calls) AS calls FROM pg_temp.work($$SELECT sum(available) FROM credit_balance$$);
SET credits.clock = '2026-01-20 00:01:00+00';
SELECT sum(calls) AS calls FROM pg_temp.work($$SELECT sum(available) FROM credit_balance$$);
-- one user, whoever a join finds, and the first of an order: by index, all of it
SELECT node, "of", cond, calls FROM pg_temp.work($$SELECT * FROM credit_balance WHERE user_id = 'v7'$$) WHERE cond ~ 'v7' AND cond !~ 'COLLATE' OR calls IS NOT NULL;
SELECT DISTINCT node FROM pg_temp.work($$SELECT * FROM credit_balance WHERE user_id = 'v7'$$) WHERE "of" ~ '^credit_account';
SELECT DISTINCT node FROM pg_temp.work($$SELECT * FROM (VALUES ('v1'), ('v7')) x(id) LEFT JOIN credit_balance b ON b.user_id = x.id$$) WHERE "of" ~ '^credit_account';
SET enable_bitmapscan = on;
SELECT DISTINCT node FROM pg_temp.work($$SELECT * FROM credit_balance ORDER BY user_id LIMIT 3$$) WHERE "of" ~ '^credit_account';
-- who is low, by the indexes on flags and next_event_at
SELECT DISTINCT "of" FROM pg_temp.work('SELECT * FROM credit_balance WHERE low') WHERE "of" ~ '^credit_account_(flags|next)' OR node = 'Seq Scan' ORDER BY 1;
-- an account's row has its plan's threshold, so plans are not looked at
SELECT count(*) FILTER (WHERE "of" LIKE 'credit_plan%') AS of_plans FROM pg_temp.work('SELECT * FROM credit_balance');

-- What planners are told.
SELECT proname, procost, provolatile, proparallel FROM pg_proc
 WHERE proname IN ('credits_account_state', 'credits_now', 'credits_balance') AND pronamespace = 'public'::regnamespace ORDER BY proname;
-- The time is that of the statement, as for every read.
SELECT credits_now();
RESET credits.clock;
SELECT credits_now() = statement_timestamp() AS now;
DROP EXTENSION credits;
