-- Verification of many accounts: in one process and in several, in one reading
-- of the history and in several, in whatever order the rows are.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
-- every fourth one is in UTC, so its reset is due first
SELECT count(credits_open_account(format('u%s', to_char(n, 'FM0000')), 'free', NULL, CASE WHEN n % 4 = 0 THEN 'UTC' ELSE 'America/New_York' END)) AS opened
  FROM generate_series(1, 4000) n;
DO $$
BEGIN
    FOR i IN 1..3 LOOP
        PERFORM count(*) FROM credits_deduct_many((SELECT array_agg(user_id) FROM credit_account), (SELECT array_agg(i) FROM credit_account));
    END LOOP;
END $$;
SELECT count(credits_add_purchased(format('u%s', to_char(n, 'FM0000')), 50, 'pay_' || n)) AS bought FROM generate_series(1, 4000, 10) n;
SELECT count(credits_deduct(format('u%s', to_char(n, 'FM0000')), 1, 'a reason', 'key', '{"a": 1}')) AS deducted FROM generate_series(1, 4000, 7) n;
SET credits.clock = '2026-02-01 00:00Z';
SELECT credits_reset_due() -> 'accounts' AS accounts;
SELECT count(*) AS rows FROM credit_history;

CREATE FUNCTION t.guards(state text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tab text;
BEGIN
    FOREACH tab IN ARRAY ARRAY['credit_account', 'credit_history', 'credit_payment'] LOOP
        EXECUTE format('ALTER TABLE %I %s TRIGGER credits_guard', tab, state);
    END LOOP;
END $$;
CREATE FUNCTION t.problems(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT string_agg(concat_ws('' | '', object, bad_user_id, bad_seq, problem), E''\n'') FROM (%s) x', query) INTO result;
    RETURN coalesce(result, 'clean');
END $$;

-- What is found of a change that is then undone, in several ways: in several
-- processes, each reading the history several times because its memory is too
-- small; in one process, in one reading; and account by account.
CREATE FUNCTION t.tampered(change text, OUT same bool, OUT result text) LANGUAGE plpgsql AS $$
DECLARE
    alone text;
    singly text;
BEGIN
    PERFORM t.guards('DISABLE');
    ALTER TABLE credit_history DROP CONSTRAINT credit_history_row;
    EXECUTE change;
    PERFORM t.guards('ENABLE ALWAYS');
    SET LOCAL min_parallel_table_scan_size = 0;
    SET LOCAL maintenance_work_mem = '1MB';
    result := t.problems('SELECT * FROM credits_verify()');
    RESET maintenance_work_mem;
    SET LOCAL max_parallel_workers = 0;
    alone := t.problems('SELECT * FROM credits_verify()');
    singly := t.problems('SELECT * FROM credits_verify_structure() UNION ALL
        (SELECT v.* FROM credit_account a, LATERAL credits_verify_account(a.user_id) v
          WHERE a.user_id < ''u0020'' OR a.user_id ~ ''(000|999|777|v)$'' ORDER BY a.user_id)');
    same := alone = result AND singly = result;
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN SQLSTATE 'TT000' THEN
    NULL;
END $$;

-- Each kind of tampering, among thousands of good accounts.
SELECT c.change, r.*
  FROM unnest(ARRAY[
    $$SELECT 'nothing'$$,
    $$UPDATE credit_history SET hash = sha256('x') WHERE user_id = 'u0005' AND seq = 2$$,
    $$UPDATE credit_history SET hash = sha256('x') WHERE user_id = 'u0005' AND seq = 4$$,
    $$UPDATE credit_history SET amount = amount + 1 WHERE user_id = 'u0005' AND seq = 2$$,
    $$UPDATE credit_history SET reason = 'another' WHERE user_id = 'u0008' AND seq = 5$$,
    $$UPDATE credit_history SET kind = 'nonsense' WHERE user_id = 'u0005' AND seq = 2$$,
    $$UPDATE credit_history SET allocations = '{42}' WHERE user_id = 'u0005' AND seq = 2$$,
    $$DELETE FROM credit_history WHERE user_id = 'u0005' AND seq = 1$$,
    $$DELETE FROM credit_history WHERE user_id = 'u0005' AND seq = 3$$,
    $$DELETE FROM credit_history WHERE user_id = 'u0005' AND seq = 4$$,
    $$DELETE FROM credit_history WHERE user_id = 'u0005'$$,
    $$UPDATE credit_history SET seq = 99 WHERE user_id = 'u0005' AND seq = 2; UPDATE credit_history SET seq = 2 WHERE user_id = 'u0005' AND seq = 3; UPDATE credit_history SET seq = 3 WHERE user_id = 'u0005' AND seq = 99$$,
    $$UPDATE credit_history SET user_id = CASE user_id WHEN 'u0005' THEN 'u0006' ELSE 'u0005' END, seq = seq + 100 WHERE user_id IN ('u0005', 'u0006') AND seq = 2; UPDATE credit_history SET seq = 2 WHERE seq = 102$$,
    $$INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"seq": 5}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 4$$,
    $$INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"seq": 1000000}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 4$$,
    $$INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"seq": 0}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 4$$,
    $$UPDATE credit_account SET monthly = monthly + 1 WHERE user_id = 'u0005'$$,
    $$UPDATE credit_account SET history_hash = sha256('x') WHERE user_id = 'u0005'$$,
    $$UPDATE credit_account SET history_seq = history_seq - 1 WHERE user_id = 'u0005'$$,
    $$DELETE FROM credit_history WHERE user_id = 'u0005' AND seq = 4; UPDATE credit_account a SET history_seq = 3, history_hash = h.hash FROM credit_history h WHERE a.user_id = 'u0005' AND h.user_id = 'u0005' AND h.seq = 3$$,
    $$DELETE FROM credit_account WHERE user_id = 'u0005'$$,
    $$DELETE FROM credit_account WHERE user_id = 'u4000'$$,
    $$UPDATE credit_account SET user_id = 'v' WHERE user_id = 'u0005'$$,
    $$DELETE FROM credit_payment WHERE payment_ref = 'pay_11'$$,
    $$UPDATE credit_payment SET amount = 51 WHERE payment_ref = 'pay_11'$$,
    $$UPDATE credit_payment SET user_id = 'u0012' WHERE payment_ref = 'pay_11'$$,
    $$UPDATE credit_payment SET payment_ref = 'pay_x' WHERE payment_ref = 'pay_11'$$,
    $$INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'u0011')$$,
    $$INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'nobody')$$,
    $$INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'nobody'); DELETE FROM credit_payment WHERE payment_ref = 'pay_11'$$,
    $$UPDATE credit_account SET granted = 1 WHERE user_id IN ('u3999', 'u0001', 'u2000', 'u1000', 'u3000')$$,
    $$ALTER TABLE credit_account DISABLE TRIGGER ALL; UPDATE credit_history SET hash = sha256(hash) WHERE seq = 3 AND user_id < 'u0008'$$
  ]) WITH ORDINALITY AS c(change, n), t.tampered(c.change) r ORDER BY n;

