-- Totals of reports: if a total does not fit into 64 bits, it is the greatest number that
-- fits, and never a wrong one.  There are 1,100 accounts with 2^53 - 1 credits each.
\set VERBOSITY terse
SET client_min_messages = warning;
SET credits.clock = '2026-01-10 00:00:00+00';
CREATE EXTENSION credits;
SELECT 9007199254740991 AS most, 9223372036854775807 AS total \gset
CREATE TABLE many AS SELECT 'u' || lpad(n::text, 4, '0') AS user_id, 'huge'::text AS plan, :most AS monthly, timestamptz '2026-01-02 00:00:00+00' AS last_reset FROM generate_series(1, 1100) n;
-- The totals in a report, and whether they are what there is room for.
CREATE FUNCTION t.totals(report jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(key || CASE value WHEN '9223372036854775807' THEN ' most' WHEN '-9223372036854775808' THEN ' least' ELSE ' ' || value END, ', ' ORDER BY key)
      FROM jsonb_each_text(report) WHERE value ~ '^-?[0-9]+$' AND value <> '0'
$$;
SELECT credits_define_plan('huge', :most, 'anniversary', :most) -> 'ok' AS huge, credits_define_plan('none', 1) -> 'ok' AS none;

-- Import: what the source has, what was due since, what is here.
CALL credits_import('SELECT * FROM many', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report');
CALL credits_import('SELECT * FROM many', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS again;
CALL credits_undo_run((:'report'::jsonb ->> 'run_id')::uuid, batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS of_a_run_that_did_nothing;
SELECT run_id AS import FROM credit_reset_run WHERE kind = 'import' AND accounts > 0 \gset
SELECT count(*) FROM credits_deduct_many(ARRAY(SELECT user_id FROM many), array_fill(:most::int8, ARRAY[1100]));
CALL credits_undo_run(:'import', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS undone_though_spent;
CALL credits_import('SELECT ''d'' || user_id AS user_id, plan, 0::int8 AS monthly, timestamptz ''2025-12-02'' AS last_reset FROM many', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS granted_since;
CALL credits_import('SELECT ''e'' || user_id AS user_id, ''none'' AS plan, monthly, timestamptz ''2025-12-02'' AS last_reset FROM many', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS expired_since;

-- A plan's new version, and its undoing.
SELECT count(credits_open_account('v' || n, 'none')) FROM generate_series(1, 1100) n;
SET credits.clock = '2026-01-11 00:00:00+00';
SELECT credits_define_plan('none', :most) -> 'ok' AS raised;
SET credits.clock = '2026-01-11 01:00:00+00';
CALL credits_apply_plan('none', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report');
SET credits.clock = '2026-01-12 00:00:00+00';
SELECT credits_define_plan('none', 1) -> 'ok' AS lowered;
SET credits.clock = '2026-01-12 01:00:00+00';
CALL credits_apply_plan('none', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report');
CALL credits_undo_run((:'report'::jsonb ->> 'run_id')::uuid, batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS undone;
SET credits.clock = '2026-02-03 00:00:00+00';
CALL credits_run_reset(report => NULL) \gset
SELECT t.totals(:'report') AS reset;
SELECT array_agg('v' || n) AS users, array_fill((:most - 1)::int8, ARRAY[1100]) AS amounts FROM generate_series(1, 1100) n \gset
CALL credits_grant_many(:'users', :'amounts', '2026-03-01', batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS granted;
CALL credits_undo_run((:'report'::jsonb ->> 'run_id')::uuid, batch_size => 2000, report => NULL) \gset
SELECT t.totals(:'report') AS undone;

-- One account that turned over as much.
SELECT credits_open_account('one') -> 'ok' AS opened;
DO $$
BEGIN
    FOR n IN 1 .. 1100 LOOP
        PERFORM credits_add_purchased('one', 9007199254740991, 'p' || n), credits_deduct('one', 9007199254740991);
    END LOOP;
END $$;
SELECT credits_explain('one') #> '{purchased}' AS purchased;
SELECT spent, purchased, purchased_spent, monthly_spent, operations FROM credit_usage_daily WHERE user_id = 'one';
SELECT * FROM credits_verify();
DROP TABLE many;
DROP FUNCTION t.totals(jsonb);
DROP EXTENSION credits;
