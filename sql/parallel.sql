-- Reads can run in parallel workers, and see there what the leader sees: the
-- same clock, the same snapshot, what is due applied.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) AS opened FROM generate_series(1, 2000) n;
SELECT count(credits_deduct('u' || n, 1)) AS deducted FROM generate_series(1, 2000) n;
ANALYZE credit_account;
ALTER TABLE credit_account SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE FUNCTION pg_temp.is_parallel(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
    RETURN plan::text LIKE '%Gather%';
END $$;

-- a clock before and one after the boundary: 9 each, then 10 each; a worker
-- takes it over whatever it was written like
SET credits.clock = '2026-01-10T00:00Z';
SELECT pg_temp.is_parallel('SELECT sum((credits_balance(user_id) ->> ''monthly'')::int8) FROM credit_account') AS parallel;
SELECT sum((credits_balance(user_id) ->> 'monthly')::int8) AS monthly FROM credit_account;
SET timezone = 'America/New_York';
SET credits.clock = '2026-01-31 19:00';
SET timezone = 'UTC';
SELECT sum((credits_balance(user_id) ->> 'monthly')::int8) AS monthly FROM credit_account;
SELECT pg_temp.is_parallel('SELECT sum(monthly) FROM credit_balance') AS parallel;
SELECT sum(monthly) AS monthly, min(next_reset_at) AS next_reset_at, max(next_reset_at) AS next_reset_at FROM credit_balance;
SELECT count(v.*) AS bad FROM credit_account a, LATERAL credits_verify_account(a.user_id) v;
SELECT count(*) AS bad FROM credits_verify();
-- within a parallel query, if a DBA lets it be there, it takes no workers of its own
ALTER FUNCTION credits_verify() PARALLEL RESTRICTED;
SELECT pg_temp.is_parallel('SELECT (SELECT count(*) FROM credits_verify()) AS bad, sum(monthly) AS monthly FROM credit_balance') AS parallel;
SELECT (SELECT count(*) FROM credits_verify()) AS bad, sum(monthly) AS monthly FROM credit_balance;

-- What writes never does: the plan is not parallel.
SELECT pg_temp.is_parallel('SELECT count(credits_deduct(user_id, 1)) FROM credit_account') AS parallel;
SELECT count(credits_deduct(user_id, 1)) AS deducted FROM credit_account;
SELECT sum((credits_balance(user_id) ->> 'monthly')::int8) AS monthly FROM credit_account;

-- A DBA who marks one as safe gets a plain refusal, wherever it runs first.
ALTER FUNCTION credits_deduct(text, int8, text, text, jsonb, text) PARALLEL SAFE;
SELECT pg_temp.is_parallel('SELECT count(credits_deduct(user_id, 1)) FROM credit_account') AS parallel;
SELECT sqlstate, message FROM t.refused('SELECT count(credits_deduct(user_id, 1)) FROM credit_account');
DROP EXTENSION credits;
