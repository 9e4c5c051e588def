-- credits_metrics: its samples, what they count, and what it reads for them.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';

-- An empty ledger: nothing waits, and nothing was ever done.
CREATE TEMP VIEW samples AS
    SELECT name || CASE WHEN labels = '{}' THEN '' ELSE labels::text END AS sample, value
      FROM credits_metrics() WHERE name <> 'credits_accounts_estimated';
SELECT * FROM samples WHERE sample NOT LIKE '%"version"%';
SELECT labels ->> 'version' = extversion AS same_version, value FROM credits_metrics(), pg_extension WHERE extname = 'credits' AND name = 'credits_info';

-- Accounts, holds, events.
SET credits.events = 'low, empty, purchase';
SELECT credits_define_plan('free', 10, low_balance_threshold => 3) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) AS opened FROM generate_series(10, 30) n;
SELECT credits_deduct('u11', 8) ->> 'crossed' AS low, credits_deduct('u12', 10) ->> 'crossed' AS empty, credits_freeze('u13') ->> 'ok' AS frozen,
       credits_set_overdraft('u14', 50) ->> 'ok' AS ok, credits_deduct('u14', 15) ->> 'ok' AS owing, credits_close_account('u15') ->> 'ok' AS closed;
SELECT count(credits_add_purchased('u' || n, n, 'pay_' || n)) AS purchases FROM generate_series(20, 25) n;
SELECT count(credits_grant('u' || n, 5, '2026-01-20 00:00Z')) AS grants FROM generate_series(20, 22) n;
SELECT count(credits_hold('u' || n, 12, (n - 18) * interval '1 hour')) AS holds FROM generate_series(20, 23) n;
SELECT credits_release('u23', 3) ->> 'ok' AS ok;
SELECT * FROM samples WHERE sample ~ 'accounts|holds|events';
SELECT to_timestamp(value) AS first_end FROM credits_metrics() WHERE name = 'credits_holds_first_end_timestamp_seconds';

-- An hour on, one of them is due; then a sweep writes it, a verification and an anchor are made.
SET credits.clock = '2026-01-10 02:00:00+00';
SELECT sample, value, CASE WHEN sample LIKE '%timestamp%' THEN to_timestamp(value) END AS at FROM samples WHERE sample ~ 'due|holds';
SELECT credits_reset_due() ->> 'accounts' AS accounts;
SELECT count(*) AS findings FROM credits_verify();
SELECT credits_anchor() ->> 'ok' AS ok;
SET credits.clock = '2026-01-10 02:30:00+00';
SELECT count(credits_reset_due()) AS runs;
CALL credits_grant_many('{u10,nobody}', '{1,1}', '2026-01-20 00:00Z', 'a gift') \gset
SELECT sample, value, CASE WHEN sample LIKE '%timestamp%' AND value > 0 THEN to_timestamp(value) END AS at FROM samples WHERE sample ~ 'due|holds|run|anchor';

-- The newest run fails, runs, was stopped: the last one that succeeded stays the same.
INSERT INTO credit_reset_run (started_at, finished_at, accounts, credits_granted, credits_expired, failures, run_id, kind, state, actor)
VALUES ('2026-01-10 03:00Z', '2026-01-10 03:01Z', 7, 0, 0, 2, gen_random_uuid(), 'reset', 'finished', 'me'),
       ('2026-01-10 03:00Z', '2026-01-10 03:02Z', 8, 0, 0, 0, gen_random_uuid(), 'verify', 'stopped', 'me'),
       ('2026-01-10 04:00Z', NULL, 9, 0, 0, 0, gen_random_uuid(), 'verify', 'running', 'me'),
       ('2026-01-10 02:00Z', '2026-01-10 05:00Z', 1, 0, 0, 0, gen_random_uuid(), 'import', 'finished', 'me');
SELECT sample, value, CASE WHEN sample LIKE '%timestamp%' AND value > 0 THEN to_timestamp(value) END AS at FROM samples WHERE sample LIKE 'credits\_run%';

