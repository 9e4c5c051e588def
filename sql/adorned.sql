-- What apps and DBAs put on tables, all of it on every table of the extension
-- (t.adorn), and then every kind of call, batches of many accounts among them.
-- test/memory/adorned.sh has all regression tests run like this.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_credits_app;
CREATE PROCEDURE t.every_kind_of_call() LANGUAGE plpgsql AS $$
DECLARE
    users text[] := ARRAY(SELECT 'u' || lpad(n::text, 2, '0') FROM generate_series(1, 20) n);
    u text;
    r jsonb;
    run uuid;
BEGIN
    PERFORM set_config('credits.clock', '2025-06-10 00:00:00+00', false), set_config('credits.key_retention', '0', false);
    PERFORM credits_define_plan('pro', 100, 'anniversary', 30), credits_define_plan('team', 200);
    FOREACH u IN ARRAY users LOOP
        PERFORM credits_open_account(u, 'pro'), credits_grant(u, 50, '2025-06-20 00:00:00+00', 'promo'), credits_grant(u, 10, '2025-06-18 00:00:00+00'),
                credits_add_purchased(u, 50, 'pay_' || u, 'pack', 'k_' || u, '{"a": [1, 2]}'), credits_hold(u, 130, '1 day', 'job'), credits_hold(u, 2, '2 days');
    END LOOP;
    -- Many accounts in one call, and grants and holds of each.
    PERFORM credits_deduct_many(users || users, array_fill(12::int8, ARRAY[40]), array_fill('r'::text, ARRAY[40]),
        ARRAY(SELECT 'b' || i FROM generate_series(1, 40) i), array_fill('{"b": 1}'::jsonb, ARRAY[40]), true);
    PERFORM set_config('credits.clock', '2025-06-11 12:00:00+00', false);
    PERFORM credits_reset_due();
    PERFORM credits_deduct_many(users, array_fill(120::int8, ARRAY[20]));
    -- One account.
    FOREACH u IN ARRAY users LOOP
        r := credits_deduct(u, 5, 'image', 'd_' || u, '{"c": "x"}', 'spender');
        PERFORM credits_refund(u, (r ->> 'seq')::int8, 3), credits_deduct(u, 1), credits_try_deduct(u, 100000),
                credits_adjust(u, 'purchased', 7, 'correction'), credits_adjust(u, 'granted', -1, 'correction');
        r := credits_hold(u, 4);
        PERFORM credits_capture(u, (r ->> 'seq')::int8, 2);
        r := credits_hold(u, 4);
        PERFORM credits_release(u, (r ->> 'seq')::int8), credits_revoke_purchase('pay_' || u, 9),
                credits_set_overdraft(u, 20), credits_set_cycle(u, '2025-01-03', 'Europe/Berlin'), credits_freeze(u, 'why'), credits_unfreeze(u, 'that'),
                credits_set_plan(u, 'team'), credits_set_plan(u, 'pro', 'next_reset');
    END LOOP;
    -- Runs.
    PERFORM set_config('credits.clock', '2025-06-12 00:00:00+00', false);
    PERFORM credits_define_plan('team', 300);
    COMMIT;
    CALL credits_apply_plan('team', report => r);
    CALL credits_grant_many(users, array_fill(10::int8, ARRAY[20]), '2025-06-15 00:00:00+00', 'gift', 'g1', report => r);
    run := r ->> 'run_id';
    CALL credits_undo_run(run, report => r);
    CALL credits_import('SELECT ''i'' || n AS user_id, ''pro'' AS plan, 10::int8 AS monthly, 5::int8 AS purchased FROM generate_series(1, 20) n',
        'SELECT ''i'' || n AS user_id, timestamptz ''2025-01-01'' AS created_at, n AS id, (-1)::int8 AS amount FROM generate_series(1, 20) n', report => r);
    PERFORM set_config('credits.clock', '2025-09-01 00:00:00+00', false);
    CALL credits_run_reset(report => r);
    PERFORM credits_transfer('u01', 'u02', 1), credits_close_account('u03', 'left');
    -- Administration, proof, and what becomes of old rows.
    PERFORM credits_grant_role('regress_credits_app', 'app'), credits_revoke_role('regress_credits_app', 'app');
    PERFORM credits_anchor();
    PERFORM set_config('credits.clock', '2026-02-01 00:00:00+00', false);
    PERFORM credits_deduct_many(users[4:], array_fill(1::int8, ARRAY[17]));
    COMMIT;
    CALL credits_archive('2026-01-01', report => r);
    PERFORM credits_erase_user('u05'), credits_erase_user('u06', 'asked');
    PERFORM set_config('credits.clock', '2026-01-20 00:00:00+00', false);
    PERFORM credits_repair_clock('u04');
    PERFORM credits_deduct_many(users[4:], array_fill(1::int8, ARRAY[17]));
    PERFORM credits_anchor();