-- The order of the rows in the table says nothing: last ones first, any order,
-- each account together, one account's first row behind all others.
SELECT c.change, r.*
  FROM unnest(ARRAY[
    $$CREATE TEMP TABLE c AS SELECT * FROM credit_history; DELETE FROM credit_history; INSERT INTO credit_history SELECT * FROM c ORDER BY seq DESC$$,
    $$CREATE TEMP TABLE c AS SELECT * FROM credit_history; DELETE FROM credit_history; INSERT INTO credit_history SELECT * FROM c ORDER BY md5(user_id || seq)$$,
    $$CREATE TEMP TABLE c AS SELECT * FROM credit_history; DELETE FROM credit_history; INSERT INTO credit_history SELECT * FROM c ORDER BY user_id, seq$$,
    $$CREATE TEMP TABLE c AS SELECT * FROM credit_history; DELETE FROM credit_history; INSERT INTO credit_history SELECT * FROM c ORDER BY md5(user_id || seq); UPDATE credit_history SET purchased = 1 WHERE user_id = 'u0777' AND seq = 3$$,
    $$UPDATE credit_history SET seq = seq WHERE user_id < 'u0100' AND seq = 1$$,
    $$UPDATE credit_history SET seq = seq WHERE user_id < 'u0100' AND seq IN (1, 3)$$
  ]) WITH ORDINALITY AS c(change, n), t.tampered(c.change) r ORDER BY n;
BEGIN;
CLUSTER credit_history USING credit_history_pkey;
CLUSTER credit_account USING credit_account_pkey;
SELECT * FROM credits_verify();
ROLLBACK;

-- In slices, it is the same; whatever their size is.
CALL credits_run_verify(slice_size => 999) \gset
SELECT :'report'::jsonb - 'rows' AS report, (:'report'::jsonb ->> 'rows')::int8 = (SELECT count(*) FROM credit_history) AS all_rows;
CALL credits_run_verify(slice_size => 4000);
SELECT t.guards('DISABLE');
UPDATE credit_history SET hash = sha256('x') WHERE user_id IN ('u0005', 'u3333') AND seq = 2;
INSERT INTO credit_payment VALUES (50, 0, 5, '2026-01-10 00:00Z', false, 'pay_x', 'nobody');
INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"user_id": "aaa"}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 3;
INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"user_id": "u0005a"}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 3;
INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"user_id": "zzz"}')).* FROM credit_history h WHERE user_id = 'u0005' AND seq = 3;
SELECT t.guards('ENABLE ALWAYS');
SELECT * FROM credits_verify();
SET client_min_messages = error;
CALL credits_run_verify(slice_size => 999) \gset
SELECT p.* FROM jsonb_to_recordset(:'report'::jsonb -> 'problems') p(object text, bad_user_id text, bad_seq int8, problem text);
SET min_parallel_table_scan_size = 0;
CALL credits_run_verify(slice_size => 3000) \gset
SELECT p.* FROM jsonb_to_recordset(:'report'::jsonb -> 'problems') p(object text, bad_user_id text, bad_seq int8, problem text);
RESET min_parallel_table_scan_size;
SET client_min_messages = warning;
CALL credits_run_verify(1, 100000) \gset

-- A sample is exact for whom it has; others are not looked at.
SET client_min_messages = error;
CALL credits_run_verify(sample => 0.1) \gset
SELECT (:'report'::jsonb ->> 'accounts')::int8 BETWEEN 200 AND 800 AS about_a_tenth;
SET client_min_messages = warning;
SELECT sqlstate, message FROM t.refused($$CALL credits_run_verify(0)$$);
SELECT sqlstate, message FROM t.refused($$CALL credits_run_verify(1.5)$$);
SELECT sqlstate, message FROM t.refused($$CALL credits_run_verify('NaN')$$);
SELECT sqlstate, message FROM t.refused($$CALL credits_run_verify(slice_size => 0)$$);
BEGIN;
CALL credits_run_verify();
ROLLBACK;
DROP FUNCTION t.tampered(text);
DROP FUNCTION t.problems(text);
DROP FUNCTION t.guards(text);
DROP EXTENSION credits;