-- Of many runs without success, only the newest are searched.
INSERT INTO credit_reset_run (started_at, finished_at, accounts, credits_granted, credits_expired, failures, run_id, kind, state, actor)
SELECT timestamptz '2026-01-11 00:00Z' + n * interval '1 minute', '2026-02-10 00:00Z', 7, 0, 0, 1, gen_random_uuid(), 'reset', 'finished', 'me' FROM generate_series(1, 9998) n;
SELECT sample, to_timestamp(value) AS at FROM samples WHERE sample LIKE 'credits\_run\_success%reset%';
INSERT INTO credit_reset_run (started_at, finished_at, accounts, credits_granted, credits_expired, failures, run_id, kind, state, actor)
VALUES ('2026-02-11 00:00Z', '2026-02-11 00:00Z', 7, 0, 0, 1, gen_random_uuid(), 'reset', 'finished', 'me');
SELECT sample, value FROM samples WHERE sample LIKE 'credits\_run\_success%reset%';

-- Guards.
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
SELECT value AS intact FROM samples WHERE sample = 'credits_guards_intact';
SELECT credits_repair_guards() ->> 'repaired' AS repaired;
ALTER EVENT TRIGGER credits_drop_guard DISABLE;
SELECT value AS intact FROM samples WHERE sample = 'credits_guards_intact';
SELECT credits_repair_guards() ->> 'repaired' AS repaired;
ALTER TABLE credit_history ENABLE ROW LEVEL SECURITY;
SELECT value AS intact FROM samples WHERE sample = 'credits_guards_intact';
ALTER TABLE credit_history DISABLE ROW LEVEL SECURITY;
SELECT value AS intact FROM samples WHERE sample = 'credits_guards_intact';

-- All accounts, with what is due applied, as credit_balance shows them.
INSERT INTO credit_account SELECT (jsonb_populate_record(a, '{"user_id": "gone", "time_zone": "Nowhere/Gone"}')).* FROM credit_account a WHERE user_id = 'u10';
CREATE FUNCTION pg_temp.wrong() RETURNS TABLE (sample text, value float8, expected float8) LANGUAGE sql AS $$
    SELECT m.name || m.labels::text, m.value, e.expected
      FROM (SELECT name, labels, value FROM credits_metrics(true)
             WHERE name IN ('credits_outstanding', 'credits_held', 'credits_owed', 'credits_accounts', 'credits_accounts_in_unknown_zone')) m
           FULL JOIN (SELECT 'credits_outstanding', jsonb_build_object('bucket', bucket), total
                        FROM (SELECT sum(monthly), sum(granted), sum(purchased) FROM credit_balance) s(m, g, p), unnest(ARRAY['monthly', 'granted', 'purchased'], ARRAY[m, g, p]) t(bucket, total)
                      UNION ALL SELECT 'credits_owed', jsonb_build_object('bucket', bucket), total
                        FROM (SELECT sum(owed_monthly), sum(owed) FROM credit_balance) s(m, p), unnest(ARRAY['monthly', 'purchased'], ARRAY[m, p]) t(bucket, total)
                      UNION ALL SELECT 'credits_accounts', jsonb_build_object('status', status), (SELECT count(*) FROM credit_balance b WHERE b.status = s.status)
                        FROM unnest(ARRAY['active', 'frozen', 'closed']) s(status)
                      UNION ALL SELECT 'credits_accounts_in_unknown_zone', '{}', (SELECT count(*) FROM credits_unknown_zones())) e(name, labels, expected)
             USING (name, labels)
     WHERE m.value IS DISTINCT FROM e.expected AND m.name <> 'credits_held'
     UNION ALL SELECT 'held', sum(value), (SELECT sum(held) FROM credit_balance) FROM credits_metrics(true) WHERE name = 'credits_held'
    HAVING sum(value) <> (SELECT sum(held) FROM credit_balance) $$;
