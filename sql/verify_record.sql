-- Verifications are recorded in credit_reset_run, wherever the transaction may
-- write: when, by whom, of how much, and what was found.
SET client_min_messages = error;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) AS opened FROM generate_series(1, 20) n;
SELECT count(credits_deduct('u' || n, 1)) AS deducted FROM generate_series(1, 10) n;
CREATE ROLE regress_credits_auditor;
SELECT credits_grant_role('regress_credits_auditor', 'auditor') ->> 'ok' AS ok;
-- what the newest has, and how many there are
CREATE FUNCTION t.newest(OUT runs int8, OUT kind text, OUT state text, OUT accounts int8, OUT history_rows int8, OUT sample float8, OUT failures int8, OUT failed jsonb, OUT actor text, OUT at text) LANGUAGE sql AS $$
    SELECT count(*) OVER (), r.kind, r.state, r.accounts, r.history_rows, r.sample, r.failures, r.failed, nullif(r.actor, current_user), concat_ws(' ', to_char(r.started_at, 'DD'), to_char(r.finished_at, 'DD'))
      FROM credit_reset_run r ORDER BY r.started_at DESC LIMIT 1
$$;

SELECT count(*) AS bad FROM credits_verify();
SELECT * FROM t.newest();
-- an auditor may not write there himself
SET credits.clock = '2026-01-11 00:00:00+00';
SET ROLE regress_credits_auditor;
SELECT count(*) AS bad FROM credits_verify();
SELECT t.sqlstate($$INSERT INTO credit_reset_run SELECT * FROM credit_reset_run$$);
RESET ROLE;
SELECT * FROM t.newest();
SET credits.clock = '2026-01-12 00:00:00+00';
CALL credits_run_verify(slice_size => 3);
SELECT * FROM t.newest();
SET credits.clock = '2026-01-13 00:00:00+00';
CALL credits_run_verify(0.25) \gset
SELECT runs, kind, state, accounts = (:'report'::jsonb ->> 'accounts')::int8 AS accounts, history_rows = (:'report'::jsonb ->> 'rows')::int8 AS rows, sample, failures, at FROM t.newest();

-- What is found.
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET amount = 2 WHERE user_id = 'u3' AND seq = 2;
SET credits.clock = '2026-01-14 00:00:00+00';
SELECT * FROM credits_verify();
SELECT * FROM t.newest();
SET credits.clock = '2026-01-15 00:00:00+00';
CALL credits_run_verify();
SELECT * FROM t.newest();
UPDATE credit_history SET amount = 1 WHERE user_id = 'u3' AND seq = 2;
SELECT credits_repair_guards() ->> 'repaired' AS repaired;
-- the last that found nothing, of everything
SELECT max(finished_at) AS last_clean FROM credit_reset_run
 WHERE kind = 'verify' AND state = 'finished' AND sample = 1 AND failures = 0;

-- Where nothing may be written it verifies all the same; a DBA may have let it be
-- in parallel queries.
SELECT count(*) AS runs FROM credit_reset_run;
BEGIN READ ONLY;
SELECT count(*) AS bad FROM credits_verify();
COMMIT;
SET default_transaction_read_only = on;
CALL credits_run_verify();
RESET default_transaction_read_only;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE credit_account SET (parallel_workers = 2);
ALTER FUNCTION credits_verify() PARALLEL RESTRICTED;
SELECT (SELECT count(*) FROM credits_verify()) AS bad, sum(monthly) AS monthly FROM credit_account;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
BEGIN;
SELECT count(*) AS bad FROM credits_verify();
ROLLBACK;
SELECT count(*) AS runs FROM credit_reset_run;

-- A verification is nothing to undo.
SET credits.clock = '2026-01-16 00:00:00+00';
SELECT run_id FROM credit_reset_run WHERE kind = 'verify' LIMIT 1 \gset
CALL credits_undo_run(:'run_id') \gset
SELECT :'report'::jsonb ->> 'accounts' AS accounts, :'report'::jsonb ->> 'skipped' AS skipped;
SELECT count(*) AS bad FROM credits_verify();
SELECT credits_revoke_role('regress_credits_auditor', 'auditor') ->> 'ok' AS ok;
DROP ROLE regress_credits_auditor;
DROP FUNCTION t.newest();
DROP EXTENSION credits;
