-- credits_usage, credits_my_usage and credits_total_usage: by day, hour, kind,
-- reason, spender and user, in a time zone, with empty days.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free', NULL, z)) FROM (VALUES ('u', 'Asia/Tokyo'), ('v', 'UTC'), ('idle', 'America/New_York')) x(u, z);
SELECT credits_add_purchased('u', 50, 'pay_1') ->> 'seq' AS seq;
SELECT credits_grant('u', 20, '2026-03-01 00:00Z', 'welcome') ->> 'seq' AS seq;
SELECT credits_deduct('u', 5, 'image', 'k1', NULL, 'alice') ->> 'seq' AS seq;
SELECT credits_deduct('u', 5, 'image', 'k1', NULL, 'alice') ->> 'replayed' AS replayed;
SET credits.clock = '2026-01-11 14:59:59.999999+00';
SELECT credits_deduct('u', 7, 'text', NULL, NULL, 'bob') ->> 'seq' AS seq;
SET credits.clock = '2026-01-11 15:00:00+00';
SELECT credits_deduct('u', 1, 'image') ->> 'seq' AS seq;
SELECT credits_deduct('v', 60, 'text', NULL, NULL, 'bob') ->> 'seq' AS seq;
SELECT credits_hold('u', 100, '2 days', 'video', NULL, NULL, 'alice') ->> 'seq' AS seq;
SET credits.clock = '2026-01-12 20:30:00+00';
SELECT credits_capture('u', 7, 95, NULL, 'video', NULL, NULL, 'alice') ->> 'seq' AS seq;
SELECT credits_refund('u', 4, 2, 'it was blurred') ->> 'seq' AS seq;
SELECT credits_refund('u', 5) ->> 'seq' AS seq;
SET credits.clock = '2026-01-13 09:00:00+00';

-- By day: 30 of them, those of the account's zone.
SELECT count(*) AS days, min(starts_at), max(starts_at), bool_and(name = (starts_at AT TIME ZONE 'Asia/Tokyo')::date::text) AS named FROM credits_usage('u');
SELECT * FROM credits_usage('u', from_time => '2026-01-10 00:00Z');
SELECT starts_at, name, spent FROM credits_usage('u', from_time => '2026-01-10 00:00Z', time_zone => 'UTC');
SELECT starts_at, name, spent FROM credits_usage('u', 'day', '2026-01-11 15:00Z', '2026-01-12 15:00Z');
SELECT name, spent FROM credits_usage('idle', from_time => '2026-01-12 12:00Z');
-- By hour.
SELECT count(*) AS hours, min(starts_at), max(starts_at), sum(spent) AS spent FROM credits_usage('u', 'hour');
SELECT starts_at, name, spent FROM credits_usage('u', 'hour', '2026-01-11 13:00Z', '2026-01-11 17:00Z');
SELECT starts_at, name, spent FROM credits_usage('u', 'hour', '2026-01-11 14:10Z', '2026-01-11 15:10Z', 'Asia/Kolkata');
-- By the other things: most spent first.
SELECT * FROM credits_usage('u', 'kind');
SELECT name, operations, spent, refunded FROM credits_usage('u', 'reason');
SELECT name, operations, spent, refunded FROM credits_usage('u', 'spender');
SELECT * FROM credits_usage('u', 'all');
SELECT * FROM credits_usage('u', 'all', '2026-01-09 00:00Z', '2026-01-10 00:00Z');
SELECT count(*) AS rows FROM credits_usage('u', 'day', '2026-01-10 00:00Z', '2026-01-10 00:00Z');
-- of all users
SELECT name, operations, spent, refunded, purchased, granted, delta FROM credits_total_usage('user');
SELECT name, spent FROM credits_total_usage('user', top => 1);
SELECT name, operations, spent, refunded FROM credits_total_usage('spender');
SELECT name, operations, spent, refunded FROM credits_total_usage('reason');
SELECT name, history_rows, spent FROM credits_total_usage('kind');
SELECT * FROM credits_total_usage(from_time => '2026-01-10 00:00Z');
SELECT starts_at, name, spent FROM credits_total_usage('hour', '2026-01-11 14:00Z', '2026-01-11 17:00Z', 'Asia/Tokyo');
SELECT * FROM credits_total_usage('all');