SELECT name, labels, value FROM credits_metrics(true) WHERE name ~ 'outstanding|held|owed|credits_accounts$|zone';
SELECT * FROM pg_temp.wrong();
SET credits.clock = '2026-01-25 00:00:00+00';
SELECT * FROM pg_temp.wrong();
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT * FROM pg_temp.wrong();
SELECT name, labels, value FROM credits_metrics(true) WHERE name ~ 'outstanding|held';
SET credits.clock = '2026-01-10 02:30:00+00';

-- What is counted is what the statement sees, on pages that VACUUM has seen and on others.
VACUUM credit_event;
BEGIN;
SELECT count(*) AS taken FROM credits_take_events(3);
SELECT value, (SELECT count(*) FROM credit_event) AS events FROM samples WHERE sample = 'credits_events_waiting';
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT value, (SELECT count(*) FROM credit_event) AS events FROM samples WHERE sample = 'credits_events_waiting';
COMMIT;

-- Counts stop at 100000, unless all are asked for.
INSERT INTO credit_event (seq, amount, available, created_at, effective_at, user_id, kind)
SELECT n, 1, 1, '2026-01-10 02:00Z', '2026-01-10 02:00Z', 'u10', 'purchase' FROM generate_series(101, 100100) n;
SELECT value FROM credits_metrics() WHERE name = 'credits_events_waiting';
SELECT value, (SELECT count(*) FROM credit_event) AS events FROM credits_metrics(true) WHERE name = 'credits_events_waiting';
SELECT value FROM credits_metrics(false) WHERE name = 'credits_events_waiting';

-- It reads no account but those that an index finds; all of them if that is asked for.
CREATE FUNCTION pg_temp.reads(query text) RETURNS TABLE (relname name, whole bigint, rows_read bigint) LANGUAGE plpgsql AS $$
DECLARE
    stat text := $q$SELECT jsonb_object_agg(relname, ARRAY[seq_scan, seq_tup_read + idx_tup_fetch]) FROM pg_stat_xact_all_tables WHERE relname ~ '^credit_(account|hold|reset_run)$'$q$;
    before jsonb;
    after jsonb;
BEGIN
    EXECUTE stat INTO before;
    EXECUTE query;
    EXECUTE stat INTO after;
    RETURN QUERY SELECT key::name, (value ->> 0)::bigint - (before -> key ->> 0)::bigint, (value ->> 1)::bigint - (before -> key ->> 1)::bigint FROM jsonb_each(after) ORDER BY 1;
END $$;
VACUUM (ANALYZE) credit_account, credit_hold, credit_reset_run;
SELECT name, value FROM credits_metrics() WHERE name = 'credits_accounts_estimated';
SELECT relname, whole, rows_read <= 10 AS few FROM pg_temp.reads('SELECT count(*) FROM credits_metrics()') WHERE relname <> 'credit_reset_run';
SELECT relname, whole, rows_read <= 10 AS few FROM pg_temp.reads('SELECT count(*) FROM credits_metrics(true)') WHERE relname <> 'credit_reset_run';

-- The rules of Prometheus: names, types, no sample twice, no user.
SELECT name, labels FROM credits_metrics(true)
 WHERE name !~ '^credits_[a-z][a-z_]*[a-z]$' OR type NOT IN ('gauge', 'counter', 'histogram') OR (type = 'counter') <> (name ~ '_total$')
    OR labels ? 'user_id' OR labels::text ~ 'u[123]\d' OR help !~ '\.$' OR value IS NULL OR value = 'NaN';
SELECT name FROM credits_metrics(true) GROUP BY name HAVING count(DISTINCT (type, help)) > 1 OR count(*) <> count(DISTINCT labels)
    OR count(DISTINCT (SELECT string_agg(key, ',' ORDER BY key) FROM jsonb_object_keys(labels) key)) > 1;
SELECT name FROM (SELECT name, row_number() OVER () - row_number() OVER (PARTITION BY name ORDER BY n) AS island
                    FROM (SELECT name, row_number() OVER () AS n FROM credits_metrics(true)) m) i GROUP BY name HAVING count(DISTINCT island) > 1;
DROP VIEW samples;
DROP EXTENSION credits;