END $$;

-- What came of it: the history and the accounts, and rows that lack what every
-- row must have.
CREATE FUNCTION t.outcome(OUT findings int8, OUT tables int8, OUT history text, OUT accounts text, OUT rows_without int8) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    got int8[];
BEGIN
    SELECT count(*) INTO findings FROM credits_verify();
    SELECT md5(string_agg(h::text, '' ORDER BY h.user_id, h.seq)), sum(1) INTO history FROM
        (SELECT user_id, seq, kind, amount, monthly, granted, purchased, held_granted, held_purchased, owed_purchased, ref_seq, effective_at FROM credit_history
         UNION ALL
         SELECT user_id, seq, kind, amount, monthly, granted, purchased, held_granted, held_purchased, owed_purchased, ref_seq, effective_at FROM credit_history_archive) h;
    SELECT md5(string_agg(a::text, '' ORDER BY a.user_id)) INTO accounts FROM
        (SELECT user_id, history_seq, monthly, granted, purchased, owed_purchased, next_event_at FROM credit_account) a;
    tables := 0; rows_without := 0;
    FOR r IN SELECT c.oid::regclass AS name, concat_ws(' AND ', 'true', CASE WHEN 'dba_filled' = ANY (columns) THEN
                    'dba_filled = 7 AND dba_default LIKE ''MADE BY%'' AND dba_generated = upper(dba_generated)' END,
                    CASE WHEN 'dba_parent' = ANY (columns) THEN 'dba_parent = 1' END) AS want
               FROM pg_class c, LATERAL (SELECT array_agg(attname) AS columns FROM pg_attribute WHERE attrelid = c.oid) a
              WHERE c.relname ~ '^credit_' AND c.relkind IN ('r', 'p') AND NOT c.relispartition LOOP
        EXECUTE format('SELECT ARRAY[count(*), count(*) FILTER (WHERE (%s) IS NOT TRUE)] FROM %s', r.want, r.name) INTO got;
        tables := tables + least(got[1], 1);
        rows_without := rows_without + got[2];
    END LOOP;
END $$;

CREATE EXTENSION credits;
CALL t.every_kind_of_call();
CREATE TABLE t.plain AS SELECT * FROM t.outcome();
SELECT findings, tables FROM t.plain;
DROP EXTENSION credits;
CREATE FUNCTION t.as_plain(OUT findings int8, OUT tables int8, OUT same_history bool, OUT same_accounts bool, OUT rows_without int8) LANGUAGE sql AS $$
    SELECT o.findings, o.tables, o.history = p.history, o.accounts = p.accounts, o.rows_without FROM t.outcome() o, t.plain p
$$;

CREATE EXTENSION credits;
SELECT t.adorn('credits', '{indexes}');
CALL t.every_kind_of_call();
SELECT * FROM t.as_plain();
CALL t.unadorn();
DROP EXTENSION credits;

CREATE EXTENSION credits;
SELECT t.adorn('credits', '{keys}');
CALL t.every_kind_of_call();
SELECT * FROM t.as_plain();
CALL t.unadorn();
DROP EXTENSION credits;

CREATE EXTENSION credits;
SELECT t.adorn('credits', '{triggers,deferred}');
CALL t.every_kind_of_call();
SELECT * FROM t.as_plain();
SELECT string_agg(DISTINCT what, ' ') AS fired FROM t.fired WHERE what NOT LIKE '%archive_%';
TRUNCATE t.fired;
CALL t.unadorn();
DROP EXTENSION credits;

CREATE EXTENSION credits;
SELECT t.adorn('credits', '{columns,checks,code}');
CALL t.every_kind_of_call();
SELECT * FROM t.as_plain();
CALL t.unadorn();
DROP EXTENSION credits;

CREATE EXTENSION credits;
SELECT t.adorn('credits', '{indexes,columns,checks,code,triggers,deferred,keys}');
CALL t.every_kind_of_call();
SELECT * FROM t.as_plain();
SELECT string_agg(DISTINCT what, ' ') AS fired FROM t.fired WHERE what NOT LIKE '%archive_%';
TRUNCATE t.fired;
CALL t.unadorn();
DROP EXTENSION credits;

DROP TABLE t.plain;
DROP FUNCTION t.as_plain(), t.outcome();
DROP PROCEDURE t.every_kind_of_call();
DROP ROLE regress_credits_app;