-- Whatever it is grouped by, it comes to the same; also as all users together, and
-- as credit_usage_daily.
CREATE FUNCTION pg_temp.sums(relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT (sum(history_rows), sum(operations), sum(spent), sum(monthly_spent), sum(granted_spent), sum(purchased_spent), sum(refunded), sum(purchased), sum(granted), sum(delta))::text FROM %s', relation) INTO result;
    RETURN result;
END $$;
SELECT DISTINCT pg_temp.sums(format('credits_usage(''u'', %L, time_zone => %L)', by, zone)) AS sums
  FROM unnest(ARRAY['day', 'kind', 'reason', 'spender', 'all']) by, unnest(ARRAY['UTC', 'Asia/Tokyo', NULL]) zone;
SELECT DISTINCT pg_temp.sums(format('credits_total_usage(%L, %L, time_zone => %L)', by, '2026-01-01 00:00Z', zone)) AS sums
  FROM unnest(ARRAY['day', 'hour', 'kind', 'reason', 'spender', 'user', 'all']) by, unnest(ARRAY['UTC', 'Asia/Tokyo', NULL]) zone;
SELECT pg_temp.sums('unnest(ARRAY[''u'', ''v'', ''idle'']) x, credits_usage(x, ''all'')') AS sums;
SELECT user_id, (SELECT delta FROM credits_usage(user_id, 'all')) = available AS same FROM credit_balance ORDER BY user_id;
SELECT count(*) AS days, count(*) FILTER (WHERE (d.operations, d.spent, d.monthly_spent, d.granted_spent, d.purchased_spent, d.refunded, d.purchased, d.granted)
           = (u.operations, u.spent, u.monthly_spent, u.granted_spent, u.purchased_spent, u.refunded, u.purchased, u.granted)) AS same
  FROM (SELECT user_id, day, sum(operations) AS operations, sum(spent) AS spent, sum(monthly_spent) AS monthly_spent, sum(granted_spent) AS granted_spent,
               sum(purchased_spent) AS purchased_spent, sum(refunded) AS refunded, sum(purchased) AS purchased, sum(granted) AS granted FROM credit_usage_daily GROUP BY 1, 2) d
       CROSS JOIN LATERAL credits_usage(d.user_id, 'day', d.day AT TIME ZONE 'UTC', d.day AT TIME ZONE 'UTC' + interval '1 day', 'UTC') u;

-- Where clocks are changed: each instant belongs to one day and one hour, and no day is missing.
CREATE FUNCTION pg_temp.times(by text, zone text, "from" timestamptz, "to" timestamptz) RETURNS TABLE (starts_at text, name text, lasts interval) LANGUAGE sql AS $$
    SELECT u.starts_at::text, u.name, lead(u.starts_at) OVER (ORDER BY u.starts_at) - u.starts_at FROM credits_usage('u', by, "from", "to", zone) u
$$;
SELECT * FROM pg_temp.times('day', 'Europe/Berlin', '2026-03-28 00:00Z', '2026-03-31 00:00Z');
SELECT * FROM pg_temp.times('day', 'Europe/Berlin', '2025-10-25 00:00Z', '2025-10-28 00:00Z');
SELECT * FROM pg_temp.times('hour', 'Europe/Berlin', '2025-10-25 23:00Z', '2025-10-26 02:30Z');
SELECT * FROM pg_temp.times('hour', 'Europe/Berlin', '2026-03-28 23:30Z', '2026-03-29 02:30Z');
SELECT * FROM pg_temp.times('hour', 'Australia/Lord_Howe', '2025-10-04 14:00Z', '2025-10-04 18:00Z');
SELECT * FROM pg_temp.times('hour', 'Australia/Lord_Howe', '2025-04-05 13:00Z', '2025-04-05 17:00Z');
SELECT * FROM pg_temp.times('day', 'America/Santiago', '2025-09-06 12:00Z', '2025-09-08 12:00Z'); -- no midnight
SELECT * FROM pg_temp.times('day', 'America/Havana', '2025-11-01 12:00Z', '2025-11-03 12:00Z'); -- two midnights
SELECT * FROM pg_temp.times('day', 'Pacific/Apia', '2011-12-29 12:00Z', '2012-01-01 12:00Z'); -- a day that never was
SELECT zone, count(*) FILTER (WHERE lasts NOT BETWEEN '22 hours' AND '26 hours') AS odd, count(*) FILTER (WHERE name <> (starts_at::timestamptz AT TIME ZONE zone)::date::text) AS misnamed
  FROM unnest(ARRAY['Europe/Berlin', 'America/Sao_Paulo', 'Asia/Amman', 'America/Havana', 'Asia/Tehran', 'Africa/Cairo']) zone,
       pg_temp.times('day', zone, '2000-01-01 00:00Z', '2026-01-01 00:00Z') GROUP BY zone ORDER BY zone COLLATE "C";

-- A day that starts 44 minutes and 30 seconds after midnight in UTC.
SET credits.clock = '1971-03-01 00:00:00+00';
SELECT credits_add_purchased('old', 10, 'pay_old') ->> 'seq' AS seq;
SET credits.clock = '1971-03-01 00:44:29+00';
SELECT credits_deduct('old', 1) ->> 'seq' AS seq;
SET credits.clock = '1971-03-01 00:44:30+00';
SELECT credits_deduct('old', 2) ->> 'seq' AS seq;
SELECT starts_at, name, spent FROM credits_usage('old', 'day', '1971-03-01 00:30Z', '1971-03-01 00:50Z', 'Africa/Monrovia');
SELECT starts_at, name, spent FROM credits_total_usage('day', '1971-03-01 00:30Z', '1971-03-01 00:50Z', 'Africa/Monrovia');
SELECT starts_at, name, spent FROM credits_total_usage('hour', '1971-03-01 00:30Z', '1971-03-01 00:44:30Z', 'Africa/Monrovia');
-- A clock that ran ahead, and was put right: its rows count when it was.
SET credits.clock = '2027-06-01 00:00:00+00';
SELECT credits_deduct('v', 3) ->> 'ok' AS ok;
SET credits.clock = '2026-01-13 10:00:00+00';
SELECT name, spent FROM credits_usage('v', from_time => '2026-01-12 00:00Z');
SELECT credits_repair_clock('v', 'it ran ahead') ->> 'ok' AS ok;
SET credits.clock = '2026-01-15 10:00:00+00';
SELECT credits_deduct('v', 1) ->> 'ok' AS ok;
SELECT name, spent FROM credits_usage('v', from_time => '2026-01-12 00:00Z');

-- It reads the rows of the wanted times and one more, not the whole history.
SELECT count(credits_deduct('idle', 1)) AS calls FROM generate_series(1, 50);
SET credits.clock = '2026-01-15 12:00:00+00';
SELECT count(credits_deduct('idle', 1)) AS calls FROM generate_series(1, 3);
BEGIN;
SELECT idx_tup_fetch AS before FROM pg_stat_xact_all_tables WHERE relname = 'credit_history' \gset
SELECT sum(spent) AS spent FROM credits_usage('idle', from_time => '2026-01-15 12:00Z');
SELECT idx_tup_fetch - :before AS rows_read FROM pg_stat_xact_all_tables WHERE relname = 'credit_history';
COMMIT;

-- Arguments.
SELECT call, r.sqlstate, r.message, r.hint FROM unnest(ARRAY[
    $$SELECT * FROM credits_usage(NULL)$$,
    $$SELECT * FROM credits_usage('nobody')$$,
    $$SELECT * FROM credits_usage('u', 'week')$$,
    $$SELECT * FROM credits_usage('u', 'user')$$,
    $$SELECT * FROM credits_usage('u', 'hour', '2000-01-01 00:00Z')$$,
    $$SELECT * FROM credits_usage('u', from_time => '-infinity')$$,
    $$SELECT * FROM credits_usage('u', time_zone => 'Nowhere/Gone')$$,
    $$SELECT * FROM credits_total_usage('week')$$,
    $$SELECT * FROM credits_total_usage('user', top => 0)$$,
    $$SELECT * FROM credits_total_usage('user', top => 100001)$$]) WITH ORDINALITY AS c(call, n) CROSS JOIN LATERAL t.refused(call) r ORDER BY n;
SET credits.default_plan = 'free';
SELECT count(*) AS days, sum(spent) AS spent FROM credits_usage('nobody');
RESET credits.default_plan;

-- An end user's own.
SET request.jwt.claims = '{"sub": "u"}';
SELECT name, spent FROM credits_my_usage('reason', '2026-01-10 00:00Z', '2026-01-13 00:00Z', 'UTC');
SELECT credits_my_explain() = credits_explain('u') AS same;
SET request.jwt.claims = '{}';
SELECT count(*) AS rows, credits_my_explain() IS NULL AS nobody FROM credits_my_usage();
RESET request.jwt.claims;

-- Archived rows count, until they are dropped; also the refund of an archived row.
SET credits.clock = '2026-01-16 00:00:00+00';
SELECT credits_deduct('u', 1, 'image') ->> 'ok' AS ok;
CREATE TABLE t.before AS SELECT by, u.* FROM unnest(ARRAY['day', 'kind', 'reason', 'spender', 'all']) by, credits_usage('u', by, '2026-01-01 00:00Z', '2026-01-14 00:00Z') u
    UNION ALL SELECT 'total ' || by, u.* FROM unnest(ARRAY['day', 'kind', 'reason', 'spender', 'user', 'all']) by, credits_total_usage(by, '2026-01-01 00:00Z', '2026-01-14 00:00Z') u;
SET credits.clock = '2026-12-15 00:00:00+00';
SELECT credits_anchor() ->> 'ok' AS ok;
CALL credits_archive(before => '2026-01-13 00:00Z') \g /dev/null
SELECT min(seq) AS first_row FROM credit_history WHERE user_id = 'u';
CREATE TABLE t.after AS SELECT by, u.* FROM unnest(ARRAY['day', 'kind', 'reason', 'spender', 'all']) by, credits_usage('u', by, '2026-01-01 00:00Z', '2026-01-14 00:00Z') u
    UNION ALL SELECT 'total ' || by, u.* FROM unnest(ARRAY['day', 'kind', 'reason', 'spender', 'user', 'all']) by, credits_total_usage(by, '2026-01-01 00:00Z', '2026-01-14 00:00Z') u;
SELECT count(*) AS rows FROM t.before;
(TABLE t.before EXCEPT TABLE t.after) UNION ALL (TABLE t.after EXCEPT TABLE t.before);
DROP TABLE t.before, t.after;
DROP EXTENSION credits;
