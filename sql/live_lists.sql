-- The lists over all users: who is low, empty, owing or frozen (credit_balance), holds
-- and grants by their end, payments; what they say, and what they read.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10, low_balance_threshold => 3) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) AS opened FROM generate_series(10, 30) n;
SELECT credits_deduct('u11', 8) ->> 'ok' AS low, credits_deduct('u12', 10) ->> 'ok' AS empty, credits_freeze('u13') ->> 'ok' AS frozen,
       credits_set_overdraft('u14', 50) ->> 'ok' AS ok, credits_deduct('u14', 15) ->> 'ok' AS owing;
SELECT credits_grant('u' || n, 20, timestamptz '2026-01-20 00:00Z' + n * interval '1 day', 'welcome') ->> 'seq' AS seq FROM generate_series(20, 24) n;
SELECT credits_hold('u' || n, 13, n * interval '1 hour', 'video', NULL, NULL, 'alice') ->> 'seq' AS seq FROM generate_series(20, 23) n;
SELECT credits_add_purchased('u20', 5, 'pay_' || n) ->> 'ok' AS ok FROM generate_series(1, 3) n;
SELECT credits_release('u21', 3) ->> 'ok' AS ok;

SELECT user_id, available, owed, status FROM credit_balance WHERE low ORDER BY user_id;
SELECT user_id FROM credit_balance WHERE available = 0 ORDER BY user_id;
SELECT user_id, owed FROM credit_balance WHERE owed > 0 ORDER BY user_id;
SELECT user_id FROM credit_balance WHERE status <> 'active' ORDER BY user_id;
SELECT * FROM credit_open_hold ORDER BY ends_at;
SELECT * FROM credit_open_grant ORDER BY ends_at;
SELECT user_id, seq, held FROM credit_open_hold WHERE ends_at < credits_now() + interval '22 hours';
SELECT user_id, payment_ref, amount FROM credit_payment WHERE user_id = 'u20' ORDER BY paid_at, payment_ref;
-- what has ended is not in the lists, whether it was written or not
SET credits.clock = '2026-01-10 22:00:00+00';
SELECT user_id, seq, ends_at FROM credit_open_hold ORDER BY ends_at;
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT user_id, ends_at FROM credit_open_grant ORDER BY ends_at;
SELECT count(*) FROM credit_open_hold;
SELECT credits_close_account('u22') ->> 'ok' AS ok;
SELECT user_id FROM credit_open_grant ORDER BY user_id;

-- By index: a user's, and the next ones by their end.  A DBA's index on the status is used.
CREATE INDEX ON credit_account (user_id) WHERE status <> 'active';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
CREATE FUNCTION pg_temp.scans(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN (SELECT string_agg(DISTINCT x[1], ' ' ORDER BY x[1]) FROM regexp_matches(plan::text, '"Index Name": "(\w+)"', 'g') x);
END $$;
SELECT query, pg_temp.scans(query) FROM unnest(ARRAY[
    $$SELECT user_id, ends_at FROM credit_open_hold ORDER BY ends_at LIMIT 50$$,
    $$SELECT * FROM credit_open_hold WHERE ends_at < credits_now() + interval '1 hour' ORDER BY ends_at LIMIT 50$$,
    $$SELECT user_id, seq FROM credit_open_hold WHERE user_id = 'u20'$$,
    $$SELECT user_id, ends_at FROM credit_open_grant ORDER BY ends_at LIMIT 50$$,
    $$SELECT user_id, seq FROM credit_open_grant WHERE user_id = 'u20'$$,
    $$SELECT * FROM credit_payment WHERE user_id = 'u20' ORDER BY paid_at$$,
    $$SELECT user_id, available FROM credit_balance WHERE status <> 'active'$$]) WITH ORDINALITY q(query, n) ORDER BY n;
DROP EXTENSION credits;
